"""Optimisers by kind."""

from __future__ import annotations

from typing import Any

import torch

from kinoscope.engine.settings import Optimizer


def build_optimizer(settings: Optimizer, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimiser of a stage over its groups; a group's own `lr` or `weight_decay` wins."""
    shared: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.kind == "sgd":
        return torch.optim.SGD(groups, momentum=settings.momentum, nesterov=settings.nesterov, **shared)
    kind = torch.optim.AdamW if settings.kind == "adamw" else torch.optim.Adam
    return kind(groups, betas=settings.betas, fused=True, **shared)  # in place: no second copy of anything
