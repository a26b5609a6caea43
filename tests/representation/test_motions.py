"""CARL on motion clips: sampling, two views, training on a few clips, prediction, and what bad input is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinoscope.engine.folder import train_stages
from kinoscope.errors import KinoscopeError
from kinoscope.media.pose_features import Standardiser
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.models import load
from kinoscope.recipe import to_yaml
from kinoscope.representation import check
from kinoscope.representation.augment import PoseAugment, turned
from kinoscope.representation.data import Clip, MotionSource, TwoViews, batch_views
from kinoscope.representation.judge import judge
from kinoscope.representation.sampling import Sampler
from kinoscope.representation.settings import Evaluation, MotionsData
from kinoscope.representation.stages import stages
from kinoscope.tasks import load_recipe

SMALL = [
    *("model.embedder.hidden_size=16", "model.embedder.d_ff=16", "model.embedder.fc_layers=[8]"),
    *("train.epochs=2", "train.schedule.warmup_epochs=0", "train.batch_size=4"),
]


def save(skeletons: SkeletonFile, path: Path) -> Path:
    arrays = {
        name: np.asarray(getattr(skeletons, name))
        for name in ("joints", "offset", "origin", "joint_names", "parents", "fps", "up_axis", "source")
    }
    for name in ("subject", "subject_names", "label_names", "label", "key_event"):
        if getattr(skeletons, name) is not None:
            arrays[name] = np.asarray(getattr(skeletons, name))
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def few() -> SkeletonFile:
    """Squats and kicks of all actors, three of each by every actor."""
    whole = SkeletonFile.load("builtin:hdm05_11")
    assert whole.label is not None
    rows = []
    for name in ("squat1Reps", "kickLFront1Reps"):
        for subject in range(4):
            same = (whole.label == whole.label_names.index(name)) & (whole.subject == subject)
            rows += np.flatnonzero(same)[:3].tolist()
    return whole.take(rows)


@pytest.fixture(scope="module")
def run(few: SkeletonFile, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("carl")
    file = save(few, folder / "few.npz")
    settings = load_recipe("representation/carl_motions", [f"data.train={file}", *SMALL])
    return folder, train_stages(stages(settings), folder / "run", to_yaml(settings), resume=False, quiet=True)


def test_the_run_is_judged_beside_poses_and_velocity(run: tuple[Path, dict]) -> None:
    _, result = run
    assert set(result["baselines"]) == {"poses", "poses_with_velocity"}
    assert set(result["kendalls_tau_per_class"]) == {"squat1Reps", "kickLFront1Reps"}
    assert 0 <= result["classification"] <= 1
    assert set(result["retrieval"]) == {"AP@5", "AP@10", "AP@15"}


def test_a_saved_model_evaluates_to_the_numbers_of_its_run(run: tuple[Path, dict], tmp_path: Path) -> None:
    folder, result = run
    again = load(folder / "run").evaluate(tmp_path)
    assert again["kendalls_tau"] == pytest.approx(result["kendalls_tau"])
    assert again["baselines"] == result["baselines"]


def test_one_embedding_a_frame_of_length_one(run: tuple[Path, dict], few: SkeletonFile) -> None:
    folder, _ = run
    model = load(folder / "run")
    found = model.predict(folder / "few.npz")
    assert [len(clip.values) for clip in found] == np.diff(few.offset).tolist()
    np.testing.assert_allclose(np.linalg.norm(found[0].values, axis=1), 1, atol=1e-5)
    table = model.render([found], "csv").splitlines()
    assert len(table) == 1 + few.offset[-1]
    assert table[0].startswith("source,time_s,e0")
    assert set(model.to_json([found])["embeddings"]) == set(few.names)
    with pytest.raises(KinoscopeError, match="not written in that format"):
        model.render([found], "vtt")


def test_other_joints_are_refused(run: tuple[Path, dict], few: SkeletonFile, tmp_path: Path) -> None:
    names = ("bone", *few.joint_names[1:])
    other = save(replace(few, joint_names=names), tmp_path / "other.npz")
    with pytest.raises(KinoscopeError, match="other joints"):
        load(run[0] / "run").predict(other)
    with pytest.raises(KinoscopeError, match="other joints"):
        MotionSource(MotionsData(train=str(run[0] / "few.npz"), test=str(other)))


def test_training_needs_no_label(few: SkeletonFile, tmp_path: Path) -> None:
    bare = save(replace(few, label=None, key_event=None, label_names=()), tmp_path / "bare.npz")
    settings = load_recipe("representation/carl_motions", [f"data.train={bare}", "data.split=none", *SMALL])
    result = train_stages(stages(settings), tmp_path / "run", to_yaml(settings), resume=False, quiet=True)
    assert result == {}
    assert (tmp_path / "run" / "weights" / "representation").is_dir()


def test_a_single_clip_trains_and_is_warned_about(few: SkeletonFile, tmp_path: Path) -> None:
    one = save(few.take([0]), tmp_path / "one.npz")
    settings = load_recipe("representation/carl_motions", [f"data.train={one}", "data.split=none", *SMALL])
    assert any("one training clip" in text for text in check.check(settings)["warnings"])
    train_stages(stages(settings), tmp_path / "run", to_yaml(settings), resume=False, quiet=True)


def test_a_still_clip_costs_that_clip(few: SkeletonFile, tmp_path: Path) -> None:
    joints = few.joints.copy()
    joints[few.offset[0] : few.offset[1]] = 0
    file = save(replace(few, joints=joints), tmp_path / "still.npz")
    source = MotionSource(MotionsData(train=str(file)))
    assert list(source.skipped) == [few.names[0]]
    with pytest.raises(KinoscopeError, match="no training clip"):
        MotionSource(MotionsData(train=str(save(replace(few, joints=0 * joints), tmp_path / "none.npz"))))


def test_a_missing_file_is_one_error_of_the_check() -> None:
    settings = load_recipe("representation/carl_motions", ["data.train=nowhere.npz"])
    assert "nowhere.npz" in check.check(settings)["errors"][0]


def test_views_of_one_clip_differ_and_repeat_with_the_generator(few: SkeletonFile) -> None:
    rows = np.random.default_rng(0).standard_normal((50, 9)).astype(np.float32)
    clips = [Clip("a", rows)]
    views = TwoViews(clips, Standardiser.fit([rows]), Sampler(16, crop_of_clip=True), PoseAugment(), least=4)
    assert len(views) == 4
    first, again, other = (views.draw(1, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[2] != other[2]).any()
    assert (first[2][0] != first[2][1]).any()
    batch = batch_views([first, other])
    assert batch.clips.shape == (2, 2, 16, 9)
    assert batch.mask.shape == (2, 2, 16)


def test_without_changes_a_view_holds_the_frames_that_it_names() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 9)).astype(np.float32)
    plain = PoseAugment(0, 0, 0, 0)
    views = TwoViews([Clip("a", rows)], Standardiser.fit([rows]), Sampler(16), plain)
    features, _, steps, _ = views.draw(0, np.random.default_rng(0))
    np.testing.assert_allclose(features, rows[steps], atol=1e-5)


def test_turning_keeps_heights_and_lengths_and_can_be_undone() -> None:
    rows = np.random.default_rng(0).standard_normal((5, 9)).astype(np.float32)
    there = turned(rows, 0.7)
    np.testing.assert_allclose(there[:, 1::3], rows[:, 1::3])
    np.testing.assert_allclose(turned(there, -0.7), rows, atol=1e-6)


def test_clips_that_cannot_be_judged_are_an_error() -> None:
    clip = Clip("a", np.zeros((4, 9), np.float32))
    with pytest.raises(KinoscopeError, match="cannot be judged"):
        judge([clip], [clip.features], [clip], [clip.features], [], Evaluation())
