"""Learning rates per epoch (specification 6.1).

What differs from the official code:
1. Nothing: the rates are set once an epoch, and epochs run from 0 to E inclusive, the last at rate 0 under
   `cos`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def epoch_rate(
    base: float, epoch: int, epochs: int, kind: str = "cos", steps: str | Sequence[int] = "50-100"
) -> float:
    """Rate of `epoch`. kind: cos (base (1 + cos(pi e / E)) / 2) or step (a tenth at every milestone).

    >>> epoch_rate(0.01, 60, 120, "step", "50-100")
    0.001
    """
    if kind == "cos":
        return 0.5 * base * (1 + math.cos(math.pi * epoch / epochs))
    if kind == "step":
        milestones = [int(s) for s in steps.split("-")] if isinstance(steps, str) else steps
        return base * 0.1 ** sum(epoch >= m for m in milestones)
    raise ValueError(f"no schedule {kind!r}; there are cos and step")


def base_rates(train_stage: int, backbone_lr: float, fc_lr: float) -> list[float]:
    """Base rates of the official parameter groups: stage 0 glancer, focuser, classifier; 1 focuser,
    classifier;
    3 classifier."""
    groups = {0: [backbone_lr, backbone_lr, fc_lr], 1: [backbone_lr, fc_lr], 3: [fc_lr]}
    if train_stage not in groups:
        raise ValueError(f"stage {train_stage} has no such schedule")
    return groups[train_stage]
