"""Embedders that see a few context frames each: `conv` and `vanilla` (CARL, section 3.5; from TCC).

Shapes: B clips, T embeddings, K context frames of each, C channels; a clip holds T*K frames, contexts inner.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvEmbedder(nn.Module):
    """3-D convolutions over the contexts, maximum over time and space, fully connected layers.

    conv: (channels, kernel, time padding) of each convolution; empty for `vanilla`. fc: widths of the layers
    after the maximum. `capacity` multiplies both.
    """

    def __init__(
        self,
        channels: int,
        contexts: int,
        conv: tuple[tuple[int, int, int], ...] = ((256, 3, 1), (256, 3, 1)),
        fc: tuple[int, ...] = (256, 256),
        capacity: int = 2,
        size: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.contexts = contexts
        parts: list[nn.Module] = []
        for width, kernel, pad in conv:
            out = width * capacity
            parts += [
                nn.Conv3d(channels, out, kernel, padding=(pad, 0, 0)),
                nn.BatchNorm3d(out),
                nn.ReLU(),
            ]
            channels = out
        self.conv = nn.Sequential(*parts)
        layers: list[nn.Module] = []
        for width in fc:
            layers += [nn.Dropout(dropout), nn.Linear(channels, width * capacity), nn.ReLU()]
            channels = width * capacity
        self.fc = nn.Sequential(*layers)
        self.out = nn.Linear(channels, size)

    def forward(self, features: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """features (B, T*K, C, h, w) -> (B, T, D). The mask has no effect: embeddings do not see each other."""
        B, TK = features.shape[:2]
        T = TK // self.contexts
        x = features.reshape(B * T, self.contexts, *features.shape[2:]).transpose(1, 2)
        x = torch.amax(self.conv(x), dim=(2, 3, 4))
        return self.out(self.fc(x)).view(B, T, -1)
