"""Pose files of other programs: the person who moves is found and followed, unsure joints count for nothing."""

import json

import numpy as np
import pytest

from kinoscope.errors import KinoscopeError
from kinoscope.media.motion_files import open_motion
from kinoscope.media.pose_files import tracked


def person(x, hand=0.0, score=0.9, joints=17):
    rows = np.stack(
        [x + 10.0 * np.arange(joints) % 50, 100 + 12.0 * np.arange(joints), np.full(joints, score)], 1
    )
    rows[9, 1] -= hand
    return rows


def detections(path, frames):
    rows = [
        {"image_id": f"clip_{i:03d}.jpg", "keypoints": pose.reshape(-1).tolist(), "score": 1.0}
        for i, poses in enumerate(frames)
        for pose in poses
    ]
    path.write_text(json.dumps(rows))
    return path


def test_the_person_who_moves_is_followed_whatever_the_order(tmp_path):
    random = np.random.default_rng(0)
    frames = []
    for i in range(20):
        still, moving, unsure = person(0), person(400, hand=4.0 * i), person(900 + 100 * (i % 2), score=0.1)
        frames.append([[still, moving, unsure][k] for k in random.permutation(3)])
    frames[7] = [person(0)]  # unseen for a frame
    file = open_motion(detections(tmp_path / "poses.json", frames))
    assert file.joints.shape == (20, 17, 3)
    assert file.joint_names[9] == "left_wrist"
    assert np.isnan(file.joints[7]).all()
    assert (file.confidence[7] == 0).all()
    lifted = np.delete(file.joints[:, 9, 1], 7)
    assert (np.diff(lifted) > 0).all()  # y is up
    assert np.nanmin(file.joints[..., 0]) > 1  # it is not the one on the left


def test_people_far_from_one_another_are_different_tracks():
    tracks = tracked({0: [person(0), person(500)], 1: [person(505), person(3)], 40: [person(0)]})
    assert sorted(sorted(track.poses) for track in tracks) == [[0, 1], [0, 1], [40]]


def test_openpose_folders(tmp_path):
    for i in (1, 2, 10):
        people = [{"pose_keypoints_2d": person(0, i, joints=18).reshape(-1).tolist()}] if i != 2 else []
        (tmp_path / f"v_{i}_keypoints.json").write_text(json.dumps({"people": people}))
    file = open_motion(tmp_path)
    assert file.joint_names[:2] == ("nose", "neck")
    assert len(file.joints) == 3
    assert file.joints[2, 9, 1] > file.joints[0, 9, 1]  # file 10 comes last


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON file"),
        ("{}", "list of detections"),
        ("[]", "nobody is found"),
        (json.dumps([{"image_id": 0, "keypoints": [1.0] * 60}]), "no known layout"),
        (json.dumps([{"image_id": 0, "keypoints": [1.0] * 50}]), "x, y, score"),
        (json.dumps([{"image_id": 0}]), "x, y, score"),
        (json.dumps([{"image_id": 0, "keypoints": [float("nan")] * 51}]), "finite"),
    ],
)
def test_bad_pose_files(tmp_path, content, message):
    path = tmp_path / "poses.json"
    path.write_text(content)
    with pytest.raises(KinoscopeError, match=message):
        open_motion(path)
