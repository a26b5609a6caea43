"""The published learning rate as a function of the iteration (specification 9.2).

The official schedules are recursive and differ from these closed forms by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

FINAL_RATE = 1e-8  # of the cosine after a warm-up


def rate(
    n: int,
    base: float,
    iterations: int,
    epochs: int,
    warmup: bool = True,
    warmup_epochs: int = 5,
    kind: Literal["cosine", "multistep"] = "cosine",
    steps: Sequence[int] = (),
    gamma: float = 0.1,
) -> float:
    """Learning rate of the iteration after `n` completed ones.

    iterations: of an epoch; epochs: without the warm-up; steps: epochs after the warm-up at which the rate is
    multiplied by `gamma`. The first iteration of a warm-up runs with 0; no warm-up epochs are no warm-up.

    >>> [rate(n, 1.0, iterations=2, epochs=2, warmup_epochs=2) for n in (0, 1, 3, 4)]
    [0.0, 0.3333333333333333, 1.0, 1.0]
    """
    warm = warmup_epochs * iterations if warmup else 0
    if n < warm:
        return base * n / max(warm - 1, 1)
    if kind == "multistep":
        return base * gamma ** sum(step * iterations <= n - warm for step in steps)
    final = FINAL_RATE if warm else 0.0
    share = (n - warm) / max(epochs * iterations, 1)
    return final + (base - final) * (1 + math.cos(math.pi * share)) / 2
