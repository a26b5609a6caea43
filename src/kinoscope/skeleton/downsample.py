"""Raw clips to 50 frames: centred, resized, turned to face the camera (the arrays that AimCLR trains on).

1. Reproduced: the length counts frames in which joint 0 of the first body is there; centre and rotation
   are taken
   per frame and body. 2. A clip without any such frame raises instead of dividing by zero. 3. One
   interpolation
   matrix product instead of an image resize per body.
"""

from __future__ import annotations

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.media.layouts import NTU_25, Layout


def counted_length(x_CTVM: np.ndarray) -> int:
    """Number of frames in which joint 0 of body 0 is not at the origin."""
    return int(np.count_nonzero(np.abs(x_CTVM[:, :, 0, 0]).sum(0)))


def displaced(x_CTVM: np.ndarray, displacement: int = 1) -> np.ndarray:
    """x[:, t + d] - x[:, t]; zero in the last d frames."""
    out = np.zeros_like(x_CTVM)
    if displacement < x_CTVM.shape[1]:
        out[:, : x_CTVM.shape[1] - displacement] = x_CTVM[:, displacement:] - x_CTVM[:, :-displacement]
    return out


def resize(x_CTVM: np.ndarray, length: int, target: int) -> np.ndarray:
    """The first `length` frames, linearly interpolated to `target` (half-pixel centres); float64."""
    at = np.clip((np.arange(target) + 0.5) * length / target - 0.5, 0, length - 1)
    low = np.floor(at).astype(int)
    high, share = np.minimum(low + 1, length - 1), (at - low)[:, None, None]
    return x_CTVM[:, low] * (1 - share) + x_CTVM[:, high] * share


def face_camera(x_CTVM: np.ndarray, layout: Layout = NTU_25) -> np.ndarray:
    """Every frame of every body turned about the vertical so that its shoulders lie along x; float64."""
    left, right = layout.shoulders
    x = x_CTVM.astype(np.float64)
    across, depth = x[0, :, right] - x[0, :, left], x[2, :, right] - x[2, :, left]  # (T, M)
    theta = np.arccos(across / (np.hypot(across, depth) + 1e-4))
    theta = np.where(depth.sum(0) >= 0, -theta, theta)[:, None]
    cos, sin = np.cos(theta), np.sin(theta)
    return np.stack([cos * x[0] - sin * x[2], x[1], sin * x[0] + cos * x[2]])


def downsample(
    x_CTVM: np.ndarray,
    *,
    t_length: int = 50,
    data_type: str = "relative",
    sampling: str = "resize",
    y_rotation: bool = True,
    displacement: int = 1,
    layout: Layout = NTU_25,
    with_motion: bool = True,
) -> tuple[np.ndarray, np.ndarray | None, int]:
    """(position, motion, counted length) of one raw clip; arrays are float32 (C, t_length, V, M).

    data_type: "relative" (minus the centre joint) or "normal"; sampling: "resize" or "force_crop". Raises
    KinoscopeError where the clip is empty or a choice unknown.
    """
    for name, value, known in (
        ("data_type", data_type, ("relative", "normal")),
        ("sampling", sampling, ("resize", "force_crop")),
    ):
        if value not in known:
            raise KinoscopeError(
                "unknown choice", field=name, value=value, remedy=f"one of {', '.join(known)}"
            )
    t_length = min(t_length, 300)
    length = counted_length(x_CTVM)
    if length == 0:
        raise KinoscopeError(
            "the clip holds no skeleton: its first body is absent in every frame", field="joints"
        )
    raw = x_CTVM
    position = raw[:, : max(length, t_length)]
    if data_type == "relative":
        position = position - position[:, :, layout.centre : layout.centre + 1]
    motion = displaced(raw, displacement) if with_motion else None
    if sampling == "resize":
        position = resize(position, length, t_length)
        motion = None if motion is None else resize(motion, length, t_length)
    else:
        position = position[:, :t_length]
        motion = None if motion is None else motion[:, :t_length]
    position = position.astype(np.float32)
    if y_rotation:
        position = face_camera(position, layout)
    return position.astype(np.float32), None if motion is None else motion.astype(np.float32), length
