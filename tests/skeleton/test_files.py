"""Bad skeleton files, each with its own message; clips from neutral files."""

import numpy as np
import pytest

from kinoscope.errors import KinoscopeError
from kinoscope.media.layouts import KINECT_20, layout_named, layout_of
from kinoscope.skeleton.data import clip
from kinoscope.skeleton.downsample import downsample
from kinoscope.skeleton.metrics import ensemble, nearest_labels, top_k
from kinoscope.skeleton.ntu import convert, parse_name
from kinoscope.skeleton.skeleton_files import read_skeleton
from kinoscope.skeleton.streams import stream


def written(path, frames=2, bodies=1, joints=25, value="0.5"):
    body = ["1 0 1 0 1 0 0 0 0 2", str(joints), *[" ".join([value] * 12)] * joints]
    path.write_text("\n".join([str(frames), *([str(bodies), *body * bodies] * frames)]) + "\n")
    return path


@pytest.mark.parametrize(("bodies", "seen"), [(0, 0), (1, 1), (2, 2), (5, 2)])
def test_bodies(tmp_path, bodies, seen):
    clip = read_skeleton(written(tmp_path / "a.skeleton", bodies=bodies))
    assert clip.shape == (3, 2, 25, 2)
    assert np.count_nonzero(clip) == seen * 3 * 2 * 25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.write_text(""), "is empty"),
        (lambda p: p.write_text("\n".join(p.read_text().split("\n")[:20])), "cut off"),
        (lambda p: p.write_text(p.read_text().replace("0.5", "x")), "malformed"),
        (lambda p: written(p, value="nan"), "not a finite number"),
        (lambda p: written(p, joints=20), "too few joints"),
    ],
)
def test_bad_files_say_why_and_cost_only_themselves(tmp_path, change, message):
    good, bad = "S001C001P001R001A001.skeleton", "S001C001P001R001A002.skeleton"
    written(tmp_path / good)
    written(tmp_path / bad)
    change(tmp_path / bad)
    with pytest.raises(KinoscopeError, match=message):
        read_skeleton(tmp_path / bad)
    left_out = convert(tmp_path, [good, bad], [0, 1], tmp_path / "out", "train")
    assert list(left_out) == [bad]
    assert np.load(tmp_path / "out" / "train_data.npy").shape == (1, 3, 300, 25, 2)


def test_names_streams_layouts_and_empty_clips():
    assert parse_name("S001C002P003R002A013.skeleton").label == 12
    for call, message in (
        (lambda: parse_name("clip.skeleton"), "named"),
        (lambda: layout_named("ntu"), "no such skeleton layout"),
        (lambda: stream(np.zeros(1), "bones"), "no such stream"),
        (lambda: downsample(np.zeros((3, 300, 25, 2), np.float32)), "no skeleton"),
        (lambda: clip(np.zeros((4, 25, 3)), KINECT_20), "wrong number of joints"),
        (lambda: clip(np.full((4, 20, 3), np.nan), KINECT_20), "no joint is sure"),
        (lambda: top_k(np.zeros((1, 3)), np.array([3])), "outside the classes"),
        (lambda: ensemble({"joint": {"a": np.zeros(2)}}, ["b"]), "different samples"),
    ):
        with pytest.raises(KinoscopeError, match=message):
            call()


def test_one_frame_and_unsure_joints():
    joints = np.random.default_rng(0).standard_normal((9, 20, 3))
    assert clip(joints[:1], KINECT_20).shape == (3, 50, 20, 1)
    sure = np.ones((9, 20), bool)
    sure[4, 7] = False
    other = joints.copy()
    other[4, 7] = 1e6
    np.testing.assert_array_equal(clip(joints, KINECT_20, sure_TV=sure), clip(other, KINECT_20, sure_TV=sure))


def test_nearest_labels_is_its_own_neighbour():
    x = np.random.default_rng(0).standard_normal((9, 4))
    assert (nearest_labels(x, np.arange(9), x) == np.arange(9)).all()


def test_a_whole_clip_forgets_heading_place_and_size_but_not_steps():
    random = np.random.default_rng(0)
    pose = random.standard_normal((40, 20, 3))
    pose[:, 8] = pose[:, 4] + [0.4, 0.02, 0.1]  # a shoulder line
    cos, sin = np.cos(0.8), np.sin(0.8)
    other = 1.3 * pose @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]) + [3.0, 1.0, -2.0]
    first, second = (clip(p, KINECT_20, 32, whole=True) for p in (pose, other))
    np.testing.assert_allclose(first, second, atol=1e-5)
    centre = first[:, :, KINECT_20.centre]
    assert np.ptp(centre, axis=1).min() > 0.1  # the centre moves: per-frame centring would have lost it


def test_mirror_pairs_of_names_with_the_side_at_their_end():
    layout = layout_of(["Hip", "ShoulderLeft", "ShoulderRight"], [-1, 0, 0])
    assert layout.mirror == ((1, 2),)
    assert layout.shoulders == (1, 2)
