"""The transformer embedder of CARL (section 3.2 to 3.4): spatial maximum, two layers, positions, encoder.

Shapes: B clips, T frames, C channels, H hidden width, D embedding width; mask_BT is true on valid frames.

As in the official code: positions are stretched onto the training length, and the cosine takes its own odd
index in the exponent; batch norm sees padded frames. Different from it:
1. Attention runs through `scaled_dot_product_attention`.
2. A clip without any valid frame is refused by its caller; the official code returns NaN.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def positions(frames: int, width: int, trained_frames: int) -> Tensor:
    """Sine-cosine positions (T, H), float64; T frames are stretched onto 0 .. trained_frames - 1."""
    if frames == trained_frames:
        place = torch.arange(frames, dtype=torch.float64)
    else:
        place = torch.linspace(0, trained_frames - 1, frames, dtype=torch.float64)
    channel = torch.arange(width, dtype=torch.float64)
    angle_TH = place[:, None] / 10000 ** (channel / width)
    return torch.where(channel.long() % 2 == 0, angle_TH.sin(), angle_TH.cos())


class Attention(nn.Module):
    """Multi-head self-attention with a mask over keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x_BTH: Tensor, mask_BT: Tensor | None) -> Tensor:
        B, T, H = x_BTH.shape

        def split(x: Tensor) -> Tensor:
            return x.view(B, T, self.heads, H // self.heads).transpose(1, 2)

        keys = None if mask_BT is None else mask_BT[:, None, None, :]
        y = F.scaled_dot_product_attention(
            split(self.query(x_BTH)), split(self.key(x_BTH)), split(self.value(x_BTH)), attn_mask=keys
        )
        return self.output(y.transpose(1, 2).reshape(B, T, H))


class FeedForward(nn.Module):
    """Linear, ReLU, linear."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, inner)
        self.contract = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(F.relu(self.expand(x)))


class EncoderLayer(nn.Module):
    """Pre-norm attention and feed-forward, each with a residual."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward = FeedForward(width, inner)
        self.dropout = nn.Dropout(dropout)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, x_BTH: Tensor, mask_BT: Tensor | None) -> Tensor:
        x_BTH = x_BTH + self.dropout(self.attention(self.norm_attention(x_BTH), mask_BT))
        return x_BTH + self.dropout(self.feed_forward(self.norm_feed_forward(x_BTH)))


class TransformerEmbedder(nn.Module):
    """Frame features to embeddings that see the whole clip.

    channels: of a frame's features. trained_frames: length of the training clips, onto which positions stretch.
    fc: output width of each fully connected layer before `capacity` multiplies it. equal_layers: all encoder
    layers start from the same draw, as in the official code.
    """

    def __init__(
        self,
        channels: int,
        trained_frames: int,
        hidden: int = 256,
        inner: int = 1024,
        heads: int = 8,
        layers: int = 3,
        fc: tuple[int, ...] = (256, 256),
        capacity: int = 2,
        size: int = 128,
        dropout: float = 0.1,
        equal_layers: bool = True,
    ) -> None:
        super().__init__()
        self.trained_frames = trained_frames
        parts: list[nn.Module] = []
        for width in fc:
            out = width * capacity
            parts += [nn.Dropout(dropout), nn.Linear(channels, out), nn.BatchNorm1d(out), nn.ReLU()]
            channels = out
        self.fc = nn.Sequential(*parts)
        self.to_hidden = nn.Linear(channels, hidden)
        self.dropout = nn.Dropout(dropout)
        first = EncoderLayer(hidden, heads, inner, dropout)
        self.layers = nn.ModuleList(
            copy.deepcopy(first) if equal_layers else EncoderLayer(hidden, heads, inner, dropout)
            for _ in range(layers)
        )
        self.out = nn.Linear(hidden, size)

    def forward(self, features: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """features (B, T, C, h, w) or (B, T, C) -> (B, T, D)."""
        B, T = features.shape[:2]
        x = features.flatten(3).amax(-1) if features.ndim > 3 else features
        x_BTH = self.to_hidden(self.fc(x.flatten(0, 1))).view(B, T, -1)
        x_BTH = x_BTH + positions(T, x_BTH.shape[-1], self.trained_frames).to(x_BTH)
        x_BTH = self.dropout(x_BTH)
        for layer in self.layers:
            x_BTH = layer(x_BTH, mask_BT)
        return self.out(x_BTH)
