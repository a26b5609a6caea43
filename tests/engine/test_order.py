from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kinoscope.engine.order import ORDER, SAMPLE, Plan, generator


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.integers(0, 5), st.booleans())
def test_processes_share_every_batch_without_overlap(
    length: int, size: int, processes: int, number: int, drop_last: bool
) -> None:
    whole = Plan(length, size, 3, drop_last).batch(number)
    parts = [Plan(length, size, 3, drop_last, processes, rank).batch(number) for rank in range(processes)]
    assert sorted(pair for part in parts for pair in part) == sorted(whole)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 99))
def test_an_epoch_shows_every_sample_once(length: int, size: int, seed: int) -> None:
    plan = Plan(length, size, seed, drop_last=False)
    seen = [pair for number in range(plan.batches_per_epoch) for pair in plan.batch(number)]
    assert sorted(index for _, index in seen) == list(range(length))
    assert {epoch for epoch, _ in seen} == {0}


def test_streams_of_other_purposes_never_meet() -> None:
    draws = [generator(0, purpose, 1, 2).integers(2**62) for purpose in (ORDER, SAMPLE)]
    assert draws[0] != draws[1]
    assert generator(0, SAMPLE, 1, 2).integers(2**62) == draws[1]
    assert not np.array_equal(generator(0, ORDER, 0).permutation(50), generator(0, ORDER, 1).permutation(50))
