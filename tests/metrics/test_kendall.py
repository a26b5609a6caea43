"""Kendall's tau against scipy."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from kinoscope.metrics.kendall import kendall_tau, kendall_taus


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), max_size=30), min_size=1, max_size=5))
def test_equals_scipy_for_every_sequence_of_a_batch(sequences: list[list[int]]) -> None:
    offset = np.cumsum([0, *map(len, sequences)])
    ours = kendall_taus(np.concatenate([np.array(s, np.int64) for s in sequences]), offset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [kendalltau(np.arange(len(s)), s).statistic for s in sequences]
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_order_and_reverse_order() -> None:
    assert kendall_tau(np.arange(1000)) == 1
    assert kendall_tau(np.arange(1000)[::-1]) == -1
