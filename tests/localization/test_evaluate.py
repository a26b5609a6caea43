from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinoscope.errors import KinoscopeError
from kinoscope.localization.evaluate import (
    confusion,
    error_breakdown,
    evaluate_events,
    evaluate_files,
    read_truth,
)
from kinoscope.timeline import Events

NAMES = ("run", "jump")


def truth() -> Events:
    return Events.concat(
        [Events.of("a", [[0, 10], [20, 30]], [0, 1], None, NAMES), Events.of("b", [[5, 9]], [1], None, NAMES)]
    )


def files(folder: Path, annotations: Any, results: Any) -> tuple[Path, Path]:
    for name, value in {"truth.json": annotations, "results.json": results}.items():
        (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
    return folder / "results.json", folder / "truth.json"


ANNOTATIONS = {
    "database": {
        "v_a": {
            "subset": "validation",
            "duration": 40,
            "annotations": [{"label": "run", "segment": [0, 10]}],
        },
        "v_b": {"subset": "validation", "duration": 40, "annotations": []},
        "v_c": {"subset": "training", "duration": 40, "annotations": [{"label": "jump", "segment": [1, 2]}]},
    }
}
RESULTS = {"results": {"a": [{"label": "run", "segment": [0, 9.9], "score": 0.9}], "b": []}}


def test_the_truth_itself_is_perfect() -> None:
    result = evaluate_events(truth(), truth(), "thumos14", details=True)
    assert result["average_mAP"] == 1
    assert result["errors"] == {"right": 3, "localisation": 0, "confusion": 0, "background": 0, "missed": 0}


def test_no_predictions_are_worth_nothing() -> None:
    assert evaluate_events(Events.empty(NAMES), truth(), "activitynet")["average_mAP"] == 0


def test_a_label_that_the_truth_lacks_counts_for_the_class_of_that_number_unless_dropped() -> None:
    only = Events.of("a", [[0, 10]], [1], None, NAMES)
    found = Events.of("a", [[0, 10]], [0], [0.9], NAMES)
    assert evaluate_events(found, only, "thumos14")["average_mAP"] == 1
    assert evaluate_events(found, only, "thumos14", drop_unknown=True)["average_mAP"] == 0


def test_errors_are_told_apart() -> None:
    found = Events.concat(
        [
            Events.of("a", [[0, 4], [20, 30]], [0, 0], [0.9, 0.8], NAMES),
            Events.of("b", [[20, 30]], [1], [0.5], NAMES),
        ]
    )
    expected = {"right": 0, "localisation": 1, "confusion": 1, "background": 1, "missed": 3}
    assert error_breakdown(found, truth()) == expected


def test_a_confusion_counts_every_ground_truth_once() -> None:
    found = Events.concat(
        [
            Events.of("a", [[0, 10], [50, 60], [20, 30]], [1, 0, 0], [0.9, 0.8, 0.7], NAMES),
            Events.of("b", [[20, 30]], [1], [0.5], NAMES),
        ]
    )
    run, jump, nothing = confusion(found, truth()).tolist()
    assert run == [0, 1, 0]
    assert jump == [0, 0, 2]  # one lies beyond the best two of video a, the other is found elsewhere
    assert nothing == [1, 1, 0]


def test_files_of_another_project_with_a_prefix_on_one_side(tmp_path: Path) -> None:
    result = evaluate_files(*files(tmp_path, ANNOTATIONS, RESULTS), "activitynet")
    assert result["average_mAP"] == 1
    assert result["videos_without_predictions"] == 0


def test_repeated_and_empty_annotations_do_not_count(tmp_path: Path) -> None:
    rows = [{"label": "run", "segment": s} for s in ([0, 10], [0.0005, 10], [3, 3.0001])]
    _, path = files(tmp_path, {"database": {"a": {"subset": "x", "annotations": rows}}}, RESULTS)
    assert len(read_truth(path, None)) == 1


@pytest.mark.parametrize(
    ("annotations", "results", "message"),
    [
        ("{", RESULTS, "no valid JSON"),
        ({"database": []}, RESULTS, "no annotation file"),
        ({"database": {"a": {"annotations": [{"label": "x", "segment": [1]}]}}}, RESULTS, "cannot be read"),
        ({"database": {"a": {"annotations": [{"label": "x", "segment": [2, 1]}]}}}, RESULTS, "reversed"),
        ({"database": {"a": {"subset": "train", "annotations": []}}}, RESULTS, "no video of that subset"),
        ({"database": {"a": {"subset": "validation", "annotations": []}}}, RESULTS, "no ground truth"),
        (ANNOTATIONS, {"results": {"a": [{"label": "run"}]}}, "cannot be read"),
        (ANNOTATIONS, [], "no file of predictions"),
    ],
)
def test_bad_files_are_told(tmp_path: Path, annotations: Any, results: Any, message: str) -> None:
    with pytest.raises(KinoscopeError, match=message):
        evaluate_files(*files(tmp_path, annotations, results), "activitynet")


def test_recall_needs_the_best_k_times_n(tmp_path: Path) -> None:
    found = Events.of("b", [[0, 1], [5, 9]], [1, 1], [0.9, 0.5], NAMES)
    only = Events.of("b", [[5, 9]], [1], None, NAMES)
    result = evaluate_events(found, only, "ego4d")
    assert result["Recall@1x"]["0.5"] == 0
    assert result["Recall@5x"]["0.5"] == 1
    assert np.isclose(result["average_mAP"], 0.5)
