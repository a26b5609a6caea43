"""Prototype selection and prototype attention: class prototypes mixed into the frame vectors.

S-GEAR (arXiv 2407.02309), section 3.2.

Differences from the official code:
1. Cosines are one matrix product (official: an expanded copy of all prototypes for every vector).
2. `quirks=False` keeps every sample's own prototypes, in descending order, and puts the heads beside their
   channels. Official: picks are viewed as (k, B, C), so tokens of other samples of the batch leak in; their
   order is whatever `topk(sorted=False)` leaves; heads and frames are reinterpreted in memory.
3. `causal=True`, for one prototype a frame: a frame is mixed with prototypes of frames up to its own, so that what
   a frame becomes does not change when more are seen. The prior is a mean over those frames (official: a sum over
   all), and clips may have fewer frames than it knows.

Shapes: B batch, T frames, C width, A classes, H heads, K prototypes picked.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinoscope.anticipation.models.temporal_context import HEAD_WIDTH

EPS = 1e-8


def cosine(x: Tensor, prototypes_AC: Tensor) -> Tensor:
    """Cosine of vectors (..., C) with all prototypes: (..., A); norms are at least 1e-8."""
    norms = prototypes_AC.norm(dim=-1).clamp_min(EPS)
    return (x @ prototypes_AC.T) / (x.norm(dim=-1, keepdim=True).clamp_min(EPS) * norms)


def select_prototypes(
    query_BTC: Tensor, prototypes_AC: Tensor, mean_representation: bool = True, quirks: bool = True
) -> Tensor:
    """The prototypes nearest to a clip (T of them) or to each frame (one each): (B, T, C), without gradient."""
    query_BTC, prototypes_AC = query_BTC.detach(), prototypes_AC.detach()
    batch, frames, width = query_BTC.shape
    if mean_representation and frames > len(prototypes_AC):
        raise ValueError(f"{frames} frames ask for as many prototypes, there are {len(prototypes_AC)}")
    query = query_BTC.mean(dim=1) if mean_representation else query_BTC.reshape(-1, width)
    k = frames if mean_representation else 1
    picked = cosine(query, prototypes_AC).topk(k, dim=-1, sorted=not quirks).indices
    tokens = prototypes_AC[picked.reshape(-1)]
    if quirks:
        return tokens.view(frames, batch, width).transpose(0, 1)
    return tokens.view(batch, frames, width)


class PrototypeAttention(nn.Module):
    """Attention of the picked prototypes (queries and values) to the frames (keys), with a Toeplitz prior."""

    def __init__(self, dim: int, frames: int, quirks: bool = True, causal: bool = False) -> None:
        super().__init__()
        if dim % HEAD_WIDTH:
            raise ValueError(f"width {dim} is not a multiple of {HEAD_WIDTH}")
        self.heads, self.quirks, self.causal = dim // HEAD_WIDTH, quirks, causal
        self.distance_weights = nn.Parameter(torch.full((self.heads, frames), 0.5))
        self.gate = nn.Parameter(torch.full((1,), 0.5))
        self.out = nn.Linear(dim, dim)

    def toeplitz(self) -> Tensor:
        """(H, T, T): the weight of the distance between two frames."""
        steps = torch.arange(self.distance_weights.shape[1], device=self.gate.device)
        return self.distance_weights[:, (steps[:, None] - steps).abs()]

    def cyclic(self, prior_HTT: Tensor) -> Tensor:
        """Cosine of heads 0-2 and 6-8, sine of the others."""
        parts = (prior_HTT[:3].cos(), prior_HTT[3:6].sin(), prior_HTT[6:9].cos(), prior_HTT[9:].sin())
        return torch.cat(parts)

    def forward(self, tokens_BTC: Tensor, frames_BTC: Tensor, last: int | None = None) -> Tensor:
        """(B, T, C) of both; (B, T, C) out, or the last `last` frames of it (not with quirks)."""
        batch, frames, width = frames_BTC.shape
        s, f = (x.reshape(batch, frames, self.heads, -1).transpose(1, 2) for x in (tokens_BTC, frames_BTC))
        q = s if last is None else s[:, :, -last:]
        scores, prior = (q * HEAD_WIDTH**-0.5) @ f.transpose(-2, -1), self.cyclic(self.toeplitz())
        if self.causal:
            seen = torch.ones(frames, frames, dtype=torch.bool, device=f.device).tril()
            prior = prior[:, :frames, :frames] * (seen / seen.sum(dim=1, keepdim=True))
            prior, seen = prior[:, -q.shape[2] :], seen[-q.shape[2] :]
            scores = scores.masked_fill(~seen, -torch.inf)
        gate = self.gate.sigmoid()
        y_BHTE = (gate * scores.softmax(dim=-1) + (1 - gate) * prior) @ s
        if not self.quirks:
            y_BHTE = y_BHTE.transpose(1, 2)
        return self.out(y_BHTE.reshape(batch, q.shape[2], width))  # with quirks: (H, T, E) read as (T, C)
