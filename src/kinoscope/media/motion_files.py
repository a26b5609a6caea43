"""Motion-capture files as neutral skeletons: BVH (rotations of a hierarchy) and C3D (marker trajectories).

BVH: joint positions follow from offsets and the channels of every frame, in the order in which a joint lists them; end
sites are left out. Lengths are taken as metres unless the skeleton is taller than ten units, then as centimetres.
C3D (c3d.org, "The C3D file format"): points as 16-bit integers or 32-bit floats of Intel, DEC or MIPS processors,
with labels, units and frame rate from the POINT group; a point whose residual is negative was not measured (NaN).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.media.skeleton import SkeletonFile

TALLEST_M = 10.0  # a skeleton beyond it was measured in centimetres
_UNITS = {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "in": 0.0254, "ft": 0.3048}


def open_motion(path: str | Path) -> SkeletonFile:
    """A neutral `.npz`, `.bvh`, `.c3d` or pose `.json` file (or folder of them).

    Raises KinoscopeError where it is none or damaged.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".json" or (Path(path).is_dir() and any(Path(path).glob("*.json"))):
        from kinoscope.media.pose_files import open_poses

        return open_poses(path)
    if suffix not in (".bvh", ".c3d"):
        return SkeletonFile.load(path)
    try:
        return read_bvh(Path(path)) if suffix == ".bvh" else read_c3d(Path(path))
    except (OSError, UnicodeDecodeError, ValueError, IndexError, KeyError, struct.error) as error:
        raise KinoscopeError(
            f"this is no complete {suffix[1:].upper()} file",
            file=path,
            value=str(error) or type(error).__name__,
            remedy="export it again",
        ) from error


def _skeleton(
    path: Path, joints_TVC: np.ndarray, names: list[str], parents: list[int], fps: float, up_axis: str
) -> SkeletonFile:
    if not len(joints_TVC):
        raise KinoscopeError("the file holds no frame", file=path, remedy="export it again")
    return SkeletonFile.from_arrays(
        {
            "joints": joints_TVC.astype(np.float32),
            "offset": np.array([0, len(joints_TVC)]),
            "joint_names": np.array(names),
            "parents": np.array(parents),
            "fps": np.array(fps),
            "up_axis": np.array(up_axis),
            "source": np.array([path.stem]),
        },
        str(path),
    )


@dataclass
class _Joint:
    name: str
    parent: int
    offset: np.ndarray
    channels: list[str] = field(default_factory=list)


def read_bvh(path: Path) -> SkeletonFile:
    """One take of a BVH file; y is up, as the format asks."""
    words = path.read_text(encoding="utf-8", errors="strict").split()
    joints, at = _hierarchy(words)
    if (
        words[at].upper() != "MOTION"
        or words[at + 1] != "Frames:"
        or words[at + 3 : at + 5] != ["Frame", "Time:"]
    ):
        raise ValueError("MOTION, Frames: and Frame Time: are expected after the hierarchy")
    frames, step = int(words[at + 2]), float(words[at + 5])
    width = sum(len(joint.channels) for joint in joints)
    numbers = np.array(words[at + 6 : at + 6 + frames * width], np.float64)
    if len(numbers) != frames * width or step <= 0:
        raise ValueError(f"{frames} frames of {width} numbers are announced, {len(numbers)} numbers follow")
    places = _forward(joints, numbers.reshape(frames, width))
    if np.ptp(places[:1], axis=1).max(initial=0) > TALLEST_M:
        places = places / 100
    return _skeleton(path, places, [j.name for j in joints], [j.parent for j in joints], 1 / step, "y")


def _hierarchy(words: list[str]) -> tuple[list[_Joint], int]:
    """Joints in file order, and the position after the hierarchy."""
    joints: list[_Joint] = []
    chain: list[int] = []  # open braces: joint, or -1 for an end site
    opened, at = -1, 1
    if words[0].upper() != "HIERARCHY":
        raise ValueError("the file does not start with HIERARCHY")
    while True:
        word = words[at].upper()
        if word in ("ROOT", "JOINT"):
            parent = next((j for j in reversed(chain) if j >= 0), -1)
            joints.append(_Joint(words[at + 1], parent, np.zeros(3)))
            opened, at = len(joints) - 1, at + 2
        elif word == "END":
            opened, at = -1, at + 2
        elif word == "{":
            chain.append(opened)
            at += 1
        elif word == "}":
            chain.pop()
            at += 1
            if not chain:
                return joints, at
        elif word == "OFFSET":
            if chain[-1] >= 0:
                joints[chain[-1]].offset = np.array(words[at + 1 : at + 4], np.float64)
            at += 4
        elif word == "CHANNELS":
            count = int(words[at + 1])
            joints[chain[-1]].channels = [w.lower() for w in words[at + 2 : at + 2 + count]]
            at += 2 + count
        else:
            raise ValueError(f"{words[at]!r} is no part of a hierarchy")


def _forward(joints: list[_Joint], numbers_TF: np.ndarray) -> np.ndarray:
    """(T, V, 3) positions."""
    frames, column = len(numbers_TF), 0
    turns = np.zeros((len(joints), frames, 3, 3))
    places = np.zeros((len(joints), frames, 3))
    for i, joint in enumerate(joints):
        own, shift = np.broadcast_to(np.eye(3), (frames, 3, 3)), np.tile(joint.offset, (frames, 1))
        for channel in joint.channels:
            values, axis = numbers_TF[:, column], "xyz".index(channel[0])
            column += 1
            if channel.endswith("position"):
                shift[:, axis] = shift[:, axis] + values if joint.parent < 0 else values
            else:
                own = own @ _about(axis, np.radians(values))
        if joint.parent < 0:
            turns[i], places[i] = own, shift
        else:
            turns[i] = turns[joint.parent] @ own
            places[i] = places[joint.parent] + np.einsum("tij,tj->ti", turns[joint.parent], shift)
    return places.transpose(1, 0, 2)


def _about(axis: int, angle_T: np.ndarray) -> np.ndarray:
    """(T, 3, 3) right-handed rotations about a coordinate axis."""
    cos, sin = np.cos(angle_T), np.sin(angle_T)
    turn = np.zeros((len(angle_T), 3, 3))
    a, b = [(1, 2), (2, 0), (0, 1)][axis]
    turn[:, axis, axis] = 1
    turn[:, a, a], turn[:, a, b], turn[:, b, a], turn[:, b, b] = cos, -sin, sin, cos
    return turn


def read_c3d(path: Path) -> SkeletonFile:
    """Markers as joints (without parents); the up axis is z unless Y_SCREEN of the POINT group says +Y."""
    data = path.read_bytes()
    if len(data) < 512 or data[1] != 0x50:
        raise ValueError("the second byte of a C3D file is 80")
    start = (data[0] - 1) * 512
    processor = data[start + 3] - 83  # 1 Intel, 2 DEC, 3 MIPS
    if processor not in (1, 2, 3):
        raise ValueError(f"processor {processor} is none of 1 (Intel), 2 (DEC), 3 (MIPS)")
    order = ">" if processor == 3 else "<"
    point = _parameters(data, start, order, processor).get("POINT", {})
    header = np.frombuffer(data, f"{order}u2", 10)
    count, analogue, first, last = (int(header[i]) for i in (1, 2, 3, 4))
    scale = float(_reals(data[12:16], order, processor)[0])
    rate = float(point["RATE"][0]) if "RATE" in point else float(_reals(data[20:24], order, processor)[0])
    block, frames = int(header[8]), last - first + 1
    if "FRAMES" in point:  # longer takes than the header's 16 bits can say
        frames = max(frames, int(np.asarray(point["FRAMES"])[0]) & 0xFFFF)
    size = 4 if scale < 0 else 2
    need = frames * (4 * count + analogue) * size
    raw = data[(block - 1) * 512 : (block - 1) * 512 + need]
    if len(raw) < need:
        raise ValueError(f"{frames} frames need {need} bytes, {len(raw)} are there")
    values = _reals(raw, order, processor) if size == 4 else np.frombuffer(raw, f"{order}i2").astype(float)
    points = values.reshape(frames, -1)[:, : 4 * count].reshape(frames, count, 4)
    joints = points[..., :3] * (1.0 if scale < 0 else scale)
    joints[points[..., 3] < 0] = np.nan
    unit = _UNITS.get(str(np.asarray(point.get("UNITS", ["mm"]))[0]).strip().lower(), 1e-3)
    names = [str(n).strip() for n in point.get("LABELS", [])][:count]
    names += [f"point_{i}" for i in range(len(names), count)]
    up = "y" if "Y" in str(np.asarray(point.get("Y_SCREEN", ["+Z"]))[0]).upper() else "z"
    return _skeleton(path, joints * unit, names, [-1] * count, rate, up)


def _reals(raw: bytes, order: str, processor: int) -> np.ndarray:
    """float64 of 32-bit reals; DEC's have their halves exchanged and a quarter of the value."""
    if processor != 2:
        return np.frombuffer(raw, f"{order}f4").astype(float)
    words = np.frombuffer(raw, "<u2").reshape(-1, 2)[:, ::-1]
    return np.frombuffer(np.ascontiguousarray(words).tobytes(), "<f4").astype(float) / 4


def _parameters(data: bytes, start: int, order: str, processor: int) -> dict[str, dict[str, Any]]:
    """{group: {parameter: array or list of texts}}; the chain of records ends at offset 0."""
    groups: dict[int, str] = {}
    found: dict[int, dict[str, Any]] = {}
    at = start + 4
    while at + 2 < len(data) and data[at] != 0:
        length, number = (
            abs(struct.unpack("b", data[at : at + 1])[0]),
            struct.unpack("b", data[at + 1 : at + 2])[0],
        )
        name = data[at + 2 : at + 2 + length].decode("ascii").upper()
        here = at + 2 + length
        step = struct.unpack(f"{order}h", data[here : here + 2])[0]
        if number < 0:
            groups[-number] = name
        else:
            found.setdefault(number, {})[name] = _parameter(data, here + 2, order, processor)
        if step <= 0:
            break
        at = here + step
    return {groups[number]: values for number, values in found.items() if number in groups}


def _parameter(data: bytes, at: int, order: str, processor: int) -> Any:
    """One value: texts as a list, numbers as a flat array."""
    kind, dimensions = struct.unpack("b", data[at : at + 1])[0], data[at + 1]
    shape = list(data[at + 2 : at + 2 + dimensions])
    count = int(np.prod(shape)) if shape else 1
    raw = data[at + 2 + dimensions : at + 2 + dimensions + count * abs(kind)]
    if kind == -1:
        width = shape[0] if shape else 1
        text = raw.decode("latin-1")
        return [text[i : i + width] for i in range(0, len(text), width)] if width else [""]
    if kind == 4:
        return _reals(raw, order, processor)
    return np.frombuffer(raw, "i1" if kind == 1 else f"{order}i2")
