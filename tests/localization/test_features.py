from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from kinoscope import cli, load
from kinoscope.errors import KinoscopeError
from kinoscope.localization import features
from kinoscope.localization.features import FeatureSource
from kinoscope.localization.items import piece
from kinoscope.localization.settings import FeatureData, LocalizationSettings
from kinoscope.media.store import StoreWriter
from kinoscope.tasks import load_recipe
from kinoscope.timeline import Events, TimeAxis

from .layouts import NAMES, RECIPES, TINY, write_dataset


def settings(folder: Path, reader: str, *more: str) -> LocalizationSettings:
    chosen = [*TINY, *write_dataset(folder, reader), *more]
    loaded: LocalizationSettings = load_recipe(RECIPES[reader], chosen)
    return loaded


def source(folder: Path, reader: str, *more: str) -> FeatureSource:
    chosen = settings(folder, reader, *more)
    assert isinstance(chosen.data, FeatureData)
    return FeatureSource(chosen.data, chosen.model)


def edit(folder: Path, change: Any) -> None:
    file = folder / "annotations.json"
    data = json.loads(file.read_text())
    change(data["database"])
    file.write_text(json.dumps(data))


@pytest.mark.parametrize("reader", RECIPES)
def test_training_evaluation_and_prediction(reader: str, tmp_path: Path, capsys: Any) -> None:
    chosen = [*TINY, *write_dataset(tmp_path, reader)]
    run = tmp_path / "run"
    assert cli.main(["train", RECIPES[reader], *chosen, "--output", str(run), "--quiet", "--json"]) == 0
    final = json.loads(capsys.readouterr().out)
    assert np.isfinite(final["average_mAP"])
    truth = json.loads((run / "annotations.json").read_text())
    assert list(truth["videos"]) == ["video_5", "video_6", "video_7"]
    assert truth["label_names"] == list(NAMES)
    events = Events.from_json(json.loads((run / "predictions.json").read_text()))
    assert len(events)

    model = load(run)
    assert model.evaluate(tmp_path / "again")["average_mAP"] == pytest.approx(final["average_mAP"], abs=1e-6)
    file = next(path for path in (tmp_path / "features0").iterdir() if "video_6" in path.name)
    assert cli.main(["predict", str(run), str(file), "--all", "--json"]) == 0
    alone = Events.from_json(json.loads(capsys.readouterr().out))
    assert set(alone.source) == {"video_6"}
    if reader != "anet":  # there the length of a video counts, which a file alone does not tell
        same = events[events.source == "video_6"]
        np.testing.assert_allclose(alone.score, same.score, rtol=1e-4)
        end = truth["videos"]["video_6"]["duration_s"]  # of the video; a file alone tells its last feature's
        np.testing.assert_allclose(np.minimum(alone.start_s, end), same.start_s, atol=1e-3)


def test_published_data_settings_hold(tmp_path: Path) -> None:
    for name in ("thumos", "anet", "epic", "ego4d"):
        recipe = load_recipe(RECIPES[name])
        assert recipe.data.reader == name


def test_a_crop_is_the_window_of_the_whole(tmp_path: Path) -> None:
    data = source(tmp_path, "thumos")
    whole = data.item("video_3")
    item = data.training_item(3, np.random.default_rng(1))
    assert item.feats.shape[1] <= 32
    start = next(
        k for k in range(whole.feats.shape[1]) if np.array_equal(whole.feats[:, k], item.feats[:, 0])
    )
    end = start + item.feats.shape[1]
    assert np.array_equal(whole.feats[:, start:end], item.feats)
    assert len(item.segments)
    inside = {(float(a), float(b)) for a, b in whole.segments - start}
    for left, right in item.segments.tolist():
        assert any(left >= a - 1e-4 and right <= b + 1e-4 for a, b in inside)


def test_samples_depend_on_the_generator_alone(tmp_path: Path) -> None:
    data = source(tmp_path, "thumos")
    one, other = (data.training_item(2, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.feats, other.feats)


def test_activitynet_stretches_to_one_length(tmp_path: Path) -> None:
    data = source(tmp_path, "anet")
    item = data.item("video_7")
    assert item.feats.shape == (8, 32)
    assert item.feat_stride == pytest.approx((60 * 16 + 16) / 32)
    entry = data.annotations.videos["video_7"]
    seconds = (item.segments * item.feat_stride + 0.5 * item.feat_num_frames) / item.fps
    np.testing.assert_allclose(seconds, entry.segments_s, rtol=1e-4)


def test_features_of_fixed_length_follow_the_duration(tmp_path: Path) -> None:
    data = source(
        tmp_path, "anet", "data.feat_stride=-1", "data.force_upsampling=false", "data.max_seq_len=80"
    )
    item = data.item("video_0")
    assert item.feats.shape[1] == 40
    assert item.feat_stride * 40 == pytest.approx(item.duration * item.fps)
    short = source(tmp_path, "anet", "data.feat_stride=-1", "data.force_upsampling=false")
    skipped: dict[str, str] = {}
    assert list(short.test_items(range(3), skipped)) == []
    assert "max_seq_len" in skipped["video_5"]


def test_actions_beyond_the_features_are_cut_in_training(tmp_path: Path) -> None:
    data = source(tmp_path, "anet", "data.crop_ratio=null")

    def late(database: Any) -> None:
        duration = database["video_0"]["duration"]
        rows = [[0, duration], [0.9 * duration, 4 * duration], [9 * duration, 10 * duration]]
        database["video_0"]["annotations"] = [{"label": "Run", "label_id": 1, "segment": row} for row in rows]

    edit(tmp_path, late)
    data = FeatureSource(data.data, settings(tmp_path / "other", "anet").model)
    assert len(data.item("video_0").segments) == 3
    item = data.training_item(0, np.random.default_rng(0))
    assert len(item.segments) == 1
    edit(tmp_path, lambda database: database["video_0"]["annotations"].pop(0))
    data = FeatureSource(data.data, settings(tmp_path / "other", "anet").model)
    assert data.training_item(0, np.random.default_rng(0)).segments.shape == (0, 2)


def test_a_video_without_annotations_is_background(tmp_path: Path) -> None:
    data = source(tmp_path, "thumos")

    def change(database: Any) -> None:
        database["video_0"]["annotations"] = []
        del database["video_1"]["annotations"]

    edit(tmp_path, change)
    data = FeatureSource(data.data, settings(tmp_path / "other", "thumos").model)
    for index in (0, 1):
        item = data.training_item(index, np.random.default_rng(0))
        assert item.segments.shape == (0, 2)
        assert item.feats.shape[1] <= 32


def test_classes_without_annotation_are_known(tmp_path: Path) -> None:
    data = source(tmp_path, "epic", "data.num_classes=5")
    assert data.empty_label_ids == (3, 4)
    assert data.label_names == (*NAMES, "3", "4")


def test_labels_need_no_numbers(tmp_path: Path) -> None:
    data = source(tmp_path, "thumos")

    def change(database: Any) -> None:
        for entry in database.values():
            for row in entry["annotations"]:
                del row["label_id"]

    edit(tmp_path, change)
    data = FeatureSource(data.data, settings(tmp_path / "other", "thumos").model)
    assert data.label_names == NAMES
    assert data.item("video_0").labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "no feature file"),
        (lambda path: path.write_bytes(b""), "zero bytes"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "damaged"),
        (lambda path: np.save(path, np.full((50, 8), np.nan, np.float32)), "NaN"),
        (lambda path: np.save(path, np.zeros((8, 50), np.float32)), "on its side"),
        (lambda path: np.save(path, np.zeros((50, 5), np.float32)), "8 channels"),
    ],
)
def test_a_bad_feature_file_costs_its_video(damage: Any, words: str, tmp_path: Path, capsys: Any) -> None:
    chosen = [*TINY, *write_dataset(tmp_path, "thumos"), "train.batch_size=1"]
    for video in ("video_1", "video_6"):
        damage(tmp_path / "features0" / f"{video}.npy")
    run = tmp_path / "run"
    assert cli.main(["train", RECIPES["thumos"], *chosen, "--output", str(run), "--quiet"]) == 0
    listed = {
        row["video"]: row["why"] for row in json.loads((run / "evaluation.json").read_text())["skipped"]
    }
    for video in ("video_1", "video_6"):
        why = next(why for name, why in listed.items() if video in name)
        assert words in why
    events = Events.from_json(json.loads((run / "predictions.json").read_text()))
    assert set(events.source) == {"video_5", "video_7"}


def test_no_features_at_all_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match=r"not one video.*no feature file .*/nowhere/"):
        source(tmp_path, "thumos", f"data.features={tmp_path}/nowhere")
    with pytest.raises(KinoscopeError, match=r"not one video.*test.*validation"):
        source(tmp_path, "thumos", "data.train_subsets=[train]", "data.test_subsets=[val]")


def test_label_ids_out_of_range_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match=r"outside 0\.\.1.*\[2\].*data.num_classes=3"):
        source(tmp_path, "thumos", "data.num_classes=2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no valid JSON"),
        ("[]", "no annotation file"),
        ('{"database": {"v": {"subset": "test", "duration": -1}}}', "duration"),
        ('{"database": {"v": {"subset": "test", "annotations": [{"label": "a"}]}}}', "cannot be read"),
        (
            '{"database": {"v": {"subset": "test", "annotations": [{"label": "a", "segment": [2, 1]}]}}}',
            "reversed",
        ),
    ],
)
def test_bad_annotation_files(text: str, words: str, tmp_path: Path) -> None:
    data = source(tmp_path, "thumos").data
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(KinoscopeError, match=words):
        FeatureSource(data, settings(tmp_path / "other", "thumos").model)


def test_a_video_without_scores_costs_its_video(tmp_path: Path) -> None:
    chosen = [*TINY, *write_dataset(tmp_path, "anet")]
    scores = json.loads((tmp_path / "scores.json").read_text())
    del scores["results"]["video_6"]
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    run = tmp_path / "run"
    assert cli.main(["train", RECIPES["anet"], *chosen, "--output", str(run), "--quiet"]) == 0
    listed = json.loads((run / "evaluation.json").read_text())["skipped"]
    assert [row["video"] for row in listed] == ["video_6"]


def test_a_missing_score_file_is_told_before_training(tmp_path: Path) -> None:
    chosen = [*TINY, *write_dataset(tmp_path, "anet"), "decode.ext_score_file=nowhere.json"]
    assert cli.main(["train", RECIPES["anet"], *chosen, "--output", str(tmp_path / "run")]) == 1
    assert not (tmp_path / "run" / "weights").exists()


def test_test_videos_without_labels_are_predicted(tmp_path: Path) -> None:
    chosen = [*TINY, *write_dataset(tmp_path, "thumos")]
    edit(
        tmp_path, lambda database: [e.pop("annotations") for e in database.values() if e["subset"] == "test"]
    )
    run = tmp_path / "run"
    assert cli.main(["train", RECIPES["thumos"], *chosen, "--output", str(run), "--quiet"]) == 0
    events = Events.from_json(json.loads((run / "predictions.json").read_text()))
    assert set(events.source) == {"video_5", "video_6", "video_7"}
    assert cli.main(["report", str(run)]) == 0
    without = [*chosen, "data.test_subsets=[]"]
    assert cli.main(["train", RECIPES["thumos"], *without, "--output", str(tmp_path / "b"), "--quiet"]) == 0


def packed(folder: Path, place: Path, stride: float = 4) -> None:
    """The npy files of a folder as a feature store."""
    with StoreWriter(place, {"name": "noise"}, 8) as writer:
        for file in sorted(folder.glob("*.npy")):
            writer.add(file.stem, [np.load(file)], TimeAxis(30.0, stride, 16))


def test_an_hdf5_file_or_a_store_gives_what_the_folder_gives(tmp_path: Path, capsys: Any) -> None:
    chosen = [*TINY, *write_dataset(tmp_path, "thumos")]
    packed(tmp_path / "features0", tmp_path / "store")
    with h5py.File(tmp_path / "all.hdf5", "w") as file:
        for path in (tmp_path / "features0").iterdir():
            file[path.stem] = np.load(path)
    found = []
    for name in ("features0", "store", "all.hdf5"):
        run, more = tmp_path / f"run_{name}", f"data.features={tmp_path / name}"
        assert cli.main(["train", RECIPES["thumos"], *chosen, more, "--output", str(run), "--quiet"]) == 0
        found.append((run / "predictions.json").read_bytes())
    assert found[0] == found[1] == found[2]
    alone = load(tmp_path / "run_store").predict(tmp_path / "store", everything=True)
    same = load(tmp_path / "run_all.hdf5").predict(tmp_path / "all.hdf5", everything=True)
    assert len(set(alone.source)) == 8
    assert np.array_equal(alone.score, same.score)


def test_features_on_another_axis_are_refused(tmp_path: Path) -> None:
    chosen = [*TINY, *write_dataset(tmp_path, "thumos")]
    run = tmp_path / "run"
    assert cli.main(["train", RECIPES["thumos"], *chosen, "--output", str(run), "--quiet"]) == 0
    with pytest.raises(KinoscopeError, match=r"trained on .*'stride_frames': 4.*'stride_frames': 8"):
        load(run, overrides=("data.feat_stride=8",)).evaluate(tmp_path / "other")
    packed(tmp_path / "features0", tmp_path / "store", stride=8)
    with pytest.raises(KinoscopeError, match=r"stride_frames=4.*stride_frames=8"):
        load(run).predict(tmp_path / "store")


def test_features_of_another_encoder_are_refused(tmp_path: Path) -> None:
    chosen = [*TINY, *write_dataset(tmp_path, "thumos"), f"data.features={tmp_path}/store"]
    packed(tmp_path / "features0", tmp_path / "store")
    run = tmp_path / "run"
    assert cli.main(["train", RECIPES["thumos"], *chosen, "--output", str(run), "--quiet"]) == 0
    with StoreWriter(tmp_path / "b", {"name": "other"}, 8) as writer:
        writer.add("video_7", [np.zeros((40, 8), np.float32)], TimeAxis(30.0, 4, 16))
    with pytest.raises(KinoscopeError, match=r"trained on features of .*noise.*other"):
        load(run).predict(tmp_path / "b")


def test_one_bad_feature_file_costs_that_file(tmp_path: Path, capsys: Any) -> None:
    chosen = [*TINY, *write_dataset(tmp_path, "thumos")]
    run = tmp_path / "run"
    assert cli.main(["train", RECIPES["thumos"], *chosen, "--output", str(run), "--quiet"]) == 0
    good, bad = (tmp_path / "features0" / f"video_{k}.npy" for k in (5, 6))
    np.save(bad, np.load(bad).T)
    capsys.readouterr()
    assert cli.main(["predict", str(run), str(bad), str(good), "--all", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert "on its side" in answer["skipped"][str(bad)]
    assert list(answer["events"]) == ["video_5"]


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    chosen = [*TINY, *write_dataset(tmp_path, "thumos")]
    (tmp_path / "features0" / "video_2.npy").write_bytes(b"bad")
    found = []
    for workers in (0, 2):
        run, more = tmp_path / f"run{workers}", f"train.workers={workers}"
        assert cli.main(["train", RECIPES["thumos"], *chosen, more, "--output", str(run), "--quiet"]) == 0
        found.append((run / "predictions.json").read_bytes())
    assert found[0] == found[1]


def test_two_processes_name_every_bad_video(tmp_path: Path) -> None:
    chosen = [*TINY, *write_dataset(tmp_path, "thumos"), "--output", str(tmp_path / "run"), "--quiet"]
    for video in (5, 6):
        (tmp_path / "features0" / f"video_{video}.npy").write_bytes(b"bad")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "kinoscope", "train", RECIPES["thumos"], *chosen]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    listed = json.loads((tmp_path / "run" / "evaluation.json").read_text())["skipped"]
    assert [row["video"] for row in listed] == ["video_5", "video_6"]


@pytest.mark.parametrize("packed", [np.savez, np.savez_compressed])
def test_long_files_are_read_piece_by_piece(tmp_path, monkeypatch, packed):
    monkeypatch.setattr(features, "LONG", 20)
    rows = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    file = tmp_path / "day.npz"
    packed(file, feats=rows)
    data = FeatureData(reader="epic", feat_stride=16, num_frames=32, default_fps=30, input_dim=4)
    (whole,) = features.file_items(file, data, 30.0)
    (item,) = features.file_items(file, data, 30.0, on_demand=True)
    assert (item.read is not None) == (packed is np.savez)
    for start, stop in ((0, 50), (7, 31), (40, 64)):
        assert torch.equal(piece(item, start, stop), whole.feats[:, start:stop])
    rows[33, 2] = np.nan
    packed(file, feats=rows)
    with pytest.raises(KinoscopeError, match="rows hold NaN"):
        list(features.file_items(file, data, 30.0, on_demand=True))
