"""A growing stream, frame by frame, gets the answers of its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kinoscope import load
from kinoscope.anticipation.online import OnlineAnticipator
from kinoscope.anticipation.pose_stream import PoseStream
from kinoscope.anticipation.stages import stages
from kinoscope.engine.folder import train_stages
from kinoscope.errors import KinoscopeError
from kinoscope.media.pose_features import body_plan
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.recipe import to_yaml
from kinoscope.tasks import load_recipe

SMALL = [
    "data.test_subjects=[p07]",
    "data.tau_o=3",  # shorter than the streams: the window's start moves on
    "model.intermediate_featdim=64",
    "model.inter_dim=32",
    "model.n_layer=2",
    "train.epochs=2",
    "train.schedule.warmup_epochs=0",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    chosen = load_recipe("anticipation/sgear_streams", SMALL)
    train_stages(stages(chosen), folder, to_yaml(chosen), resume=False, quiet=True)
    return folder


@pytest.mark.parametrize("orders", [True, False])
def test_frame_by_frame_equals_the_file(run: Path, tmp_path: Path, orders: bool) -> None:
    file = SkeletonFile.load("builtin:precog16").take([7])
    file.save(tmp_path / "one.npz")
    motion = next(iter(file))
    model = load(run)
    if not orders:
        model.model.orders = None
    online = OnlineAnticipator(model, motion.fps, file.up_axis)
    answers = np.stack([online.push(frame) for frame in motion.joints])
    asked = [k / motion.fps for k in range(0, len(motion.joints), 9)]
    told = model.predict(tmp_path / "one.npz", everything=True, at=asked)
    whole = np.zeros((len(told), answers.shape[1]))
    np.put_along_axis(whole, told.label, told.probability, axis=1)
    np.testing.assert_allclose(answers[::9][: len(whole)], whole, atol=1e-5)
    assert np.ptp(whole, axis=0).max() > 1e-3  # answers do change over time


def test_a_motion_in_pieces_is_the_motion() -> None:
    file = SkeletonFile.load("builtin:precog16").take([3])
    motion, plan = next(iter(file)), body_plan(file.joint_names)
    joints = motion.joints.copy()
    joints[10:20, 4] = np.nan
    whole = PoseStream(plan, motion.fps, file.up_axis).push(joints)
    pieces = PoseStream(plan, motion.fps, file.up_axis)
    parts = [pieces.push(part) for part in np.split(joints, [1, 2, 15, 90])]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-4)
    assert np.isfinite(whole).all()
    np.testing.assert_array_equal(whole[:90], PoseStream(plan, motion.fps, file.up_axis).push(joints[:90]))


def test_a_model_of_whole_windows_is_refused(run: Path) -> None:
    model = load(run, overrides=("model.mean_representation=true",))
    with pytest.raises(KinoscopeError, match="frame by frame"):
        OnlineAnticipator(model, 30.0)
