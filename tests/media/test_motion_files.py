"""Motion capture: positions against a hand-made hierarchy, C3D written here byte by byte, damaged files."""

import struct

import numpy as np
import pytest

from kinoscope.errors import KinoscopeError
from kinoscope.media.motion_files import open_motion

BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Knee
  {
    OFFSET 0 -1 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    JOINT Foot
    {
      OFFSET 0 -1 0
      CHANNELS 3 Zrotation Xrotation Yrotation
      End Site
      {
        OFFSET 0 0 1
      }
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.05
1 2 3 0 0 0 0 0 0 0 0 0
1 2 3 90 0 0 0 90 0 0 0 0
"""


def test_bvh_places_every_joint(tmp_path):
    path = tmp_path / "take.bvh"
    path.write_text(BVH)
    file = open_motion(path)
    assert file.joint_names == ("Hips", "Knee", "Foot")
    assert file.parents.tolist() == [-1, 0, 1]
    assert file.fps == pytest.approx(20)
    np.testing.assert_allclose(file.joints[0], [[1, 2, 3], [1, 1, 3], [1, 0, 3]], atol=1e-6)
    # the hips turn by 90 degrees about z: down becomes +x; the knee by 90 about its own x: down becomes forward (-z)
    np.testing.assert_allclose(file.joints[1], [[1, 2, 3], [2, 2, 3], [2, 2, 2]], atol=1e-6)


def c3d(path, points_FPC, scale=-1.0, order="<"):
    """A small C3D file with a POINT group of LABELS, UNITS and RATE."""
    frames, count = points_FPC.shape[:2]

    def parameter(group, name, kind, dimensions, raw):
        body = struct.pack("bB", kind, len(dimensions)) + bytes(dimensions) + raw
        return (
            struct.pack("bb", len(name), group)
            + name.encode()
            + struct.pack(f"{order}h", 2 + len(body))
            + body
        )

    labels = "".join(f"M{i}".ljust(4) for i in range(count)).encode()
    records = struct.pack("bb", 5, -1) + b"POINT" + struct.pack(f"{order}h", 3) + b"\0"
    records += parameter(1, "LABELS", -1, [4, count], labels)
    records += parameter(1, "UNITS", -1, [2], b"mm")
    records += parameter(1, "RATE", 4, [], struct.pack(f"{order}f", 100.0)) + b"\0\0"
    header = bytearray(512)
    header[:2] = bytes([2, 0x50])
    header[2:12] = struct.pack(f"{order}5H", count, 0, 1, frames, 0)
    header[12:16] = struct.pack(f"{order}f", scale)
    header[16:18] = struct.pack(f"{order}H", 3)
    processor = 84 if order == "<" else 86
    block = (bytes([1, 0x50, 1, processor]) + records).ljust(512, b"\0")
    data = np.concatenate([points_FPC, np.zeros((frames, count, 1))], 2)
    data[0, 1, 3] = -1
    kind = f"{order}f4" if scale < 0 else f"{order}i2"
    path.write_bytes(bytes(header) + block + data.astype(kind).tobytes())


@pytest.mark.parametrize(("scale", "order"), [(-1.0, "<"), (-1.0, ">"), (0.5, "<")])
def test_c3d_of_floats_and_integers(tmp_path, scale, order):
    path = tmp_path / "take.c3d"
    points = np.arange(2 * 3 * 3).reshape(2, 3, 3) * 100.0
    c3d(path, points, scale, order)
    file = open_motion(path)
    assert file.joint_names == ("M0", "M1", "M2")
    assert (file.fps, file.up_axis) == (100.0, "z")
    expected = points / 1000 * (1 if scale < 0 else scale)
    assert np.isnan(file.joints[0, 1]).all()
    np.testing.assert_allclose(file.joints[1], expected[1], atol=1e-6)


def test_damaged_files_say_what_they_are(tmp_path):
    path = tmp_path / "take.bvh"
    for text in (
        BVH[:150],
        BVH[: BVH.index("1 2 3 90")],
        BVH.replace("MOTION", "MOTIONS"),
        "",
        BVH.replace("90", "x"),
    ):
        path.write_text(text)
        with pytest.raises(KinoscopeError, match="no complete BVH file"):
            open_motion(path)
    path = tmp_path / "take.c3d"
    c3d(path, np.zeros((2, 3, 3)))
    whole = path.read_bytes()
    for data in (whole[:-8], whole[:100], b"", b"\0" * 2000):
        path.write_bytes(data)
        with pytest.raises(KinoscopeError, match="no complete C3D file"):
            open_motion(path)
    with pytest.raises(KinoscopeError, match="no complete BVH file"):
        open_motion(tmp_path / "none.bvh")


def test_joints_are_found_by_name(tmp_path):
    path = tmp_path / "take.bvh"
    path.write_text(BVH)
    file = open_motion(path)
    part = file.with_joints(["foot", "HIPS"])
    assert part.joint_names == ("foot", "HIPS")
    assert part.parents.tolist() == [1, -1]
    np.testing.assert_array_equal(part.joints, file.joints[:, [2, 0]])
    assert file.with_joints(["head"]) is file
