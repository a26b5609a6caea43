"""Temporal causal decoder: a GPT-2 body over frame vectors that predicts the vector of the next step.

S-GEAR (arXiv 2407.02309), section 3.3; the decoder is AVT's head (arXiv 2106.02036), section 3.3.

Differences from the official code:
1. GPT-2 is written here (pre-norm, learned positions, tanh-GELU); matrices are `nn.Linear`, transposed by
   `official.py`, so that no language-model library is needed.
2. The weight that the official configuration hands to GPT-2 (`future_pred_loss_wt`) has no effect there and is gone.

Shapes: B batch, T observed frames, L steps rolled out, C width of the frames, D width of the decoder, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Cache = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class DecoderConfig:
    """What a decoder is built from.

    inter_dim: width D. output_len, output_len_eval: steps rolled out in training and in evaluation (negative: as
    in training). avg_last_n: the future is the mean of the last n vectors (0 or less: all are returned).
    return_past_too: the observed frames precede the predicted ones before that mean. drop_last_n: trailing frames
    that are not shown to the decoder but remain targets. dropout: of embeddings, attention and residuals.
    """

    inter_dim: int = 2048
    n_layer: int = 6
    n_head: int = 4
    output_len: int = 1
    output_len_eval: int = -1
    avg_last_n: int = 1
    return_past_too: bool = True
    drop_last_n: int = 0
    dropout: float = 0.1
    positions: int = 1024


class CausalAttention(nn.Module):
    """Causal self-attention with a cache of keys and values."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"decoder width {dim} is not a multiple of its {heads} heads")
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.residual_dropout = nn.Dropout(dropout)

    def forward(
        self, x_BTD: Tensor, cache: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        batch, steps, width = x_BTD.shape
        q, k, v = (
            part.view(batch, steps, self.heads, -1).transpose(1, 2)
            for part in self.qkv(x_BTD).chunk(3, dim=-1)
        )
        seen = 0
        if cache is not None:
            seen = cache[0].shape[2]
            k, v = torch.cat((cache[0], k), dim=2), torch.cat((cache[1], v), dim=2)
        mask = None
        if seen and steps > 1:
            mask = torch.ones(steps, seen + steps, dtype=torch.bool, device=x_BTD.device).tril(seen)
        y = F.scaled_dot_product_attention(
            q, k, v, mask, self.dropout if self.training else 0.0, is_causal=not seen and steps > 1
        )
        y = self.out(y.transpose(1, 2).reshape(batch, steps, width))
        return self.residual_dropout(y), (k, v)


class DecoderBlock(nn.Module):
    """GPT-2 block: attention, then a feed-forward net of four times the width."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = CausalAttention(dim, heads, dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, 4 * dim)
        self.contract = nn.Linear(4 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x_BTD: Tensor, cache: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        attended, cache = self.attention(self.norm1(x_BTD), cache)
        x_BTD = x_BTD + attended
        hidden = F.gelu(self.expand(self.norm2(x_BTD)), approximate="tanh")
        return x_BTD + self.dropout(self.contract(hidden)), cache


class CausalTransformer(nn.Module):
    """Body of GPT-2 without its vocabulary. Raises ValueError past its last position."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.positions = nn.Embedding(config.positions, config.inter_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            DecoderBlock(config.inter_dim, config.n_head, config.dropout) for _ in range(config.n_layer)
        )
        self.norm = nn.LayerNorm(config.inter_dim)
        self._initialise(config.n_layer)

    def _initialise(self, layers: int) -> None:
        nn.init.normal_(self.positions.weight, std=0.02)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                residual = name.endswith(("attention.out", "contract"))
                nn.init.normal_(module.weight, std=0.02 / math.sqrt(2 * layers) if residual else 0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x_BTD: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Hidden states of the given steps, which follow those in `cache`; and the longer cache."""
        start = cache[0][0].shape[2] if cache else 0
        stop = start + x_BTD.shape[1]
        if stop > self.positions.num_embeddings:
            raise ValueError(f"{stop} steps, but the decoder knows {self.positions.num_embeddings} positions")
        x_BTD = self.dropout(x_BTD + self.positions.weight[start:stop])
        longer: Cache = []
        for i, block in enumerate(self.blocks):
            x_BTD, kept = block(x_BTD, cache[i] if cache else None)
            longer.append(kept)
        return self.norm(x_BTD), longer


@dataclass
class Decoded:
    """past_BTC: the first frame, then what was predicted for frames 1 to T-1. future: (B, C), or (B, n, C)
    without a mean. feature_error_BTC: squared error of every predicted frame that was observed."""

    past_BTC: Tensor
    future: Tensor
    feature_error_BTC: Tensor


class CausalDecoder(nn.Module):
    """Predicts the next frame vectors from the observed ones."""

    def __init__(self, in_features: int, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = nn.Linear(in_features, config.inter_dim, bias=False)
        self.decoder = nn.Linear(config.inter_dim, in_features, bias=False)
        self.transformer = CausalTransformer(config)

    def forward(
        self, features: Tensor, target_shape: Sequence[int] = (), lengths: Tensor | None = None
    ) -> Decoded:
        """features: (B, T, C) or (B, C). target_shape: where it has three entries, the second is L. lengths (B,): clips
        are filled up behind; the future is one step after their own last frame, errors of filling are 0.

        The squared error's targets are not detached, as in the official code.
        """
        full_BTC = features.unsqueeze(1) if features.ndim == 2 else features
        drop = self.config.drop_last_n
        if drop >= full_BTC.shape[1]:
            raise ValueError(f"drop_last_n {drop} leaves none of {full_BTC.shape[1]} frames")
        seen_BTC = full_BTC[:, :-drop] if drop else full_BTC
        observed = seen_BTC.shape[1]
        z, cache, hidden = self.encoder(seen_BTC), None, []
        length = self._length(target_shape)
        for _ in range(length):
            states, cache = self.transformer(z, cache)
            hidden.append(states)
            z = states[:, -1:]
        y_BTC = self.decoder(torch.cat(hidden, dim=1))
        compared = min(full_BTC.shape[1], y_BTC.shape[1])
        error = (y_BTC[:, : compared - 1] - full_BTC[:, 1:compared]) ** 2
        past = torch.cat((seen_BTC[:, :1], y_BTC[:, : observed - 1]), dim=1)
        if lengths is not None:
            if length != 1 or drop:
                raise ValueError("clips of several lengths are continued by one step from their last frame")
            steps = torch.arange(1, compared, device=lengths.device)
            error = error * (steps < lengths[:, None])[..., None]
            return Decoded(past, y_BTC[torch.arange(len(y_BTC), device=lengths.device), lengths - 1], error)
        if self.config.return_past_too:
            final = torch.cat((seen_BTC, y_BTC[:, observed - 1 :]), dim=1)
        else:
            final = y_BTC[:, -length:]
        if self.config.avg_last_n > 0:
            final = final[:, -self.config.avg_last_n :].mean(dim=1)
        return Decoded(past, final, error)

    def _length(self, target_shape: Sequence[int]) -> int:
        if len(target_shape) == 3:
            return int(target_shape[1])
        if self.training or self.config.output_len_eval < 0:
            return self.config.output_len
        return self.config.output_len_eval

    def step(self, frame_BC: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Streaming: the predicted next vector (B, C) after one more frame; feed the cache back."""
        states, cache = self.transformer(self.encoder(frame_BC).unsqueeze(1), cache)
        return self.decoder(states[:, -1]), cache
