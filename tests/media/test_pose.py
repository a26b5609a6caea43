"""Skeletons of videos: what travels, what is labelled, and mediapipe's own answers where it is installed."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinoscope import builtin
from kinoscope.cli import main
from kinoscope.errors import KinoscopeError
from kinoscope.media import blazepose
from kinoscope.media.blazepose import JOINTS, PARENTS, Pose, read_landmarks
from kinoscope.media.pose import Poses, Traveller, as_file, poses_of, with_labels, with_segments
from kinoscope.media.pose_features import body_plan, file_features
from kinoscope.media.skeleton import SkeletonFile

needs_mediapipe = pytest.mark.skipif(
    not blazepose.installed(), reason="the package mediapipe 0.10.14 (extra `pose`) is not installed"
)


def poses(frames: int, fps: float = 25.0, seed: int = 0) -> Poses:
    random = np.random.default_rng(seed)
    joints = random.normal(size=(frames, 33, 3)).astype(np.float32)
    return Poses(fps, joints, np.ones((frames, 33), np.float32), joints[..., :2].copy())


def serialised(rows: np.ndarray) -> bytes:
    """As mediapipe hands landmarks out: field 1, 25 bytes, five floats each."""
    message = b""
    for row in rows:
        fields = b"".join(bytes([k << 3 | 5]) + struct.pack("<f", value) for k, value in enumerate(row, 1))
        message += bytes([10, len(fields)]) + fields
    return message


def test_landmarks_are_read_from_their_bytes() -> None:
    rows = np.random.default_rng(0).normal(size=(33, 5)).astype(np.float32)
    np.testing.assert_array_equal(read_landmarks(serialised(rows)), rows[:, :4])
    np.testing.assert_array_equal(read_landmarks(serialised(rows[:, :3]))[:, 3], 0.0)
    with pytest.raises(KinoscopeError, match="33 landmarks were expected"):
        read_landmarks(serialised(rows[:5]))


def test_joints_have_a_body_plan_and_hang_together() -> None:
    plan = body_plan(JOINTS)
    assert (plan.shoulders, plan.hips, plan.root) == ((11, 12), (23, 24), None)
    assert len(PARENTS) == len(JOINTS) == 33
    for joint in range(33):
        steps = 0
        while PARENTS[joint] >= 0:
            joint, steps = PARENTS[joint], steps + 1
            assert steps < 33


@given(st.floats(20, 2000), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_a_body_travels_as_many_metres_as_it_does(size: float, x: float, y: float) -> None:
    """Whatever size the person has in the picture: hips x and y picture widths off the middle."""
    metres = np.random.default_rng(1).normal(size=(33, 3)).astype(np.float32)
    metres -= metres[[23, 24]].mean(0)
    pixels = metres[:, :2] * np.float32([1, -1]) * size + np.float32([320 + 640 * x, 240 + 640 * y])
    joints = Traveller(30)(Pose(metres, pixels, np.ones(33, np.float32)), 480, 640)
    np.testing.assert_allclose(
        joints[[23, 24]].mean(0), [640 * x / size, -640 * y / size, 0], rtol=1e-3, atol=2e-3
    )
    np.testing.assert_allclose(joints - joints[[23, 24]].mean(0), metres, atol=0.02)


def test_a_file_of_poses_is_whole_and_labelled(tmp_path: Path) -> None:
    gone = poses(5)
    gone.joints[2:4], gone.confidence[2:4] = np.nan, 0
    file = as_file({"b/walk": gone, "a/run": poses(8, seed=1), "odd": poses(3)})
    again = SkeletonFile.load(file.save(tmp_path / "all.npz"))
    assert again.names == ["b/walk", "a/run", "odd"]
    assert all(np.isfinite(features).all() for features in file_features(again).values())
    labelled = with_labels(again, {"b/walk": ("walk", "tom"), "a/run": ("run", "ann")})
    assert labelled.label_names == ("run", "walk")
    assert [(m.name, m.label, m.subject) for m in labelled] == [("b/walk", 1, "tom"), ("a/run", 0, "ann")]
    np.testing.assert_array_equal(labelled.extra["pixels"], again.extra["pixels"][:13])
    rows = [
        {"label": "x", "segment": [0.04, 0.2]},
        {"label": "y", "segment": [0.1, 99]},
        {"label": "y", "segment": [7, 9]},
    ]
    streams = with_segments(again, {"a/run": {"annotations": rows}})
    assert streams.segments is not None
    assert streams.segments.tolist() == [[0, 1, 5, 0], [0, 2, 8, 1]]
    for wrong in (lambda: with_labels(again, {"c": ("a", "b")}), lambda: with_segments(again, {"c": {}})):
        with pytest.raises(KinoscopeError, match="no video"):
            wrong()


@needs_mediapipe
def test_command_takes_poses_and_one_bad_video_costs_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    (tmp_path / "labels.csv").write_text("path,label,subject\nx/eat.mkv,eat,someone\n")
    command = [
        "pose",
        str(builtin.path("asl") / "eat.mkv"),
        str(tmp_path / "bad.mp4"),
        "--json",
        "--fps",
        "10",
    ]
    command += ["--output", str(tmp_path / "poses.npz"), "--labels", str(tmp_path / "labels.csv")]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["videos"], list(result["failed"]), result["found"]) == (["eat"], ["bad"], {"eat": 1.0})
    file = SkeletonFile.load(tmp_path / "poses.npz")
    assert (file.fps, file.label_names, file.subject_names) == (10.0, ("eat",), ("someone",))
    joints = next(iter(file)).joints
    head, hips = joints[:, 0, 1], joints[:, 23:25, 1].mean(1)
    assert ((head - hips > 0.4) & (head - hips < 0.9)).all()  # y is up, metres
    assert file.confidence is not None
    assert file.confidence[:, 0].min() > 0.9


@needs_mediapipe
def test_the_same_video_gives_the_same_poses() -> None:
    path = builtin.path("asl") / "eat.mkv"
    one, two = poses_of(path, 5), poses_of(path, 5)
    np.testing.assert_array_equal(one.joints, two.joints)
