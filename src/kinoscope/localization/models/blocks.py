"""Blocks of the backbones (specification 4.4, 4.5, 11.1), on x_BTC and mask_BT.

Each takes features and mask, and returns those of its output, `stride` times shorter.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.localization.models.attention import ConvAttention, PlainAttention
from kinoscope.nn.drop_path import AffineDropPath, plus_branch
from kinoscope.nn.feed_forward import GeluMLP, SwiGLU
from kinoscope.nn.temporal_conv import MaskedConv


def channel_norm(width: int, rms: bool = False) -> nn.Module:
    """Norm over the channels of every step: layer norm (eps 1e-5), or RMS norm (eps 1e-6, no bias)."""
    return nn.RMSNorm(width, eps=1e-6) if rms else nn.LayerNorm(width)


def pooled(x_BTC: Tensor, stride: int) -> Tensor:
    """The skip path of a strided block: max-pooling, kernel stride + 1; beyond the ends counts as -inf."""
    if stride == 1:
        return x_BTC
    image = x_BTC.transpose(1, 2).unsqueeze(2)
    image = F.max_pool2d(image, (1, stride + 1), stride=(1, stride), padding=(0, (stride + 1) // 2))
    return image.squeeze(2).transpose(1, 2)


class TransformerBlock(nn.Module):
    """Pre-norm block: y = pool(x) + attention(norm(x)), z = y + MLP(norm(y)); branches have own gains."""

    def __init__(
        self,
        attention: ConvAttention | PlainAttention,
        width: int,
        stride: int = 1,
        hidden: int | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        swiglu: bool = False,
        rms_norm: bool = False,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.attention_norm, self.mlp_norm = channel_norm(width, rms_norm), channel_norm(width, rms_norm)
        self.attention = attention
        self.mlp: nn.Module = (SwiGLU if swiglu else GeluMLP)(width, hidden, dropout)
        # without stochastic depth there are no gains either: so it is in the official code
        self.attention_path = AffineDropPath(width, drop_path) if drop_path > 0 else nn.Identity()
        self.mlp_path = AffineDropPath(width, drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x_BTC: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        attended_BTC, mask_BT = self.attention(self.attention_norm(x_BTC), mask_BT)
        skip_BTC = pooled(x_BTC, self.stride) * mask_BT.unsqueeze(-1)
        y_BTC = plus_branch(skip_BTC, attended_BTC, self.attention_path)
        return plus_branch(y_BTC, self.mlp(self.mlp_norm(y_BTC), mask_BT), self.mlp_path), mask_BT


class ConvBlock(nn.Module):
    """Two wide convolutions with a skip path (backbone `conv`); widens to `expansion` times in between."""

    def __init__(self, width: int, stride: int = 1, expansion: int = 2) -> None:
        super().__init__()
        self.conv1 = MaskedConv(width, width * expansion, 3, stride)
        self.conv2 = MaskedConv(width * expansion, width, 3)
        self.shortcut = MaskedConv(width, width, 1, stride) if stride > 1 else None

    def forward(self, x_BTC: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        skip_BTC = x_BTC if self.shortcut is None else self.shortcut(x_BTC, mask_BT)[0]
        y_BTC, mask_BT = self.conv1(x_BTC, mask_BT)
        y_BTC, mask_BT = self.conv2(F.relu(y_BTC), mask_BT)
        return F.relu(y_BTC + skip_BTC), mask_BT
