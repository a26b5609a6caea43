"""Learning rates and parameter groups of S-GEAR's official runs.

The scheduler steps at every batch, also between accumulated ones. Kept from the official code: after a warm-up
the cosine starts from the last warm-up rate, one step short of the base rate; past its end the rate is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn


def _warmup(iteration: int, base: float, warmup: int, ratio: float) -> float:
    ratio = 1.0 if warmup == 1 else ratio
    return base * (ratio + (1 - ratio) * iteration / warmup)


def cosine_rate(
    iteration: int,
    base: float,
    iterations_per_epoch: int,
    cosine_epochs: float,
    warmup_epochs: float = 0.0,
    init_lr_ratio: float = 0.0,
    eta_min: float = 0.0,
    world_size: int = 1,
) -> float:
    """Rate of an iteration: linear warm-up, then torch's recursive cosine in closed form.

    base: rate with the world size already in it; eta_min is multiplied by the world size here.
    """
    warmup = max(int(warmup_epochs * iterations_per_epoch), 1)
    if iteration < warmup:
        return _warmup(iteration, base, warmup, init_lr_ratio)
    peak = _warmup(warmup - 1, base, warmup, init_lr_ratio)
    last, step = int(cosine_epochs * iterations_per_epoch), iteration - warmup + 1
    if step >= last:
        return 0.0
    floor = eta_min * world_size
    return floor + (peak - floor) * (1 + math.cos(math.pi * step / last)) / 2


def multi_step_rate(
    iteration: int,
    base: float,
    iterations_per_epoch: int,
    milestones: Sequence[float],
    gamma: float = 0.1,
    warmup_factor: float = 0.001,
    inner_warmup_epochs: float = 0.0,
    warmup_epochs: float = 0.0,
    init_lr_ratio: float = 0.0,
    warmup_method: str = "linear",
) -> float:
    """Rate of an iteration: the outer warm-up, then steps with a linear or constant warm-up of their own."""
    warmup = max(int(warmup_epochs * iterations_per_epoch), 1)
    if iteration < warmup:
        return _warmup(iteration, base, warmup, init_lr_ratio)
    step = iteration - warmup + 1
    inner = inner_warmup_epochs * iterations_per_epoch
    factor = 1.0
    if step < inner:
        factor = warmup_factor
        if warmup_method == "linear":
            factor = warmup_factor + (1 - warmup_factor) * step / inner
    passed = sum(milestone * iterations_per_epoch <= step for milestone in milestones)
    return base * factor * gamma**passed


def parameter_groups(
    model: nn.Module, weight_decay: float, bias_bn_wd_scale: float = 1.0
) -> list[dict[str, Any]]:
    """Two groups of trainable parameters: all but biases and batch norms, and these with scaled decay."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    special = {name for name, _ in trained if name.endswith("bias") or ".bn" in name}
    return [
        {"params": [p for name, p in trained if name not in special], "weight_decay": weight_decay},
        {
            "params": [p for name, p in trained if name in special],
            "weight_decay": weight_decay * bias_bn_wd_scale,
        },
    ]


def moves(batches: int, accumulate: int, start: int = 0) -> Iterator[tuple[bool, bool]]:
    """For each batch of an epoch: whether it is the first of the epoch, and whether the optimiser moves after it.

    Gradients are zeroed at the start of an epoch and after a move: a remainder is dropped. Accumulation counts
    batches over the whole run (`start`: batches done before), 0 means 1.
    """
    every = max(accumulate, 1)
    for i in range(batches):
        yield i == 0, (start + i + 1) % every == 0
