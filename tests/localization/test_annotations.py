from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinoscope.errors import KinoscopeError
from kinoscope.localization.annotations import Annotations
from kinoscope.localization.check_features import Findings, look_over
from kinoscope.localization.evaluate import evaluate_files, read_truth
from kinoscope.localization.features import FeatureSource
from kinoscope.localization.settings import FeatureData, Model

GOOD: dict[str, Any] = {
    "version": "1",
    "database": {
        "a": {
            "subset": "Training",
            "duration": 20.0,
            "fps": 30,
            "annotations": [
                {"label": "Run", "label_id": 1, "segment": [1, 3.5]},
                {"label": "Jump", "label_id": 0, "segment": [4, 5]},
                {"label": "Jump", "label_id": 0, "segment": [4.0005, 5]},
            ],
        },
        "b": {"subset": "validation", "duration": 9, "fps": 25.0, "annotations": []},
        "c": {"subset": "validation"},
    },
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a JSON document is."""
    inner: list[tuple[Any, ...]] = []
    if isinstance(value, dict):
        inner = [found for key in value for found in places(value[key], (*path, key))]
    elif isinstance(value, list):
        inner = [found for k, part in enumerate(value) for found in places(part, (*path, k))]
    return [path, *inner]


def replaced(path: tuple[Any, ...], value: Any, good: Any = GOOD) -> Any:
    document = copy.deepcopy(good)
    if not path:
        return value
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return document


def test_reading(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(GOOD))
    read = Annotations.read(tmp_path / "a.json")
    assert read.label_names == ("Jump", "Run")
    assert read.ids(["TRAINING"]) == ["a"]
    assert read.ids(["validation", "test"]) == ["b", "c"]
    assert read.videos["a"].labels.tolist() == [1, 0, 0]
    assert len(read.videos["a"].without_repetitions().rows) == 2
    assert read.videos["c"].duration_s is None
    assert read.videos["b"].segments_s.shape == (0, 2)


WEIRD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2000),
    st.floats(),
    st.text(max_size=4),
    st.just([]),
    st.just({}),
    st.just([1]),
    st.just([[1, 2]]),
    st.just({"label": 3}),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("weird")
    for video in "abc":
        np.save(place / f"{video}.npy", np.zeros((50, 3), np.float32))
    return place


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(places(GOOD)), WEIRD)
def test_whatever_stands_in_a_file_is_read_or_refused(
    folder: Path, path: tuple[Any, ...], value: Any
) -> None:
    """One value of a good file replaced by another: it works, or there is one clear error; never a traceback."""
    file = folder / "annotations.json"
    file.write_text(json.dumps(replaced(path, value)))
    data = FeatureData(annotations=str(file), features=str(folder), num_classes=2, input_dim=3)
    with contextlib.suppress(KinoscopeError):
        read_truth(file, None)
    with contextlib.suppress(KinoscopeError):
        source = FeatureSource(data, Model())
        for k in range(len(source.train_ids)):
            source.training_item(k, np.random.default_rng(0))
        list(source.test_items(range(len(source.test_ids)), {}))
        source.test_truth()
        source.test_durations()
    found = Findings()
    look_over(data, found)


RESULTS: dict[str, Any] = {
    "results": {
        "a": [
            {"label": "Run", "segment": [1, 3], "score": 0.5},
            {"label": "no", "segment": [1, 3], "score": 0.4},
        ],
        "z": [],
    }
}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(places(RESULTS)), WEIRD)
def test_whatever_stands_in_a_results_file_is_read_or_refused(
    folder: Path, path: tuple[Any, ...], value: Any
) -> None:
    (folder / "good.json").write_text(json.dumps(GOOD))
    (folder / "results.json").write_text(json.dumps(replaced(path, value, RESULTS)))
    with contextlib.suppress(KinoscopeError):
        result = evaluate_files(folder / "results.json", folder / "good.json", "thumos14", "training")
        assert 0 <= result["average_mAP"] <= 1
