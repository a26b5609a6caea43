"""Skeleton streams end to end: nothing of the future is seen, training gives figures, models answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as searched
from hypothesis import strategies as st

from kinoscope import builtin, cli, load
from kinoscope.anticipation.settings import AnticipationSettings, StreamsData
from kinoscope.anticipation.stages import Batch, stages
from kinoscope.anticipation.streams import StreamSource, by_time, faster, first_step, last_frame, window
from kinoscope.engine.folder import train_stages
from kinoscope.errors import KinoscopeError
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.recipe import to_yaml
from kinoscope.report import write
from kinoscope.tasks import load_recipe

RECIPE = "anticipation/sgear_streams"
SMALL = [
    "data.test_subjects=[p07]",
    "model.intermediate_featdim=64",
    "model.inter_dim=32",
    "model.n_layer=1",
    "train.epochs=1",
    "train.schedule.warmup_epochs=1",
]
DATA = StreamsData(test_subjects=("p07",), mix=0.5, warp=0.3, noise=0.1, turn=0.2, resize=0.1)


@pytest.fixture(scope="module")
def source() -> StreamSource:
    return StreamSource(DATA)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, trained for two epochs."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    chosen: AnticipationSettings = load_recipe(RECIPE, SMALL)
    train_stages(stages(chosen), folder, to_yaml(chosen), resume=False, quiet=True)
    return folder


# -- nothing of the future ------------------------------------------------------------------------------------


def test_every_sample_ends_tau_a_before_its_action(source: StreamSource) -> None:
    tau = DATA.tau_a
    samples = [source.test_sample(k) for k in range(len(source.test_rows))]
    samples += [source.training_sample(k, np.random.default_rng(k)) for k in range(len(source.rows))]
    assert all(sample.last_s <= sample.start_s - tau + 1e-6 for sample in samples)
    assert max(sample.start_s - sample.last_s for sample in samples[: len(source.test_rows)]) < 1.6


def test_the_future_changes_no_window(source: StreamSource) -> None:
    for row in range(0, len(source.test_rows), 7):
        which = source.test_rows[row][0]
        sample, motion = source.test_sample(row), source.test[which]
        if sample.last_s < 0:
            continue
        last = round(sample.last_s * motion.fps)
        joints = motion.joints.copy()
        joints[last + 1 :] = np.random.default_rng(0).standard_normal(joints[last + 1 :].shape) * 100
        segments = motion.segments.copy()
        other = replace(motion, joints=joints, segments=segments)
        again = source.reader.at(other, source.up_axis, sample.start_s - DATA.tau_a, 0, sample.start_s, 0.0)
        np.testing.assert_array_equal(again.features, sample.features)
        joints[last] += 0.5 * np.arange(joints.shape[1])[:, None]  # the last observed frame does count
        seen = source.reader.at(other, source.up_axis, sample.start_s - DATA.tau_a, 0, sample.start_s, 0.0)
        assert np.abs(seen.features - sample.features).max() > 0.01


def test_the_future_changes_no_earlier_answer(run: Path, tmp_path: Path) -> None:
    file = SkeletonFile.load("builtin:precog16").take([0, 7])
    cut = int(4.0 * file.fps)
    joints = np.array(file.joints)
    for start, end in ((0, int(file.offset[1])), (int(file.offset[1]), len(joints))):
        joints[start + cut + 1 : end] = joints[start : start + 1]
    whole, changed = tmp_path / "a.npz", tmp_path / "b.npz"
    file.save(whole)
    replace(file, joints=joints).save(changed)
    model = load(run)
    times = [1.0, 2.5, 4.0, 6.0]
    first, second = (model.predict(path, at=times) for path in (whole, changed))
    early = first.time_s <= 4.0
    np.testing.assert_array_equal(first.label[early], second.label[early])
    np.testing.assert_allclose(first.probability[early], second.probability[early], atol=1e-6)
    assert np.abs(first.probability[~early] - second.probability[~early]).max() > 1e-4


# -- windows --------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.floats(5, 240))
def test_last_frame_is_the_last_one_in_time(number: int, fps: float) -> None:
    assert last_frame(number / fps, fps) == number
    assert last_frame((number + 0.5) / fps, fps) == number


def test_steps_are_means_counted_from_the_start(source: StreamSource) -> None:
    track = source.tracks[0]
    features, current, _, begins = window(track, 100, replace_data(frame_rate=5.0, tau_o=4.0))
    assert begins
    assert len(features) == len(current) == 17
    np.testing.assert_allclose(features[0], track.features[:6].mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features[-1], track.features[96:101].mean(axis=0), rtol=1e-4, atol=1e-5)
    for step, label in enumerate(current):
        middle = (6 * step + min(6 * step + 6, 101) - 1) // 2
        on = [int(s[2]) for s in track.segments if s[0] <= middle < s[1]]
        assert label == (on[0] if on else -1)


@given(st.integers(1, 500), st.integers(2, 60))
def test_long_windows_start_where_half_a_window_remains(steps: int, most: int) -> None:
    begin = first_step(steps, most)
    assert begin == 0 or begin % (most // 2) == 0
    assert begin <= max(steps - 1, 0)
    assert steps - begin <= most or begin == steps - 1
    assert steps <= most or steps - begin > most - most // 2 - (most // 2 > 0)
    assert begin <= first_step(steps + 1, most)


def test_a_step_never_changes_while_the_stream_grows(source: StreamSource) -> None:
    data = replace_data(frame_rate=5.0, tau_o=3.0)
    track = source.tracks[0]
    before = None
    for last in range(5, len(track.features), 6):  # ends of steps
        features, _, _, begins = window(track, last, data)
        assert len(features) <= data.num_frames
        if before is not None and begins:
            np.testing.assert_array_equal(features[: len(before)], before)
        before = features


def test_whole_window_networks_repeat_the_first_step(source: StreamSource) -> None:
    samples = [source.test_sample(k) for k in (1, 3)]
    batch = Batch.of(samples, DATA.num_frames)
    assert batch.lengths is None
    assert batch.features.shape[:2] == (2, DATA.num_frames)
    short = DATA.num_frames - len(samples[0].features)
    np.testing.assert_array_equal(batch.features[0, 0], batch.features[0, short])
    assert (batch.current[0, :short] == -1).all()
    filled = Batch.of(samples)
    assert filled.lengths is not None
    assert filled.lengths.tolist() == [len(sample.features) for sample in samples]


@searched(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_upcoming_actions_start_tau_a_later(seed: int) -> None:
    source = SOURCE[0] if SOURCE else SOURCE.append(StreamSource(DATA)) or SOURCE[0]
    generator = np.random.default_rng(seed)
    track = source.tracks[int(generator.integers(len(source.tracks)))]
    last = int(generator.integers(30, len(track.features)))
    data = replace_data(frame_rate=5.0, tau_o=30.0)
    _, _, upcoming, _ = window(track, last, data)
    for step in range(len(upcoming)):
        told_at = 6 * step - 1  # the last frame before the step
        later = [int(s[2]) for s in track.segments if s[0] >= told_at + data.tau_a * track.fps]
        assert upcoming[step] == (later[0] if later else -1)


SOURCE: list[StreamSource] = []


def replace_data(**values: float) -> StreamsData:
    return StreamsData(**values)  # type: ignore[arg-type]


def test_splicing_keeps_the_order_of_actions(source: StreamSource) -> None:
    for index in range(4, len(source.rows), 37):
        which, row = source.rows[index]
        track = source._spliced(which, row, np.random.default_rng(index))
        own = source.tracks[which].segments
        assert track.segments[:, 2].tolist() == own[: row + 1, 2].tolist()
        assert (np.diff(track.segments[:, :2].reshape(-1)) >= 0).all()
        assert len(track.features) == track.segments[-1, 1]


def test_whole_streams_teach_every_step_and_no_next_action() -> None:
    source = StreamSource(replace_data(whole=1.0, tau_o=60.0))
    sample = source.training_sample(0, np.random.default_rng(0))
    assert sample.target == -1
    labels = source.tracks[0].segments[:, 2].tolist()
    assert sample.current.max() >= 0
    assert set(sample.current.tolist()) - {-1} <= set(labels)
    assert sample.upcoming[-1] == -1


def test_faster_motion_has_higher_speeds(source: StreamSource) -> None:
    track = source.tracks[0]
    played = faster(track, 0.4, np.random.default_rng(1))
    factor = played.fps / track.fps
    assert factor != 1
    np.testing.assert_allclose(played.features[:, 60:], track.features[:, 60:] * factor, rtol=1e-5)
    np.testing.assert_array_equal(played.features[:, :60], track.features[:, :60])


def test_training_samples_are_functions_of_their_generator(source: StreamSource) -> None:
    first, again, other = (source.training_sample(9, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.features, again.features)
    least = min(len(first.features), len(other.features))
    assert np.abs(first.features[:least] - other.features[:least]).max() > 0.01


# -- a run ----------------------------------------------------------------------------------------------------


def test_a_run_leaves_everything_behind(run: Path) -> None:
    result = json.loads((run / "evaluation.json").read_text())
    assert 0 <= result["top1"] <= result["top5"] <= 100
    assert result["actions"] == 30
    assert result["after_the_first"]["previous_action_top1"] == pytest.approx(100 * 14 / 24)
    assert result["after_the_first"]["previous_two_actions_top1"] == pytest.approx(75.0)
    assert result["baselines_top1"]["most_frequent"] == pytest.approx(20.0)
    found = json.loads((run / "predictions.json").read_text())
    assert set(found["events"]) == set(json.loads((run / "annotations.json").read_text())["videos"])
    over_time = json.loads((run / "rankings.json").read_text())
    assert len(over_time["streams"]) == 3
    assert len(over_time["streams"][0]["truth"]) == 5
    np.testing.assert_allclose(np.sum(over_time["streams"][0]["probability"], axis=1), 1.0, atol=0.01)
    page = write(run).read_text()
    assert "Ranking over time" in page
    assert "previous two actions (true labels)" in page
    rows = json.loads((run / "scores.json").read_text())["rows"]
    hits = np.mean([np.argmax(row["logits"]) == row["label"] for row in rows])
    assert result["top1"] == pytest.approx(100 * hits)


def test_a_saved_model_evaluates_to_the_same_figures(run: Path, tmp_path: Path) -> None:
    model = load(run)
    model.save(tmp_path / "weights")
    again = load(tmp_path / "weights").evaluate(tmp_path / "evaluated")
    told = json.loads((run / "evaluation.json").read_text())
    assert again["top1"] == pytest.approx(told["top1"])
    assert again["class_mean_recall@5"] == pytest.approx(told["class_mean_recall@5"])


def test_batch_equals_one_by_one(run: Path) -> None:
    from kinoscope.anticipation.stages import logits

    model = load(run)
    source = StreamSource(model.settings.data, model.reader)
    samples = [source.test_sample(k) for k in range(6)]
    how = model.device, model.settings, model.orders
    whole = logits(model.network, samples, *how)
    single = np.concatenate([logits(model.network, [sample], *how) for sample in samples])
    np.testing.assert_allclose(whole, single, atol=1e-5)


def test_predict_on_the_command_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", str(run), str(builtin.path("precog16")), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    row = answer["rankings"][0]
    assert row["starts_s"] == pytest.approx(row["time_s"] + 0.5)
    assert len(row["next"]) == 5
    assert [p for _, p in row["next"]] == sorted((p for _, p in row["next"]), reverse=True)


# -- bad input ------------------------------------------------------------------------------------------------


def test_still_streams_are_left_out_and_named(tmp_path: Path) -> None:
    file = SkeletonFile.load("builtin:precog16")
    joints = np.array(file.joints)
    joints[: file.offset[1]] = 0
    frozen = replace(file, joints=joints, origin=np.zeros_like(file.origin))
    frozen.save(tmp_path / "frozen.npz")
    source = StreamSource(StreamsData(train=str(tmp_path / "frozen.npz"), test_subjects=("p07",)))
    assert list(source.skipped) == [file.names[0]]
    assert len(source.tracks) == 41


def test_a_stream_that_starts_with_its_action_has_a_blank_window() -> None:
    file = SkeletonFile.load("builtin:precog16")
    source = StreamSource(StreamsData(test_subjects=("p01",)))
    early = [k for k, (w, r) in enumerate(source.test_rows) if by_time(source.test[w].segments)[r, 0] < 15]
    assert early
    sample = source.test_sample(early[0])
    assert sample.last_s == -1
    assert not sample.features.any()
    assert file.label_names[sample.target]


def test_other_joints_and_labels_are_refused(run: Path, tmp_path: Path) -> None:
    file = SkeletonFile.load("builtin:precog16").take([0])
    other = replace(file, joint_names=("Nose", *file.joint_names[1:]))
    other.save(tmp_path / "other.npz")
    with pytest.raises(KinoscopeError, match="other joints"):
        load(run).predict(tmp_path / "other.npz")
    with pytest.raises(KinoscopeError, match="joint names"):
        StreamSource(StreamsData(test=str(tmp_path / "other.npz")))
    named = replace(file, label_names=tuple(f"class {k}" for k in range(8)))
    named.save(tmp_path / "named.npz")
    with pytest.raises(KinoscopeError, match="label names"):
        StreamSource(StreamsData(test=str(tmp_path / "named.npz")))


def test_moments_outside_every_stream_are_refused(run: Path) -> None:
    with pytest.raises(KinoscopeError, match="no moment"):
        load(run).predict(builtin.path("precog16"), at=[1e4])


def test_unknown_settings_and_widths_are_refused() -> None:
    with pytest.raises(KinoscopeError, match="no such setting"):
        load_recipe(RECIPE, ["data.tau=1"])
    with pytest.raises(KinoscopeError, match="multiple of 64"):
        load_recipe(RECIPE, ["model.intermediate_featdim=100"])
