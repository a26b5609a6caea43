from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinoscope import builtin, cli
from kinoscope.localization.check import check, suggestion
from kinoscope.localization.settings import LocalizationSettings
from kinoscope.recipe import parse_override
from kinoscope.tasks import load_recipe

from .layouts import RECIPES, TINY, write_dataset

Change = Callable[[dict[str, Any]], Any]


def settings(folder: Path, *more: str, reader: str = "thumos") -> LocalizationSettings:
    loaded: LocalizationSettings = load_recipe(
        RECIPES[reader], [*TINY, *write_dataset(folder, reader), "model.backbone.n_mha_win_size=5", *more]
    )
    return loaded


def told(folder: Path, change: Change, *more: str, reader: str = "thumos") -> dict[str, list[str]]:
    chosen = settings(folder, *more, reader=reader)
    file = folder / "annotations.json"
    data = json.loads(file.read_text())
    change(data["database"])
    file.write_text(json.dumps(data))
    return check(chosen)


@pytest.mark.parametrize("reader", RECIPES)
def test_good_data_has_no_faults(reader: str, tmp_path: Path) -> None:
    found = check(settings(tmp_path, "data.max_seq_len=64", reader=reader))
    assert found["errors"] == []
    assert found["warnings"] == []
    assert len(found["advice"]) == 1


def segment(start: float, end: float, **more: Any) -> Change:
    row = {"label": "Run", "label_id": 1, "segment": [start, end]} | more
    return lambda database: database["video_0"]["annotations"].append(row)


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        (
            "errors",
            segment(3, 1),
            "Segments that end before they start, or are not finite (1): video_0 [3, 1]",
        ),
        ("errors", segment(1, 2, label_id=7), "Label ids lie outside 0..2: 7 (Run). Set data.num_classes=8"),
        ("errors", segment(1, 2, label_id=7), "A label has several numbers: Run (1, 7)"),
        ("errors", segment(1, 2, label_id=-1), "Label ids lie outside 0..2: -1"),
        ("errors", segment(1, 2, label_id=None), "Some annotations have a label_id and 1 have none"),
        ("errors", segment(1, 2, segment=[4]), "cannot be read as [start_s, end_s] (1): video_0 [4]"),
        ("warnings", segment(1, 99), "reach beyond the end of their video, being in frames"),
        ("warnings", segment(1, 1), "Segments that last no time"),
        ("warnings", segment(-1, 1), "Segments that start before the video (1)"),
        ("warnings", segment(1, 2, label_id=2), "A label_id has several names: 2 (Run, Sit)"),
        (
            "warnings",
            lambda d: d["video_6"]["annotations"].append({"label": "Fly", "label_id": 2, "segment": [0, 1]}),
            "labels unknown to the training videos: Fly",
        ),
        (
            "warnings",
            lambda d: [e["annotations"].pop(2) for e in d.values()],
            "the file annotates 2 classes",
        ),
        (
            "warnings",
            lambda d: [e.update(duration=2 * e["duration"]) for e in d.values()],
            "Frame rate and stride disagree with the durations",
        ),
        ("warnings", lambda d: d["video_2"].update(duration=30.0), "video_2 (22 %)"),
        ("warnings", lambda d: d["video_2"].pop("duration"), "Videos without a duration (1): video_2"),
        (
            "warnings",
            lambda d: d.update(video_x=d["video_0"]),
            "without features, which are left out (1 of 9): video_x",
        ),
        (
            "errors",
            lambda d: d["video_2"].pop("fps"),
            "Videos without a frame rate (1): video_2. Set data.default_fps",
        ),
        (
            "errors",
            lambda d: [e.update(subset="train") for e in d.values()],
            "There is no training video: no subset is called validation; the file has train",
        ),
        (
            "errors",
            lambda d: [e.update(annotations=[]) for e in d.values()],
            "Not one of the 5 training videos",
        ),
    ],
)
def test_faults_of_annotations(kind: str, change: Change, words: str, tmp_path: Path) -> None:
    found = told(tmp_path, change)
    assert any(words in sentence for sentence in found[kind]), found


def test_the_right_stride_is_named(tmp_path: Path) -> None:
    found = check(settings(tmp_path, "data.feat_stride=8", "data.max_seq_len=64"))
    (sentence,) = [s for s in found["warnings"] if "disagree" in s]
    assert "A stride of 4" in sentence


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), r"without features, which are left out \(1 of 8\): video_1"),
        (lambda path: path.write_bytes(b""), "video_1 is left out: .*zero bytes"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "video_1 is left out: .*damaged"),
        (lambda path: np.save(path, np.full((50, 8), np.nan, np.float32)), "video_1 is left out: .*NaN"),
        (lambda path: np.save(path, np.zeros((8, 50), np.float32)), "video_1 is left out: .*on its side"),
        (lambda path: np.save(path, np.zeros((50, 5), np.float32)), "video_1 is left out: .*8 channels"),
        (lambda path: np.save(path, np.zeros((20, 8), np.float32)), "Videos whose features end early"),
    ],
)
def test_faults_of_features(damage: Callable[[Path], Any], words: str, tmp_path: Path) -> None:
    chosen = settings(tmp_path, "data.max_seq_len=64")
    damage(tmp_path / "features0" / "video_1.npy")
    found = check(chosen)
    assert any(re.search(words, sentence) for sentence in found["warnings"]), found
    assert not found["errors"]


def test_faults_of_settings(tmp_path: Path) -> None:
    found = check(settings(tmp_path, "data.max_seq_len=60", "train.batch_size=6", "data.input_dim=9"))
    text = "\n".join(found["errors"])
    assert "set max_seq_len to 64" in text
    assert "data.input_dim=8" in text
    assert "batch" not in text  # there is no readable video to count
    found = check(settings(tmp_path / "b", "data.max_seq_len=64", "train.batch_size=6"))
    assert any("5 training videos for a batch of 6" in sentence for sentence in found["errors"])
    found = check(settings(tmp_path / "c", "data.max_seq_len=8"))
    assert any("are longer than the 8 steps" in sentence for sentence in found["warnings"])


def test_classes_of_a_video_classifier(tmp_path: Path) -> None:
    scores = tmp_path / "scores.json"
    chosen = settings(tmp_path, reader="anet")
    table = json.loads(scores.read_text())
    del table["results"]["video_7"]
    scores.write_text(json.dumps(table))
    assert any(
        "Test videos without scores in scores.json (1): video_7" in sentence
        for sentence in check(chosen)["warnings"]
    )
    scores.unlink()
    assert any("scores" in sentence for sentence in check(chosen)["errors"])
    without = settings(tmp_path / "b", "decode.ext_score_file=null", reader="anet")
    assert any("no video classifier" in sentence for sentence in check(without)["warnings"])


def test_suggested_settings_build_a_model_that_fits(tmp_path: Path, capsys: Any) -> None:
    chosen = settings(tmp_path)
    for spans in ([5.0, 9, 30], [2.0], [300.0, 900, 2000], list(range(10, 400, 7))):
        sentence = suggestion(chosen, np.array([100.0, 700]), np.array(spans))
        text = sentence.split("settings that follow from this: ")[1].replace('"', "")
        parts = text.split(" model.")
        overrides = [parts[0], *("model." + part for part in parts[1:])]
        assert all(parse_override(override) for override in overrides)
        fitted: LocalizationSettings = load_recipe(
            RECIPES["thumos"], [*TINY, *write_dataset(tmp_path, "thumos"), *overrides]
        )
        ranges = fitted.model.regression_range
        assert ranges[0][0] <= min(spans) / 2
        assert ranges[-1][1] >= 10000
        assert not [e for e in check(fitted)["errors"] if "max_seq_len" in e]


def test_short_clips_need_few_levels(tmp_path: Path) -> None:
    """15 s clips at stride 4: the authors' own advice is 128 steps and two levels."""
    sentence = suggestion(settings(tmp_path), np.array([112.0]), np.array([8.0, 15, 16]))
    assert "model.backbone.arch=[1, 1, 1]" in sentence


def test_streams_are_checked_too(tmp_path: Path) -> None:
    recipe = "localization/actionformer_streams"
    found = check(load_recipe(recipe))
    assert found["errors"] == found["warnings"] == []
    assert "regression_range" in found["advice"][0]
    whole = dict(np.load(builtin.path("precog16")))
    offset = whole["offset"]
    joints = whole["joints"].copy()
    joints[offset[0] : offset[1]] = 0
    np.savez(tmp_path / "still.npz", **{**whole, "joints": joints})
    found = check(load_recipe(recipe, [f"data.train={tmp_path}/still.npz"]))
    assert any("is left out" in sentence for sentence in found["warnings"])
    assert check(load_recipe(recipe, ["data.train=nothing.npz"]))["errors"]


def test_the_command_fails_where_there_are_errors(tmp_path: Path, capsys: Any) -> None:
    chosen = [*TINY, *write_dataset(tmp_path, "thumos"), "data.max_seq_len=64"]
    assert cli.main(["check", RECIPES["thumos"], *chosen]) == 0
    assert "advice: Actions last" in capsys.readouterr().out
    assert cli.main(["check", RECIPES["thumos"], *chosen, "data.num_classes=2"]) == 1
    out, err = capsys.readouterr()
    assert "error" in out
    assert "1 fault must be mended" in err
