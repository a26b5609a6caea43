"""What needs no motion: the most frequent class, and transition tables that are given the true previous labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np


def transition_table(orders: Sequence[Sequence[int]], given: int) -> dict[tuple[int, ...], int]:
    """Last `given` labels -> the label that followed most often (the smallest of equals); fewer at the start.

    >>> transition_table([[1, 2], [1, 2], [1, 3]], given=1)
    {(): 1, (1,): 2}
    """
    counts: dict[tuple[int, ...], Counter[int]] = {}
    for order in orders:
        for k, label in enumerate(order):
            counts.setdefault(tuple(order[max(k - given, 0) : k]), Counter())[label] += 1
    return {key: min(found, key=lambda label: (-found[label], label)) for key, found in counts.items()}


def yardsticks(
    train: Sequence[Sequence[int]], test: Sequence[Sequence[int]], from_action: int = 0
) -> dict[str, float]:
    """Top-1 in percent of the test actions from number `from_action` of their stream on (1: those that have a
    previous one); train, test: the labels of each stream in order of time."""
    result = {}
    usual = transition_table(train, 0)[()]
    for name, given in (("most_frequent", 0), ("previous_action", 1), ("previous_two_actions", 2)):
        table = transition_table(train, given)
        hits = [
            table.get(tuple(order[max(k - given, 0) : k]), usual) == label
            for order in test
            for k, label in enumerate(order)
            if k >= from_action
        ]
        result[name] = 100.0 * float(np.mean(hits)) if hits else float("nan")
    return result
