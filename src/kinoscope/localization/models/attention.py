"""Attention of the two backbones (specification 4.4, 11.1).

Shape suffixes: B batch, T time, C channels, H heads, d channels of a head.

Differences from the official code:
1. Local windows are banded blocks through `scaled_dot_product_attention`; any length will do.
2. Rotary positions can be had in convolutional attention too (`rotary`), which the fork leaves out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kinoscope.nn.local_attention import attend, local_attention
from kinoscope.nn.recompute import recomputed
from kinoscope.nn.rotary import rotary
from kinoscope.nn.temporal_conv import MaskedConv, Pointwise


def split_heads(x_BTC: Tensor, heads: int) -> Tensor:
    """[B, T, C] -> [B, H, T, d]: heads are consecutive blocks of channels."""
    return x_BTC.unflatten(-1, (heads, -1)).transpose(1, 2)


class ConvAttention(nn.Module):
    """Multi-head attention whose queries, keys and values pass a depth-wise convolution and a layer norm.

    stride: of queries and keys alike; window: <= 1 attends to everything, else to window // 2 steps at either
    side; relative_bias: one number a head and offset, for odd windows.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        stride: int = 1,
        window: int = -1,
        relative_bias: bool = False,
        dropout: float = 0.0,
        rotate: bool = False,
    ) -> None:
        super().__init__()
        if relative_bias and window > 1 and window % 2 == 0:
            raise ValueError(f"relative positions need an odd window, not {window}")
        self.heads, self.reach, self.rotate = heads, window // 2 if window > 1 else None, rotate
        self.recompute = False  # convolutions and norms run again in the backward pass
        kernel = stride + 1 if stride > 1 else 3

        def conv() -> MaskedConv:
            return MaskedConv(width, width, kernel, stride, groups=width, bias=False)

        self.query_conv, self.key_conv, self.value_conv = conv(), conv(), conv()
        self.query_norm, self.key_norm, self.value_norm = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value = (Pointwise(width, width) for _ in range(3))
        self.proj = Pointwise(width, width)
        self.dropout = nn.Dropout(dropout)
        self.relative_bias: nn.Parameter | None = None
        if relative_bias and self.reach is not None:
            self.relative_bias = nn.Parameter(torch.empty(heads, window))
            nn.init.trunc_normal_(self.relative_bias, std=math.sqrt(2 / width), a=-2, b=2)

    def forward(self, x_BTC: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Attended features and the mask at the output's length."""

        def projected(conv: MaskedConv, norm: nn.LayerNorm, project: Pointwise) -> Tensor:
            return recomputed(lambda x: project(norm(conv(x, mask_BT)[0])), x_BTC, self.recompute)

        out_mask_BT = self.query_conv.out_mask(mask_BT)
        q_BTC = projected(self.query_conv, self.query_norm, self.query)
        k_BTC = projected(self.key_conv, self.key_norm, self.key)
        v_BTC = projected(self.value_conv, self.value_norm, self.value)
        if self.rotate:
            q_BTC, k_BTC = (
                rotary(split_heads(x, self.heads)).transpose(1, 2).flatten(2) for x in (q_BTC, k_BTC)
            )
        if self.reach is not None:
            out_BTC = local_attention(
                q_BTC, k_BTC, v_BTC, out_mask_BT, self.heads, self.reach, self.relative_bias
            )
        else:
            q, k, v = (split_heads(x, self.heads) for x in (q_BTC, k_BTC, v_BTC))
            out = attend(q, k, v, out_mask_BT[:, None, None, :])
            out_BTC = out.transpose(1, 2).flatten(2)
        return self.dropout(self.proj(out_BTC, out_mask_BT)), out_mask_BT


class PlainAttention(nn.Module):
    """Global attention without convolutions: grouped queries, rotary positions (specification 11.1).

    kv_heads: key and value heads, each of which serves heads / kv_heads query heads in a row; rotate: rotary
    positions; fused: by a fused kernel (False: by an explicit softmax, equal up to rounding).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int | None = None,
        rotate: bool = False,
        fused: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads or heads
        if heads % self.kv_heads:
            raise ValueError(f"{heads} query heads cannot share {self.kv_heads} key and value heads")
        self.rotate, self.fused = rotate, fused
        kv_width = width // heads * self.kv_heads
        self.query, self.key = Pointwise(width, width), Pointwise(width, kv_width)
        self.value, self.proj = Pointwise(width, kv_width), Pointwise(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTC: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        q = split_heads(self.query(x_BTC), self.heads)
        k = split_heads(self.key(x_BTC), self.kv_heads)
        v = split_heads(self.value(x_BTC), self.kv_heads)
        if self.rotate:
            q, k = rotary(q), rotary(k)
        if self.kv_heads != self.heads:
            k, v = (x.repeat_interleave(self.heads // self.kv_heads, dim=1) for x in (k, v))
        key_mask = mask_BT[:, None, None, :]
        if self.fused or torch.compiler.is_exporting():
            out = attend(q, k, v, key_mask)
        else:
            with sdpa_kernel(SDPBackend.MATH):
                out = attend(q, k, v, key_mask)
        return self.dropout(self.proj(out.transpose(1, 2).flatten(2), mask_BT)), mask_BT
