"""Pose features: 123 channels for the Kinect, blind to where one stands and how one is turned."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinoscope.errors import KinoscopeError
from kinoscope.media.pose_features import (
    Standardiser,
    aligned,
    body_plan,
    file_features,
    fill_gaps,
    pose_features,
    y_up,
)
from kinoscope.media.skeleton import SkeletonFile

KINECT2 = ["SpineBase", "ShoulderLeft", "HipLeft", "ShoulderRight", "HipRight"]


@pytest.mark.parametrize(
    ("names", "shoulders", "hips", "root"),
    [
        (KINECT2, (1, 3), (2, 4), 0),
        (
            ["root", "lhipjoint", "lfemur", "rhipjoint", "rfemur", "lclavicle", "lhumerus", "rclavicle"],
            (5, 7),
            (1, 3),
            0,
        ),
        (["nose", "left_shoulder", "right_shoulder", "left_hip", "right_hip"], (1, 2), (3, 4), None),
        (["LEFT_SHOULDER", "RIGHT_SHOULDER", "LEFT_HIP", "RIGHT_HIP"], (0, 1), (2, 3), None),
        (["pelvis", "L_Hip", "R_Hip", "L_Shoulder", "R_Shoulder"], (3, 4), (1, 2), 0),
        (["Hips", "LeftUpLeg", "RightUpLeg", "LeftArm", "RightArm"], (3, 4), (1, 2), 0),
        (["LShoulder", "RShoulder", "LHip", "RHip"], (0, 1), (2, 3), None),
    ],
)
def test_joints_are_found_by_name(names, shoulders, hips, root):
    plan = body_plan(names)
    assert (plan.shoulders, plan.hips, plan.root) == (shoulders, hips, root)


def test_unknown_names_are_told():
    with pytest.raises(KinoscopeError, match="shoulder"):
        body_plan(["a", "b"])


def test_kinect_gives_123_channels():
    file = SkeletonFile.load("builtin:precog16").take([0, 1])
    features = file_features(file)
    assert [f.shape for f in features.values()] == [(len(m.joints), 123) for m in file]


@given(st.floats(-3, 3), st.floats(-2, 2), st.floats(-2, 2))
@settings(max_examples=20, deadline=None)
def test_features_ignore_place_and_direction(angle, x, z):
    file = SkeletonFile.load("builtin:cmu_86")
    motion = dataclasses.replace(file[0], joints=file[0].joints[:50])
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float32)
    moved = dataclasses.replace(motion, joints=motion.joints @ turn.T + np.array([x, 0, z], np.float32))
    plan = body_plan(file.joint_names)
    np.testing.assert_allclose(pose_features(moved, plan), pose_features(motion, plan), atol=2e-3)


def test_the_mean_shoulder_line_lies_on_x_and_z_up_files_agree():
    file = SkeletonFile.load("builtin:precog16")
    plan = body_plan(file.joint_names)
    body, _, _ = aligned(file[0].joints, plan)
    line = body[:, plan.shoulders[0]] - body[:, plan.shoulders[1]]
    assert abs(line[:, 2].mean()) < 1e-5
    assert line[:, 0].mean() > 0.1
    z_up = file[0].joints[..., [2, 0, 1]]
    np.testing.assert_array_equal(y_up(z_up, "z"), file[0].joints)


def test_gaps_are_interpolated_and_zeros_stay_finite():
    joints = np.arange(4, dtype=np.float32).reshape(4, 1, 1) * np.ones((1, 2, 3), np.float32)
    holes = joints.copy()
    holes[1, 0] = np.nan
    np.testing.assert_allclose(fill_gaps(holes), joints)
    file = SkeletonFile.load("builtin:precog16")
    still = dataclasses.replace(file[0], joints=np.zeros_like(file[0].joints))
    assert not pose_features(still, body_plan(file.joint_names)).any()


def test_standardised_training_frames_have_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)
    streams = [rng.normal(3, 2, (50, 4)).astype(np.float32) for _ in range(3)]
    for stream in streams:
        stream[:, 2] = 5
    fitted = Standardiser.fit(streams)
    joined = np.concatenate([fitted(s) for s in streams])
    np.testing.assert_allclose(joined.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(joined.std(0), [1, 1, 0, 1], atol=1e-5)
    again = Standardiser.from_dict(fitted.to_dict())
    np.testing.assert_array_equal(again(streams[0]), fitted(streams[0]))
    with pytest.raises(KinoscopeError, match="4 channels"):
        fitted(np.zeros((2, 5), np.float32))


def test_smoothing_takes_jitter_out_of_velocities_and_leaves_steady_motion():
    file = SkeletonFile.load("builtin:precog16")
    plan, motion = body_plan(file.joint_names), file[0]
    joints = np.tile(motion.joints[:1], (60, 1, 1)) + np.arange(60)[:, None, None] * np.float32(0.01)
    steady = dataclasses.replace(motion, joints=joints)
    jitter = np.random.default_rng(0).normal(0, 0.01, joints.shape).astype(np.float32)
    shaken = dataclasses.replace(motion, joints=joints + jitter)
    v = 3 * joints.shape[1]
    clean, plain, smooth = (
        pose_features(m, plan, smooth_s=s)[10:-10, v:]
        for m, s in ((steady, 0.066), (shaken, 0.0), (shaken, 0.066))
    )
    np.testing.assert_allclose(clean[:, -3:], pose_features(steady, plan)[10:-10, -3:], atol=1e-4)
    assert smooth.std() < 0.5 * plain.std()
