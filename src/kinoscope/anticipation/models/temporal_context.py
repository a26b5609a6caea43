"""Temporal context aggregation: transformer blocks whose keys and values carry the sum of earlier frames.

S-GEAR (arXiv 2407.02309), section 3.2.

Differences from the official code:
1. Its residual attention between blocks never becomes active; only its scalar remains, to load checkpoints.
2. `quirks=False` masks token pairs above the diagonal with minus infinity (official: zero, before the softmax)
   and puts the heads beside their channels (official: heads, frames and tokens are reinterpreted in memory).
3. `first_token_only` computes the one output row a frame that the model needs, in the last block.

Shapes: B batch, T frames, N tokens of a frame (class token first), C width, H heads, E width of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_WIDTH = 64


class TemporalContextAttention(nn.Module):
    """Self-attention within a frame, with keys and values summed over the frames so far."""

    def __init__(self, dim: int, frames: int, quirks: bool = True) -> None:
        super().__init__()
        if dim % HEAD_WIDTH:
            raise ValueError(f"width {dim} is not a multiple of {HEAD_WIDTH}")
        self.frames, self.heads, self.quirks = frames, dim // HEAD_WIDTH, quirks
        self.frame_weights = nn.Parameter(torch.ones(frames))
        self.residual_gate = nn.Parameter(torch.full((1,), 0.5))
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)

    def accumulate(self, x_BTHNE: Tensor) -> Tensor:
        """x of each frame plus the weighted sum of the frames so far, less itself; no gradient to the added x."""
        held = x_BTHNE.detach()
        weighted = held * self.frame_weights.to(held.dtype).view(1, -1, 1, 1, 1)
        return x_BTHNE + (weighted.cumsum(dim=1) - held)

    def forward(self, x_FNC: Tensor, first_token_only: bool = False) -> Tensor:
        """x: (B*T, N, C), frames of a clip beside each other; (B*T, N or 1, C) out."""
        rows, tokens, width = x_FNC.shape
        if rows % self.frames:
            raise ValueError(f"{rows} frames are not whole clips of {self.frames}")
        parts = self.qkv(x_FNC).view(-1, self.frames, tokens, 3, self.heads, HEAD_WIDTH)
        q, k, v = parts.permute(3, 0, 1, 4, 2, 5)
        k, v = self.accumulate(k), self.accumulate(v)
        if first_token_only and not self.quirks:
            y = self._attend(q[..., :1, :], k, v, torch.zeros(1, dtype=torch.long, device=q.device))
            return self.out(y.transpose(2, 3).reshape(rows, 1, width))
        y_BTHNE = self._attend(q, k, v, torch.arange(tokens, device=q.device))
        if self.quirks:
            y = y_BTHNE.transpose(1, 2).reshape(
                rows, tokens, width
            )  # the official reinterpretation of memory
        else:
            y = y_BTHNE.transpose(2, 3).reshape(rows, tokens, width)
        return self.out(y[:, :1] if first_token_only else y)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, positions: Tensor) -> Tensor:
        seen = torch.arange(k.shape[-2], device=q.device) <= positions[:, None]
        if not self.quirks:
            return F.scaled_dot_product_attention(q, k, v, seen)
        scores = (q * HEAD_WIDTH**-0.5) @ k.transpose(-2, -1)
        return (scores * seen).softmax(dim=-1) @ v


class TemporalContextBlock(nn.Module):
    """Pre-norm transformer block around `TemporalContextAttention`."""

    def __init__(self, dim: int, frames: int, quirks: bool = True) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = TemporalContextAttention(dim, frames, quirks)
        self.norm2 = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, 4 * dim)
        self.contract = nn.Linear(4 * dim, dim)

    def forward(self, x_FNC: Tensor, first_token_only: bool = False) -> Tensor:
        """(B*T, N, C) to the same, or to (B*T, 1, C): the class token of each frame."""
        attended = self.attention(self.norm1(x_FNC), first_token_only)
        x = (x_FNC[:, :1] if first_token_only else x_FNC) + attended
        return x + self.contract(F.gelu(self.expand(self.norm2(x))))
