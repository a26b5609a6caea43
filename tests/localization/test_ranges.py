from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinoscope.errors import KinoscopeError
from kinoscope.localization import compute_adaptive_ranges, suggest_config_ranges


@given(st.lists(st.floats(1, 500), min_size=3, max_size=40), st.integers(1, 7), st.floats(0, 1))
def test_every_duration_has_a_level(durations: list[float], levels: int, overlap: float) -> None:
    ranges = compute_adaptive_ranges(durations=durations, num_levels=levels, overlap_ratio=overlap)
    assert len(ranges) == levels
    assert all(any(low <= d <= high for low, high in ranges) for d in durations)


def test_without_annotations_ranges_double() -> None:
    assert compute_adaptive_ranges(durations=[], num_levels=4) == [(0, 1), (1, 2), (2, 4), (4, 16)]


def test_a_file_is_read_in_steps(tmp_path: Path) -> None:
    rows = [
        {"segment": [1.0, 3.0], "label": "a"},
        {"segment": [4.0, 4.0], "label": "a"},
        {"segment": [0.0, 8.0], "label": "b"},
    ]
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"database": {"v": {"subset": "any", "annotations": rows}, "w": {}}}))
    options = {"num_levels": 2, "fps": 30.0, "feat_stride": 4}
    expected = compute_adaptive_ranges(durations=[15, 60], num_levels=2)
    assert compute_adaptive_ranges(file, **options) == expected
    suggested = suggest_config_ranges(file, [2, 2, 1], fps=30.0, feat_stride=4, open_end=True)
    assert suggested["model"]["regression_range"] == [expected[0], (expected[1][0], 10000)]


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(KinoscopeError, match=r"a\.json"):
        compute_adaptive_ranges(tmp_path / "a.json")
