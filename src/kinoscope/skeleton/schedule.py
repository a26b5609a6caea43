"""The published learning rate: a tenth after each of the listed epochs."""

from __future__ import annotations

from collections.abc import Sequence


def learning_rate(base: float, steps: Sequence[int], epoch: int, optimizer: str = "SGD") -> float:
    """Rate of `epoch` (1-based): base * 0.1 ** (entries of `steps` below it); Adam keeps its base."""
    return base * 0.1 ** sum(epoch > step for step in steps) if optimizer == "SGD" else base
