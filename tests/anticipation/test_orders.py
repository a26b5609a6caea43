"""Orders of actions: counts become probabilities, evidence moves beliefs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinoscope.anticipation.orders import Follower, Orders
from kinoscope.anticipation.settings import OrderSettings


def timed(labels: list[int]) -> list[tuple[float, float, int]]:
    return [(1.0 + 2 * k, 2.5 + 2 * k, label) for k, label in enumerate(labels)]


TRAINING = [timed(labels) for labels in ([0, 1, 2], [0, 1, 2], [3, 1, 0], [3, 1, 0])]


def test_times_are_those_of_the_streams() -> None:
    orders = Orders.fit(TRAINING, 4, memory=2)
    np.testing.assert_allclose(orders.action_s, 1.5)
    assert orders.pause_s == pytest.approx(0.5)
    assert orders.lead_s == pytest.approx(1.0)
    assert orders.direct == 0.0


def test_a_longer_memory_tells_what_a_short_one_cannot() -> None:
    told = []
    for memory in (1, 2):
        orders = Orders.fit(TRAINING, 4, memory)
        follower = Follower(orders, OrderSettings(memory=memory, evidence=1.0), 0.25)
        seen = [0] * 10 + [1] * 8  # action 0, then action 1
        belief = follower.follow(np.eye(5)[seen] * 0.9 + 0.02)
        told.append(orders.next_action(belief))
    assert told[0][2] == pytest.approx(told[0][0], abs=0.1)  # after 1 comes 2 or 0
    assert told[1].argmax() == 2
    assert told[1][2] > 0.7


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=5), st.integers(1, 4)
)
def test_moves_and_answers_are_distributions(labels: list[list[int]], memory: int) -> None:
    orders = Orders.fit([timed(some) for some in labels], 4, memory)
    np.testing.assert_allclose(orders.moves(0.1).sum(axis=1), 1.0)
    np.testing.assert_allclose(orders.following.sum(axis=1), 1.0)
    follower = Follower(orders, OrderSettings(memory=memory), 0.1)
    belief = follower.follow(np.random.default_rng(0).dirichlet(np.ones(5), 9), from_start=False)
    assert belief.sum() == pytest.approx(1.0)
    assert orders.next_action(belief).sum() == pytest.approx(1.0)


def test_orders_survive_their_file() -> None:
    orders = Orders.fit(TRAINING, 4, memory=3)
    again = Orders.from_dict(orders.to_dict())
    np.testing.assert_array_equal(again.moves(0.2), orders.moves(0.2))
    assert again.contexts == orders.contexts
