"""Attention over a window of time, as bands of blocks through `scaled_dot_product_attention`.

Queries are cut into blocks; a block sees the keys of its own steps and `reach` more at either side. A query
attends to the keys at distance <= reach that exist and are not masked; time and memory grow with T * reach.

Shape suffixes: B batch, T time, D width (heads * width of a head), N blocks, H heads, Q queries of a block,
S keys that a block sees, O offsets -reach..reach.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 32  # queries of a block: fastest on the processors tried for windows from 5 to 19
OUTSIDE = -1e4  # added to scores out of the window; finite, so that fully masked queries stay numbers


def local_attention(
    q_BTD: Tensor,
    k_BTD: Tensor,
    v_BTD: Tensor,
    mask_BT: Tensor,
    heads: int,
    reach: int,
    bias_HO: Tensor | None = None,
) -> Tensor:
    """Softmax attention of every step to the unmasked steps at distance <= reach: [B, T, D].

    bias_HO, [heads, 2 * reach + 1], is added to the score of a query and the key at offset o - reach. What
    comes out at masked queries has no meaning; mask it.
    """
    batch, length, width = q_BTD.shape
    if (
        torch.compiler.is_exporting()
    ):  # the graph must hold for any length, and one block is a special case to it
        block, blocks = BLOCK, length // BLOCK + 2
    else:
        block = min(BLOCK, length)
        blocks = -(-length // block)
    span, spare = block + 2 * reach, blocks * block - length
    padded_BTD = F.pad(q_BTD, (0, 0, 0, spare)) if spare else q_BTD  # a padding of nothing is a copy
    q_NHQd = _split_heads(padded_BTD.reshape(batch * blocks, block, width), heads)
    k_NHSd, v_NHSd = (
        _split_heads(_slabs(F.pad(x, (0, 0, reach, reach + spare)), span, block), heads)
        for x in (k_BTD, v_BTD)
    )
    mask_NS = _slabs(F.pad(mask_BT, (reach, reach + spare)).unsqueeze(-1), span, block)
    mask_NS = mask_NS.reshape(batch * blocks, 1, 1, span)
    offset_QS = torch.arange(span, device=q_BTD.device) - torch.arange(block, device=q_BTD.device)[:, None]
    band_QS = (offset_QS >= 0) & (offset_QS <= 2 * reach)
    score_NHQS = torch.zeros((), dtype=q_BTD.dtype, device=q_BTD.device).masked_fill(
        ~(mask_NS & band_QS), OUTSIDE
    )
    if bias_HO is not None:
        score_NHQS = score_NHQS + bias_HO[:, offset_QS.clamp(0, 2 * reach)].to(q_BTD.dtype)
    out_NHQd = attend(q_NHQd, k_NHSd, v_NHSd, score_NHQS)
    return out_NHQd.transpose(1, 2).reshape(batch, blocks * block, width)[:, :length]


def attend(q_NHQd: Tensor, k_NHSd: Tensor, v_NHSd: Tensor, mask: Tensor) -> Tensor:
    """`scaled_dot_product_attention` with a boolean mask or one that is added.

    Exported graphs get its products one by one: they would fix the memory layout of a fused kernel, which other
    runtimes do not share.
    """
    if not torch.compiler.is_exporting():
        return F.scaled_dot_product_attention(q_NHQd, k_NHSd, v_NHSd, attn_mask=mask)
    score_NHQS = q_NHQd @ k_NHSd.transpose(-1, -2) * q_NHQd.shape[-1] ** -0.5
    masked = score_NHQS.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else score_NHQS + mask
    return masked.softmax(-1) @ v_NHSd


def _split_heads(x_NTD: Tensor, heads: int) -> Tensor:
    """[N, T, D] -> [N, H, T, d]: heads are consecutive blocks of channels."""
    return x_NTD.unflatten(-1, (heads, -1)).transpose(1, 2)


def _slabs(x_BTD: Tensor, span: int, block: int) -> Tensor:
    """Overlapping pieces [B * N, span, D] that begin every `block` steps."""
    if x_BTD.requires_grad and span <= 2 * block:
        slabs: Tensor = _Slabs.apply(x_BTD, span, block)
        return slabs
    if torch.compiler.is_exporting():  # a gather: ONNX has no sliding windows
        starts_N1 = torch.arange((x_BTD.shape[1] - span) // block + 1, device=x_BTD.device)[:, None] * block
        return x_BTD[:, starts_N1 + torch.arange(span, device=x_BTD.device)].flatten(0, 1)
    return x_BTD.unfold(1, span, block).transpose(2, 3).flatten(0, 1)


class _Slabs(torch.autograd.Function):
    """`_slabs` where a step lies in at most two pieces: its gradient is then three sums of whole strips."""

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, span: int, block: int) -> Tensor:
        ctx.shape, ctx.block = x_BTD.shape, block
        return x_BTD.unfold(1, span, block).transpose(2, 3).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, grad_MSD: Tensor) -> tuple[Tensor, None, None]:
        batch, _, width = ctx.shape
        span, block = grad_MSD.shape[1], ctx.block
        grad_BNSD = grad_MSD.reshape(batch, -1, span, width)
        blocks = grad_BNSD.shape[1]
        grad_BND = grad_MSD.new_zeros(batch, blocks + 1, block, width)
        grad_BND[:, :-1] = grad_BNSD[:, :, :block]
        grad_BND[:, 1:, : span - block] += grad_BNSD[:, :, block:]
        return grad_BND.flatten(1, 2)[:, : (blocks - 1) * block + span], None, None
