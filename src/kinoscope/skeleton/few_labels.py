"""The class-balanced subset of the semi-supervised protocol."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np


def labelled_subset(labels: Sequence[int] | np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Sorted indices: per class, in order of first appearance, round(share * count) of its samples.

    Python's own generator and its round-half-to-even, so that seed 0 gives the official subset. A class
    may get none.
    """
    generator = random.Random(seed)
    of_class: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        of_class.setdefault(int(label), []).append(index)
    chosen = [
        i for members in of_class.values() for i in generator.sample(members, round(share * len(members)))
    ]
    return np.array(sorted(chosen), dtype=np.int64)
