"""Dynamic time warping against the recursion written out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kinoscope.metrics.dtw import accumulated_cost, dtw, first_matches


def written_out(cost: np.ndarray) -> np.ndarray:
    table = np.full(np.add(cost.shape, 1), np.inf)
    table[0, 0] = 0
    for i, row in enumerate(cost):
        for j, value in enumerate(row):
            table[i + 1, j + 1] = value + min(table[i, j], table[i, j + 1], table[i + 1, j])
    return table[1:, 1:]


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_table_and_path(n: int, m: int, seed: int) -> None:
    cost = np.random.default_rng(seed).integers(0, 5, (n, m)).astype(float)
    total, table, path = dtw(cost)
    np.testing.assert_array_equal(table, written_out(cost))
    assert path[:, 0].tolist() == [0, 0]
    assert path[:, -1].tolist() == [n - 1, m - 1]
    assert {tuple(step) for step in np.diff(path).T} <= {(1, 1), (1, 0), (0, 1)}
    assert cost[tuple(path)].sum() == total


def test_a_sequence_warps_onto_a_stretched_copy_of_itself() -> None:
    rows = np.arange(5.0)
    _, _, path = dtw((rows[:, None] - np.repeat(rows, 3)) ** 2)
    assert first_matches(path).tolist() == [0, 3, 6, 9, 12]


def test_one_row_adds_up() -> None:
    np.testing.assert_array_equal(accumulated_cost(np.ones((1, 4))), [[1, 2, 3, 4]])
