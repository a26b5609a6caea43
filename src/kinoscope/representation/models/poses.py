"""A skeleton frame as the input of the embedder: joints about the pelvis, their velocities, normalised.

Shapes: B clips, T frames, V joints. This encoder is not part of the official code; with it CARL trains in
seconds, since no image is looked at.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PoseTrunk(nn.Module):
    """Pose vectors (B, T, F) scaled by the training set's mean and deviation, which are kept with the weights."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.channels = features

    def forward(self, x_BTF: Tensor) -> Tensor:
        return (x_BTF - self.mean) / self.deviation
