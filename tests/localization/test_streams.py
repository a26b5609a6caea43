from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kinoscope import builtin, cli, load
from kinoscope.engine.folder import train_stages
from kinoscope.errors import KinoscopeError
from kinoscope.localization.settings import LocalizationSettings, StreamsData
from kinoscope.localization.stages import stages
from kinoscope.localization.streams import StreamSource, warped
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.recipe import to_yaml
from kinoscope.tasks import load_recipe

SMALL = [
    "model.backbone={kind: conv_transformer, arch: [1, 1, 2], embd_dim: 16, n_head: 2, n_mha_win_size: 5}",
    "model.neck.fpn_dim=16",
    "model.head.head_dim=16",
    "model.regression_range=[[0, 8], [8, 32], [32, 10000]]",
    "train.epochs=1",
    "train.schedule.warmup_epochs=1",
]


def settings(*overrides: str) -> LocalizationSettings:
    loaded: LocalizationSettings = load_recipe("localization/actionformer_streams", [*SMALL, *overrides])
    return loaded


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, trained for two epochs."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    chosen = settings("data.test_subjects=[p07]")
    train_stages(stages(chosen), folder, to_yaml(chosen), resume=False, quiet=True)
    return folder


def test_settings_fit_the_data_by_themselves() -> None:
    source = StreamSource(StreamsData(), load_recipe("localization/actionformer_streams").model)
    assert source.input_dim == 123
    assert source.num_classes == 8
    assert source.max_seq_len == 576
    assert not set(source.train_ids) & set(source.test_ids)


def test_steps_and_seconds_agree() -> None:
    source = StreamSource(StreamsData(), settings().model)
    item = next(iter(source.test_items([0], {})))
    own = source.test_truth()
    own = own[own.source == item.video_id]
    np.testing.assert_allclose((item.segments[:, 0].numpy() + 0.5) / item.fps, own.start_s, atol=1e-4)


def test_a_stream_without_motion_costs_only_itself(tmp_path: Path) -> None:
    whole = SkeletonFile.load(builtin.path("precog16"))
    joints = whole.joints.copy()
    joints[whole.offset[0] : whole.offset[1]] = 0
    arrays = dict(np.load(builtin.path("precog16")))
    np.savez(tmp_path / "still.npz", **{**arrays, "joints": joints})
    source = StreamSource(StreamsData(train=str(tmp_path / "still.npz")), settings().model)
    assert list(source.skipped) == [whole.names[0]]
    assert whole.names[0] not in source.train_ids


def test_a_run_leaves_predictions_truth_and_evaluation(run: Path) -> None:
    result = json.loads((run / "evaluation.json").read_text())
    assert set(result["mAP"]) == {"0.3", "0.4", "0.5", "0.6", "0.7"}
    assert len(json.loads((run / "annotations.json").read_text())["videos"]) == 6
    assert json.loads((run / "predictions.json").read_text())["events"]


def test_evaluate_gives_the_number_of_training_again(run: Path, tmp_path: Path) -> None:
    kept = json.loads((run / "evaluation.json").read_text())["average_mAP"]
    assert load(run).evaluate(tmp_path)["average_mAP"] == pytest.approx(kept, abs=1e-6)


def test_predict_from_the_command_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(builtin.path("precog16"))
    assert cli.main(["predict", str(run), path, "--all", "--json"]) == 0
    everything = json.loads(capsys.readouterr().out)
    assert len(everything["events"]) == 48
    for kind in ("csv", "vtt", "activitynet"):
        assert cli.main(["predict", str(run), path, "--all", "--format", kind]) == 0
        assert len(capsys.readouterr().out) > 1000


def test_predict_refuses_other_joints(run: Path) -> None:
    with pytest.raises(KinoscopeError, match="other joints"):
        load(run).predict(builtin.path("hdm05_11"))


def test_weights_can_be_saved_and_loaded(run: Path, tmp_path: Path) -> None:
    load(run).save(tmp_path / "weights")
    one, other = load(run), load(tmp_path / "weights")
    path = builtin.path("precog16")
    assert np.array_equal(
        one.predict(path, everything=True).score, other.predict(path, everything=True).score
    )


def test_one_bad_file_costs_that_file(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK")
    assert (
        cli.main(["predict", str(run), str(tmp_path / "bad.npz"), str(builtin.path("precog16")), "--json"])
        == 0
    )
    assert list(json.loads(capsys.readouterr().out)["skipped"]) == [str(tmp_path / "bad.npz")]
    assert cli.main(["predict", str(run), str(tmp_path / "bad.npz")]) == 1


@pytest.mark.parametrize("kind", ["snapformer", "tbtformer"])
def test_the_other_models_train_on_streams(kind: str, tmp_path: Path) -> None:
    chosen = settings(f"model.kind={kind}", "train.epochs=0.2", "train.schedule.warmup_epochs=0")
    result = train_stages(stages(chosen), tmp_path / "run", to_yaml(chosen), resume=False, quiet=True)
    assert np.isfinite(result["average_mAP"])


def test_warping_keeps_events_on_their_frames() -> None:
    """A channel that is 1 inside the first event stays 1 between the event's new bounds."""
    source = StreamSource(StreamsData(), settings().model)
    item = next(iter(source.test_items([0], {})))
    mark = torch.zeros(1, item.feats.shape[1])
    first, last = (round(x + 0.5) for x in item.segments[0].tolist())
    mark[:, first:last] = 1
    for seed in range(5):
        played = warped(replace(item, feats=mark), 0.4, np.random.default_rng(seed))
        start, end = played.segments[0].tolist()
        inside = np.flatnonzero(played.feats[0].numpy() > 0.5)
        assert abs(inside[0] - (start + 0.5)) <= 1
        assert abs(inside[-1] - (end - 0.5)) <= 1
    assert warped(item, 0.0, np.random.default_rng(0)) is item


def test_another_body_is_the_same_motion_larger_and_turned() -> None:
    source = StreamSource(StreamsData(scale=0.2, turn_deg=30), settings().model)
    plain = StreamSource(StreamsData(), settings().model)
    first, second = (source.training_item(3, np.random.default_rng(seed)) for seed in (0, 1))
    same = plain.training_item(3, np.random.default_rng(0))
    assert not torch.allclose(first.feats, second.feats)
    assert torch.equal(first.segments, same.segments)
    lengths = []
    for item in (first, same):
        points = source.standardise.undo(item.feats.numpy().T).reshape(item.feats.shape[1], -1, 3)
        lengths.append(np.linalg.norm(points, axis=-1))
    ratio = lengths[0][lengths[1] > 0.1] / lengths[1][lengths[1] > 0.1]
    assert 1 / 1.2 <= ratio.min() <= ratio.max() <= 1.2
    assert np.ptp(ratio) < 1e-3
