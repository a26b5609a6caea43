"""Stochastic depth with a learned gain a channel (arXiv 1603.09382, 2103.17239)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AffineDropPath(nn.Module):
    """A branch times its gain; in training the whole branch of a sample is dropped with `probability`.

    What remains is divided by 1 - probability. The gain [C] starts at 1e-4 and acts in evaluation too.
    """

    def __init__(self, width: int, probability: float, initial: float = 1e-4) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), initial))
        self.probability = probability

    def gain(self, x_BTC: Tensor) -> Tensor:
        """What a branch x is multiplied with: [C], or [B, 1, C] in training."""
        if not self.training or self.probability == 0.0:
            return self.scale
        keep = 1.0 - self.probability
        kept_B = (keep + torch.rand(x_BTC.shape[0], dtype=x_BTC.dtype, device=x_BTC.device)).floor() / keep
        return self.scale * kept_B[:, None, None]

    def forward(self, x_BTC: Tensor) -> Tensor:
        return x_BTC * self.gain(x_BTC)


def plus_branch(x_BTC: Tensor, branch_BTC: Tensor, path: nn.Module) -> Tensor:
    """x + path(branch), in one pass where `path` is a stochastic depth."""
    if isinstance(path, AffineDropPath):
        return torch.addcmul(x_BTC, branch_BTC, path.gain(branch_BTC))
    return x_BTC + path(branch_BTC)
