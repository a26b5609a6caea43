"""Learning rates as functions of the position in a run.

Warm-up (ActionFormer's, official code): the rate is base * n / (W - 1) in iteration n < W, so the very first
iteration runs at 0 and W - 1 and W both at the base rate. Under a budget of minutes the position is a share
of the time, and the same curves are read at that share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kinoscope.engine.settings import Constant, Schedule, WarmupCosine


@dataclass
class Position:
    """Where a run stands.

    step: optimiser steps done; micro_step: batches done; epoch: whole epochs done; steps_per_epoch: optimiser
    steps of one; total_epochs: length of the schedule, warm-up included; share: 0..1 under a budget of
    minutes, else None.
    """

    step: int = 0
    micro_step: int = 0
    epoch: int = 0
    steps_per_epoch: int = 1
    total_epochs: float = 1.0
    share: float | None = None

    @property
    def done(self) -> float:
        """Steps done: real ones, or the share of the schedule's length under a budget of minutes."""
        return self.step if self.share is None else self.share * self.total

    @property
    def total(self) -> float:
        return self.total_epochs * self.steps_per_epoch


def learning_rate(schedule: Schedule, base: float, position: Position) -> float:
    """Rate of the coming step (ActionFormer specification 9.2).

    Plain cosine without warm-up, official too, is WarmupCosine(warmup_epochs=0, final_rate=0).
    """
    if isinstance(schedule, Constant):
        return base
    n, warmup = position.done, schedule.warmup_epochs * position.steps_per_epoch
    if n < warmup:
        return base * min(n / max(warmup - 1, 1), 1.0)
    if isinstance(schedule, WarmupCosine):
        share = (n - warmup) / max(position.total - warmup, 1)
        if position.share is not None:  # minutes may be overdrawn; steps beyond the end rise again (official)
            share = min(share, 1.0)
        return schedule.final_rate + (base - schedule.final_rate) * (1 + math.cos(math.pi * share)) / 2
    passed = sum(milestone * position.steps_per_epoch <= n - warmup for milestone in schedule.steps)
    return base * schedule.gamma**passed
