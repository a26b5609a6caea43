from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kinoscope.localization.truncation import Draws, random_window

SEGMENTS = np.array([[5, 25], [100, 104], [150, 190]], np.float32)


class Fixed:
    """A generator that answers from a list."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)

    def randint(self, a: int, b: int, /) -> int:
        answer = self.answers.pop(0)
        assert a <= answer <= b
        return answer


@given(st.integers(0, 10_000), st.integers(8, 199), st.floats(0.1, 1))
def test_kept_actions_are_inside_by_the_asked_share(seed: int, size: int, share: float) -> None:
    window = random_window(200, SEGMENTS, Draws(np.random.default_rng(seed)), size, share, 1.0)
    assert window.stop - window.start == size
    assert 0 <= window.start <= 200 - size
    assert (window.segments >= -1).all()
    assert (window.segments <= size + 1).all()
    whole = SEGMENTS[window.rows]
    assert ((np.diff(window.segments) / np.diff(whole)) >= share - 1e-5).all()


def test_a_video_that_fits_is_left_alone_or_cropped_by_a_share() -> None:
    whole = random_window(200, SEGMENTS, Fixed(), 200, 0.5, 0.0)
    assert (whole.start, whole.stop) == (0, 200)
    assert np.array_equal(whole.segments, SEGMENTS)
    part = random_window(200, SEGMENTS, Fixed(150, 50), 200, 0.5, 0.0, (0.5, 1.0))
    assert (part.start, part.stop) == (50, 200)
    assert part.rows.tolist() == [1, 2]
    assert part.segments[0].tolist() == [50, 54]


def test_windows_without_action_are_drawn_again() -> None:
    window = random_window(200, SEGMENTS, Fixed(30, 60, 98), 10, 0.5, 0.0)
    assert window.start == 98
    assert random_window(200, SEGMENTS, Fixed(30), 10, 0.5, 0.0, has_action=False).rows.size == 0


def test_no_trunc_takes_no_window_that_cuts_an_action() -> None:
    assert random_window(200, SEGMENTS, Fixed(90, 96), 12, 0.1, 0.0, no_trunc=True).start == 96


def test_the_last_draw_stands_where_none_will_do() -> None:
    window = random_window(60, SEGMENTS[:0], Fixed(*range(7)), 40, 0.5, 0.0, max_num_trials=7)
    assert window.start == 6
    assert window.segments.shape == (0, 2)


def test_both_bounds_are_drawn() -> None:
    draws = Draws(np.random.default_rng(0))
    assert {draws.randint(1, 3) for _ in range(60)} == {1, 2, 3}
