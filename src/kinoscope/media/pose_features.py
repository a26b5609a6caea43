"""Pose features: root-centred joints turned to the shoulder line, their velocities and the root's.

For the 20 joints of the first Kinect that is 3*20 + 3*20 + 3 = 123 channels a frame. Shoulders, hips and root
are found by name in any skeleton: first and second Kinect, NTU, HDM05/CMU (ASF), COCO, BlazePose, SMPL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.media.skeleton import Motion, SkeletonFile

# The best name first. ASF bones carry the position of their far end: the clavicle's end is the shoulder,
# the end of `lhipjoint` the hip (`lhumerus` would be the elbow, `lfemur` the knee).
_SHOULDER = ("shoulder", "clavicle", "collar", "upperarm", "uparm", "arm")
_HIP = ("hip", "hipjoint", "upleg", "upperleg", "thigh")
_ROOT = ("hipcenter", "spinebase", "baseofthespine", "pelvis", "root", "hips", "midhip", "hip")


@dataclass(frozen=True)
class BodyPlan:
    """Indices of the joints that place a body: pairs are (left, right); root None: middle of the hips."""

    shoulders: tuple[int, int]
    hips: tuple[int, int]
    root: int | None


def body_plan(joint_names: Sequence[str]) -> BodyPlan:
    """Finds shoulders, hips and root by name. Raises KinoscopeError where a pair is not there.

    >>> body_plan(["left_shoulder", "right_shoulder", "left_hip", "right_hip"])
    BodyPlan(shoulders=(0, 1), hips=(2, 3), root=None)
    """
    plain = [re.sub(r"[^a-z]", "", name.lower()) for name in joint_names]
    sides = [_side(name) for name in joint_names]

    def pair(parts: tuple[str, ...], what: str) -> tuple[int, int]:
        for part in parts:
            found = [sides.index(key) for key in (("left", part), ("right", part)) if key in sides]
            if len(found) == 2:
                return found[0], found[1]
        raise KinoscopeError(
            f"no left and right {what} among the joints",
            field="joint_names",
            value=list(joint_names),
            remedy=f"name them like left_{what} and right_{what}",
        )

    root = next((plain.index(name) for name in _ROOT if name in plain), None)
    return BodyPlan(pair(_SHOULDER, "shoulder"), pair(_HIP, "hip"), root)


def _side(name: str) -> tuple[str, str]:
    """("left" | "right" | "", part) of a joint name; part in lower case letters."""
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    letters = re.sub(r"[^a-z]", "", words)
    for side in ("left", "right"):
        if letters.startswith(side) or letters.endswith(side):
            return side, letters.removeprefix(side).removesuffix(side)
    for side in ("left", "right"):
        short = side[0]
        if re.match(rf"{short}[^a-z]", words) or re.search(rf"[^a-z]{short}$", words):
            return side, letters[1:] if words.startswith(short) and not words[1].isalpha() else letters[:-1]
        if letters.startswith(short) and letters[1:] in (*_SHOULDER, *_HIP):
            return side, letters[1:]
    return "", letters


def y_up(joints: np.ndarray, up_axis: str) -> np.ndarray:
    """The same body with y up, by a rotation of the axes (handedness kept); (..., 3)."""
    turn = {"y": (0, 1, 2), "z": (1, 2, 0), "x": (2, 0, 1)}[up_axis]
    return joints[..., turn]


def fill_gaps(joints: np.ndarray) -> np.ndarray:
    """(T, V, 3) with missing (non-finite) values interpolated in time; joints never seen become zero."""
    if np.isfinite(joints).all():
        return joints
    filled = joints.reshape(len(joints), -1).copy()
    frames = np.arange(len(joints))
    for channel in filled.T:
        seen = np.isfinite(channel)
        channel[:] = np.interp(frames, frames[seen], channel[seen]) if seen.any() else 0.0
    return filled.reshape(joints.shape)


def aligned(
    joints: np.ndarray, plan: BodyPlan, up_axis: str = "y"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T, V, 3) world joints -> root-centred joints turned about the vertical so that the shoulder line
    points along x; the root (T, 3) in world axes; the turn (T,) in radians. Bodies without depth
    are not turned.

    The turn is the same for the whole motion (the mean shoulder line): a turn for every frame would take out
    the turning of the body itself, which tells where a kick begins.
    """
    body = fill_gaps(y_up(np.asarray(joints, np.float32), up_axis))
    root = body[:, plan.root] if plan.root is not None else body[:, list(plan.hips)].mean(1)
    centred = body - root[:, None]
    line = body[:, plan.shoulders[0]] - body[:, plan.shoulders[1]]
    short = np.hypot(line[:, 0], line[:, 2]) < 1e-6
    line = np.where(short[:, None], (body[:, plan.hips[0]] - body[:, plan.hips[1]]), line)
    flat = np.ptp(body[..., 2]) < 1e-6
    usual = line.mean(axis=0)
    turn = 0.0 if flat else np.arctan2(usual[2], usual[0])
    yaw = np.full(len(body), turn, np.float32)
    return turned(centred, yaw[:, None]), root, yaw


def turned(points: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Points turned by -yaw about y: a line at angle yaw in the x-z plane comes to lie on x."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([cos * x + sin * z, y, cos * z - sin * x], axis=-1)


def _velocity(values: np.ndarray, fps: float, smooth_s: float) -> np.ndarray:
    """Central differences in units a second, of places smoothed over time; zero for a single frame."""
    if len(values) < 2:
        return np.zeros_like(values)
    if smooth_s:
        from scipy.ndimage import gaussian_filter1d

        values = gaussian_filter1d(values, smooth_s * fps, axis=0, mode="nearest")
    return np.gradient(values, axis=0) * fps


def pose_features(motion: Motion, plan: BodyPlan, up_axis: str = "y", smooth_s: float = 0.0) -> np.ndarray:
    """(T, 6 V + 3) float32: aligned joints in metres, their velocities and the root's (turned like the body)
    in metres a second. A stream without motion gives finite numbers (zeros).

    smooth_s: deviation in seconds of the Gaussian that the places go through before they are differentiated:
    depth cameras jitter, and a difference of two frames is mostly jitter.
    """
    body, root, yaw = aligned(motion.joints, plan, up_axis)
    frames = len(body)
    speed = _velocity(body, motion.fps, smooth_s)
    travel = turned(_velocity(root, motion.fps, smooth_s), yaw)
    parts = [body.reshape(frames, -1), speed.reshape(frames, -1), travel]
    return np.concatenate(parts, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Standardiser:
    """Mean and standard deviation (C,) of the training streams; travels with the weights."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, features: Sequence[np.ndarray]) -> Standardiser:
        """From (T, C) arrays; constant channels get a deviation of 1, so they become zero."""
        frames = np.concatenate(features).astype(np.float64)
        std = frames.std(0)
        return cls(frames.mean(0).astype(np.float32), np.where(std > 1e-6, std, 1.0).astype(np.float32))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(T, C) float32, standardised."""
        if features.shape[1] != len(self.mean):
            raise KinoscopeError(
                f"the model was trained on {len(self.mean)} channels",
                field="features",
                value=features.shape[1],
                remedy="give the skeleton that the model was trained on",
            )
        return ((features - self.mean) / self.std).astype(np.float32)

    def undo(self, features: np.ndarray) -> np.ndarray:
        """Standardised (T, C) features back in their own units."""
        return features * self.std + self.mean

    def to_dict(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, list[float]]) -> Standardiser:
        return cls(np.array(values["mean"], np.float32), np.array(values["std"], np.float32))


def file_features(skeletons: SkeletonFile, smooth_s: float = 0.0) -> dict[str, np.ndarray]:
    """{name: (T, C) features} of all items of a file."""
    plan = body_plan(skeletons.joint_names)
    return {motion.name: pose_features(motion, plan, skeletons.up_axis, smooth_s) for motion in skeletons}
