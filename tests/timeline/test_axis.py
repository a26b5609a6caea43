from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinoscope.errors import KinoscopeError
from kinoscope.timeline import TimeAxis

positive = st.floats(0.1, 1000)


@given(positive, positive, positive, st.floats(-50, 50), st.floats(0, 1e5))
def test_seconds_to_steps_and_back(fps: float, stride: float, window: float, offset: float, t: float) -> None:
    axis = TimeAxis(fps, stride, window, offset)
    assert np.isclose(axis.seconds(axis.steps(t)), t, rtol=1e-9, atol=1e-6)


@given(positive, positive, st.integers(1, 9), st.integers(0, 1000))
def test_every_nth_step_keeps_its_place(fps: float, stride: float, n: int, step: int) -> None:
    axis = TimeAxis(fps, stride, 16)
    assert np.isclose(axis.every(n).seconds(step), axis.seconds(n * step))


def test_the_worked_examples_of_the_specification() -> None:
    assert np.isclose(TimeAxis(30, 16, 32).steps(0.14), -0.7375)
    assert np.isclose(TimeAxis(30, 4, 16).every(2).steps(1.2), 3.5)
    assert TimeAxis(30, 4, 16).covered_s(10) == (9 * 4 + 16) / 30


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(KinoscopeError, match="fps"):
        TimeAxis(0, 1, 1)
