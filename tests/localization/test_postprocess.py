from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinoscope.errors import KinoscopeError
from kinoscope.localization import TemporalConstraints, enforce_class_constraints, merge_close_detections
from kinoscope.localization.postprocess import postprocessed
from kinoscope.localization.settings import Postprocess
from kinoscope.metrics.tiou import tiou_matrix
from kinoscope.timeline import Events

NAMES = ("serve", "rally", "point")


def table(*rows: tuple[str, float, float, int, float]) -> dict[str, Any]:
    video, start, end, label, score = zip(*rows, strict=True)
    columns = {"t-start": start, "t-end": end, "label": label, "score": score}
    return {"video-id": list(video)} | {name: np.array(column) for name, column in columns.items()}


def scores(results: dict[str, Any]) -> list[float]:
    return results["score"].tolist()


def test_a_gap_counts_within_a_class_and_a_video() -> None:
    rows = table(
        ("a", 0, 2, 0, 0.5),
        ("a", 1, 3, 0, 0.9),
        ("a", 1, 3, 1, 0.4),
        ("b", 0, 2, 0, 0.3),
        ("a", 4, 6, 0, 0.2),
    )
    found = TemporalConstraints(min_gap={0: 3.0}, max_overlap=1.0).apply(rows)
    assert scores(found) == [0.9, 0.4, 0.3, 0.2], "a distance of exactly the gap is enough"
    assert found["video-id"] == ["a", "a", "b", "a"]


def test_durations_include_both_ends() -> None:
    rows = table(("a", 0, 1, 0, 0.1), ("a", 10, 13, 0, 0.2), ("a", 20, 24, 0, 0.3), ("a", 30, 39, 1, 0.4))
    assert scores(TemporalConstraints(duration_range={0: (1, 3)}).apply(rows)) == [0.1, 0.2, 0.4]


def test_what_was_dropped_drops_nothing() -> None:
    rows = table(("a", 0, 10, 0, 0.9), ("a", 3, 13, 0, 0.8), ("a", 6, 16, 0, 0.7))
    assert scores(TemporalConstraints(max_overlap=0.5).apply(rows)) == [0.9, 0.7]


def test_overlap_concerns_all_classes_also_where_one_is_named() -> None:
    rows = table(("a", 0, 10, 0, 0.9), ("a", 0, 10, 1, 0.8))
    assert scores(enforce_class_constraints(rows, class_id=2, min_gap=1.0)) == [0.9]


def test_order_is_kept_silent_unless_it_is_enforced() -> None:
    rows = table(("a", 0, 2, 1, 0.5), ("a", 4, 6, 0, 0.9), ("a", 8, 10, 1, 0.4), ("a", 1, 2, 2, 0.3))
    assert len(scores(TemporalConstraints(ordering=[[0, 1]]).apply(rows))) == 4
    assert scores(TemporalConstraints(ordering=[[0, 1]], enforce_ordering=True).apply(rows)) == [
        0.9,
        0.4,
        0.3,
    ]


def test_chains_are_joined_by_the_member_before() -> None:
    rows = table(
        ("b", 0, 9, 0, 0.5),
        ("b", 1, 2, 0, 0.9),
        ("b", 2.4, 3, 0, 0.1),
        ("b", 3.6, 4, 0, 0.2),
        ("a", 5, 6, 1, 0.3),
    )
    found = merge_close_detections(rows, merge_gap=0.5)
    assert found["video-id"] == ["a", "b", "b"]
    assert list(zip(found["t-start"], found["t-end"], found["score"], strict=True)) == [
        (5, 6, 0.3),
        (0, 9, 0.9),
        (3.6, 4, 0.2),
    ]
    only = merge_close_detections(rows, merge_gap=0.5, class_id=0)
    assert only["video-id"] == ["b", "b", "a"], "rows of other classes follow"


def test_no_detections_stay_none() -> None:
    empty = {
        "video-id": [],
        "t-start": np.empty(0),
        "t-end": np.empty(0),
        "label": np.empty(0),
        "score": np.empty(0),
    }
    assert TemporalConstraints(min_gap={0: 1.0}).apply(empty)["video-id"] == []
    assert merge_close_detections(empty)["video-id"] == []
    assert len(postprocessed(Events.empty(NAMES), Postprocess(merge_gap_s=1.0))) == 0


rows_of = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.floats(0, 50), st.floats(0.1, 9), st.integers(0, 2), st.floats(0.01, 1)
    ),
    min_size=1,
    max_size=25,
)


@given(rows_of)
def test_survivors_keep_the_rules_and_stay_when_judged_again(
    rows: list[tuple[str, float, float, int, float]],
) -> None:
    given_rows = table(*((video, start, start + length, k, score) for video, start, length, k, score in rows))
    rules = TemporalConstraints(min_gap={0: 4.0}, max_overlap=0.3)
    found = rules.apply(given_rows)
    segments = np.stack([found["t-start"], found["t-end"]], 1)
    video = np.array(found["video-id"])
    iou = tiou_matrix(segments, segments)
    np.fill_diagonal(iou, 0)
    assert (iou[video[:, None] == video[None]] <= 0.3).all()
    again = rules.apply(found)
    assert again["video-id"] == found["video-id"]
    np.testing.assert_array_equal(again["score"], found["score"])


def test_a_recipe_names_classes() -> None:
    events = Events.of("v", [[0, 2], [2.2, 4], [3, 5], [9, 9.5]], [0, 0, 1, 2], [0.5, 0.6, 0.4, 0.3], NAMES)
    rules = Postprocess(merge_gap_s=0.5, duration_range_s={"point": (1.0, 9.0), "1": (0.0, 9.0)})
    found = postprocessed(events, rules)
    assert found.start_s.tolist() == [0, 3]
    assert found.end_s.tolist() == [4, 5]
    assert found.score.tolist() == [0.6, 0.4]
    with pytest.raises(KinoscopeError, match="no such class"):
        postprocessed(events, Postprocess(min_gap_s={"smash": 1.0}))
