from __future__ import annotations

import pytest

from kinoscope.engine.schedules import Position, learning_rate
from kinoscope.engine.settings import Constant, WarmupCosine, WarmupSteps


def rates(
    schedule: WarmupCosine | WarmupSteps | Constant, epochs: float, each: int, count: int
) -> list[float]:
    return [
        learning_rate(schedule, 1.0, Position(step=n, steps_per_epoch=each, total_epochs=epochs))
        for n in range(count)
    ]


def test_the_warm_up_starts_at_zero_and_meets_the_base_rate_twice() -> None:
    found = rates(WarmupCosine(warmup_epochs=2), 4, 3, 12)
    assert found[0] == 0
    assert found[5] == found[6] == 1
    assert found[7] < 1
    assert found[11] > 0


def test_steps_multiply_at_their_epochs() -> None:
    found = rates(WarmupSteps(warmup_epochs=1, steps=(1, 2), gamma=0.1), 4, 2, 8)
    assert found[2:4] == [1, 1]
    assert found[4:6] == pytest.approx([0.1, 0.1])
    assert found[6:8] == pytest.approx([0.01, 0.01])


def test_no_warm_up_starts_at_the_base_rate() -> None:
    assert rates(WarmupCosine(warmup_epochs=0), 2, 4, 1) == [1]
    assert rates(Constant(), 2, 4, 3) == [1, 1, 1]


def test_a_share_of_the_time_reads_the_same_curve() -> None:
    schedule = WarmupCosine(warmup_epochs=1)
    by_step = learning_rate(schedule, 1.0, Position(step=20, steps_per_epoch=10, total_epochs=4))
    by_share = learning_rate(schedule, 1.0, Position(share=0.5, steps_per_epoch=10, total_epochs=4))
    assert by_step == pytest.approx(by_share)


def test_steps_beyond_the_end_of_a_cosine_rise_again_and_overdrawn_minutes_do_not() -> None:
    schedule = WarmupCosine(warmup_epochs=0, final_rate=0)
    found = rates(schedule, 2, 4, 17)
    assert found[8] == pytest.approx(0, abs=1e-12)
    assert found[16] == pytest.approx(1)
    late = Position(step=9, steps_per_epoch=4, total_epochs=2, share=1.1)
    assert learning_rate(schedule, 1.0, late) == pytest.approx(0, abs=1e-12)
