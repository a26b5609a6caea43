"""Exponential moving average of every entry of a state dict (ActionFormer specification 9.3)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class MovingAverage:
    """average = decay * average + (1 - decay) * value, after every step, from the starting weights on."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._average, self._copied = self._split(self.model)

    @staticmethod
    def _split(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        entries = list(model.state_dict().values())
        return (
            [entry for entry in entries if entry.is_floating_point()],
            [entry for entry in entries if not entry.is_floating_point()],
        )

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        values, counts = self._split(model)
        torch._foreach_mul_(self._average, self.decay)
        torch._foreach_add_(self._average, values, alpha=1 - self.decay)
        for old, new in zip(self._copied, counts, strict=True):
            old.copy_(new)
