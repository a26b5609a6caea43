from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinoscope.errors import KinoscopeError
from kinoscope.timeline import Events

rows = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(0, 100), st.floats(0, 9), st.integers(0, 1)),
    max_size=12,
)


def events(table: list[tuple[str, float, float, int]]) -> Events:
    return Events.concat(
        [Events.empty(("run", "jump"))]
        + [Events.of(v, [[s, s + d]], [k], [0.5], ("run", "jump")) for v, s, d, k in table]
    )


@given(rows)
def test_json_and_back(table: list[tuple[str, float, float, int]]) -> None:
    before = events(table)
    after = Events.from_json(json.loads(before.dumps()))
    assert after.label_names == before.label_names
    assert sorted(zip(after.source, after.start_s, after.end_s, after.label, strict=True)) == sorted(
        zip(before.source, before.start_s, before.end_s, before.label, strict=True)
    )


@given(rows)
def test_by_source_keeps_every_row_in_order(table: list[tuple[str, float, float, int]]) -> None:
    parts = dict(events(table).by_source())
    assert sum(map(len, parts.values())) == len(table)
    for video, part in parts.items():
        assert part.start_s.tolist() == [s for v, s, _, _ in table if v == video]


def test_csv_names_the_labels() -> None:
    text = Events.of("v", [[1, 2.5]], [1], [0.25], ("run", "jump")).to_csv()
    assert text.splitlines() == ["video,start_s,end_s,label,score", "v,1.000,2.500,jump,0.2500"]


@pytest.mark.parametrize(
    ("segments", "label", "message"),
    [
        ([[2, 1]], [0], "ends before it starts"),
        ([[1, 2]], [2], "outside"),
        ([[1, 2]], [0, 1], "another number"),
    ],
)
def test_impossible_events_are_refused(segments: list[list[float]], label: list[int], message: str) -> None:
    with pytest.raises(KinoscopeError, match=message):
        Events.of("v", segments, label, np.ones(len(segments)), ("run", "jump"))


def test_a_file_of_something_else_is_told() -> None:
    with pytest.raises(KinoscopeError, match="no file of predictions"):
        Events.from_json({"results": {}}, "x.json")


def test_uncertain_bounds_are_kept_through_json_and_csv() -> None:
    plain = Events.of("v", [[0, 2], [3, 5]], [0, 1], [0.9, 0.8], ("a", "b"))
    events = replace(plain, uncertainty_s=np.array([[0.1, 0.2], [0.3, 0.4]]))
    back = Events.from_json(json.loads(events.dumps()))
    assert back.uncertainty_s is not None
    np.testing.assert_array_equal(back.uncertainty_s, events.uncertainty_s)
    assert events.to_csv().splitlines()[1] == "v,0.000,2.000,a,0.9000,0.100,0.200"
    assert "uncertainty_s" not in plain.to_json()
    both = Events.concat([Events.empty(("a", "b")), events])
    assert both.uncertainty_s is not None
    with pytest.raises(KinoscopeError, match="predictions"):
        Events.from_json({**events.to_json(), "uncertainty_s": {"v": [[1, 2]]}})
