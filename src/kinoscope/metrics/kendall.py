"""Kendall's tau-b of sequences against their own order, in O(n log n), many sequences at once.

tau = (n0 - n2 - 2 d) / sqrt(n0 (n0 - n2)) with n0 = n (n - 1) / 2 pairs, n2 pairs of equal values and d pairs in
the wrong order (Kendall 1945). The pairs in the wrong order are counted bit by bit, as in a wavelet tree: at every
bit, within entries that agree in the bits above, each 1 before a 0 is one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def kendall_tau(values: Sequence[int] | np.ndarray) -> float:
    """Tau-b between 0 .. n-1 and n whole numbers; NaN for fewer than two or where all are equal.

    >>> kendall_tau([0, 1, 1, 3])
    0.9128709291752769
    """
    values = np.asarray(values)
    return float(kendall_taus(values, np.array([0, len(values)]))[0])


def kendall_taus(values: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """(S,) tau-b of each of S sequences laid end to end: sequence s is values[offset[s]:offset[s + 1]].

    values: whole numbers >= 0. NaN for a sequence of fewer than two entries or without two different values.
    """
    values, offset = np.asarray(values, np.int64), np.asarray(offset, np.int64)
    count = np.diff(offset)
    discordant, ties = _pairs(values, offset)
    total = count * (count - 1) // 2
    untied = total - ties
    with np.errstate(invalid="ignore", divide="ignore"):
        return (untied - 2 * discordant) / np.sqrt(total.astype(float) * untied)


def _pairs(values: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per sequence: pairs in the wrong order, and pairs of equal values."""
    sequences = len(offset) - 1
    owner = np.repeat(np.arange(sequences), np.diff(offset))
    discordant = np.zeros(sequences, np.int64)
    starts = offset[:-1][
        np.diff(offset) > 0
    ]  # of the groups that agree so far; the order within is the original
    for bit in reversed(range(int(values.max(initial=0)).bit_length())):
        ones = (values >> bit) & 1
        sizes = np.diff(np.append(starts, len(values)))
        before = np.append(0, np.cumsum(ones))
        ones_before = before[:-1] - np.repeat(before[starts], sizes)
        ones_of_group = before[starts + sizes] - before[starts]
        wrong = np.where(ones == 0, ones_before, 0)
        discordant += np.bincount(owner, wrong, sequences).astype(np.int64)
        group_start = np.repeat(starts, sizes)
        zeros = np.repeat(sizes - ones_of_group, sizes)
        place = np.where(ones == 1, group_start + zeros + ones_before, np.arange(len(values)) - ones_before)
        moved = np.empty_like(values)
        moved[place] = values
        values = moved
        starts = np.unique(np.concatenate([starts, starts + sizes - ones_of_group]))
        starts = starts[starts < len(values)]
    sizes = np.diff(np.append(starts, len(values)))
    ties = np.bincount(owner[starts], sizes * (sizes - 1) // 2, sequences).astype(np.int64)
    return discordant, ties
