from __future__ import annotations

import pytest

from kinoscope.anticipation.yardsticks import transition_table, yardsticks
from kinoscope.media.skeleton import SkeletonFile


def test_tables_of_the_built_in_orders() -> None:
    """The figures that are printed for people whom nobody has seen: 20, 58.3 and 75."""
    orders = [m.segments[:, 2].tolist() for m in SkeletonFile.load("builtin:precog16")]
    assert yardsticks(orders, orders)["most_frequent"] == pytest.approx(20)
    later = yardsticks(orders, orders, from_action=1)
    assert later["previous_action"] == pytest.approx(58.333, abs=1e-3)
    assert later["previous_two_actions"] == pytest.approx(75)


def test_unseen_transitions_fall_back_to_the_usual_class() -> None:
    assert yardsticks([[0, 1, 0]], [[2, 0]])["previous_action"] == pytest.approx(50)


def test_ties_go_to_the_smaller_label() -> None:
    assert transition_table([[3], [1]], 1) == {(): 1}
