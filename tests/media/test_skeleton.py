"""The neutral skeleton file: what is read is what was written, and what is wrong is named."""

import dataclasses

import numpy as np
import pytest

from kinoscope import builtin
from kinoscope.errors import KinoscopeError
from kinoscope.media.skeleton import SkeletonFile


def arrays(**changes):
    rng = np.random.default_rng(0)
    base = {
        "joints": rng.normal(size=(30, 4, 3)).astype(np.float16),
        "offset": np.array([0, 10, 30]),
        "origin": np.array([[1, 2, 3], [4, 5, 6]], np.float32),
        "joint_names": np.array(["LShoulder", "RShoulder", "LHip", "RHip"]),
        "parents": np.array([-1, 0, 0, 0]),
        "fps": np.float32(25),
        "up_axis": np.array("y"),
        "subject": np.array([0, 1]),
        "subject_names": np.array(["ann", "bob"]),
        "label_names": np.array(["a", "b"]),
        "segments": np.array([[1, 5, 20, 1], [0, 0, 4, 0]]),
        "mood": np.array([7, 8]),
    }
    base.update(changes)
    return {name: value for name, value in base.items() if value is not None}


def test_items_carry_world_coordinates_and_their_segments():
    file = SkeletonFile.from_arrays(arrays())
    second = file[1]
    assert (second.name, second.subject, len(second.joints)) == ("bob_001", "bob", 20)
    np.testing.assert_allclose(second.joints[0, 0], file.joints[10, 0].astype(np.float32) + file.origin[1])
    assert second.segments.tolist() == [[5, 20, 1]]
    assert second.frame_labels(9).tolist() == [9] * 5 + [1] * 15
    events = file.events()
    assert (events.source[0], events.start_s[0], events.end_s[0]) == ("bob_001", 0.2, 0.8)


def test_saved_files_come_back(tmp_path):
    file = SkeletonFile.from_arrays(arrays())
    again = SkeletonFile.load(file.save(tmp_path / "a.npz"))
    for field in dataclasses.fields(file):
        if field.name not in ("file", "extra"):
            np.testing.assert_array_equal(getattr(again, field.name), getattr(file, field.name))
    assert again.extra["mood"].tolist() == [7, 8]


def test_split_by_person_renumbers_segments():
    file = SkeletonFile.from_arrays(arrays())
    train, test = file.split(["bob"])
    assert (train.subjects(), test.subjects()) == (["ann"], ["bob"])
    assert test.segments.tolist() == [[0, 5, 20, 1]]
    assert test.extra["mood"].tolist() == [8]
    np.testing.assert_array_equal(test[0].joints, file[1].joints)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"joints": None}, "joints"),
        ({"joints": np.zeros((30, 4, 2), np.float32)}, "joints"),
        ({"joint_names": np.array(["a"])}, "joint_names"),
        ({"offset": np.array([0, 20, 10])}, "offset"),
        ({"offset": np.array([0, 10, 31])}, "offset"),
        ({"fps": 0.0}, "fps"),
        ({"up_axis": np.array("w")}, "up_axis"),
        ({"subject": np.array([0, 2])}, "subject"),
        ({"subject": np.array([0])}, "subject"),
        ({"origin": np.zeros((1, 3))}, "origin"),
        ({"segments": np.array([[0, 0, 11, 0]])}, "segments"),
        ({"segments": np.array([[0, 4, 4, 0]])}, "segments"),
        ({"segments": np.array([[0, 0, 4, 2]])}, "label"),
        ({"segments": np.array([[2, 0, 4, 0]])}, "item"),
        ({"label": np.array([0, 1])}, "label"),
        ({"segments": None, "label": np.array([0, 5])}, "label"),
        ({"confidence": np.zeros((30, 3))}, "confidence"),
    ],
)
def test_wrong_arrays_are_named(changes, field, tmp_path):
    np.savez(tmp_path / "bad.npz", **arrays(**changes))
    with pytest.raises(KinoscopeError, match=field) as error:
        SkeletonFile.load(tmp_path / "bad.npz")
    assert "bad.npz" in str(error.value)
    assert error.value.remedy


@pytest.mark.parametrize("content", [b"", b"no archive", "cut"])
def test_broken_files_are_told(content, tmp_path):
    place = tmp_path / "broken.npz"
    if content == "cut":
        content = builtin.path("cmu_86").read_bytes()[:5000]
    place.write_bytes(content)
    with pytest.raises(KinoscopeError, match=r"broken\.npz"):
        SkeletonFile.load(place)
    with pytest.raises(KinoscopeError, match="no such"):
        SkeletonFile.load(tmp_path / "absent.npz")


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "p.npz", **arrays(joint_names=np.array([{"a": 1}], object)))
    with pytest.raises(KinoscopeError, match="object arrays"):
        SkeletonFile.load(tmp_path / "p.npz")


def test_streams_without_motion_are_reported():
    joints = arrays()["joints"]
    joints[:10] = 0
    reasons = SkeletonFile.from_arrays(arrays(joints=joints)).without_motion()
    assert list(reasons) == ["ann_000"]
    assert "zero" in reasons["ann_000"]


@pytest.mark.parametrize(
    ("name", "items", "segments"), [("precog16", 48, 240), ("cmu_streams", 4, 24), ("hdm05_11", 232, 0)]
)
def test_builtin_files_load(name, items, segments):
    file = SkeletonFile.load(f"builtin:{name}")
    assert (len(file), len(file.events())) == (items, segments)
    assert not file.without_motion()
    assert len(set(file.names)) == items
