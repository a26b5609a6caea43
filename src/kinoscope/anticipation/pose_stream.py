"""Features of a growing motion: what a frame becomes depends on the frames before it and on nothing later.

Joints about the root, turned to the mean shoulder line so far, with speeds from one frame back; the root's speed. A
joint that is missing keeps its last place. A motion pushed in pieces gives what it gives as a whole.
"""

from __future__ import annotations

import numpy as np

from kinoscope.media.pose_features import BodyPlan, y_up
from kinoscope.media.skeleton import STILL_M


class PoseStream:
    """One motion; `push` takes its next frames."""

    def __init__(self, plan: BodyPlan, fps: float, up_axis: str) -> None:
        self.plan, self.fps, self.up_axis = plan, fps, up_axis
        self._body: np.ndarray | None = None  # (V, 3) the last frame, gaps filled
        self._line = np.zeros(2)  # sum of the shoulder lines, x and z
        self._low, self._high = np.inf, -np.inf  # depth so far

    def push(self, joints_FVC: np.ndarray) -> np.ndarray:
        """(F, V, 3) world coordinates in metres to (F, 6 V + 3) float32."""
        body = self._carried(y_up(np.asarray(joints_FVC, np.float32), self.up_axis))
        before = body[:1] if self._body is None else self._body[None]
        whole = np.concatenate([before, body])
        root = self._root(whole)
        centred = whole - root[:, None]
        angle = self._angle(body)
        parts = [centred[1:], np.diff(centred, axis=0) * self.fps, np.diff(root, axis=0)[:, None] * self.fps]
        self._body = body[-1]
        return np.concatenate(
            [turned(x, angle).reshape(len(body), -1) for x in parts], axis=1, dtype=np.float32
        )

    def _root(self, body: np.ndarray) -> np.ndarray:
        plan = self.plan
        return body[:, plan.root] if plan.root is not None else body[:, list(plan.hips)].mean(1)

    def _carried(self, body: np.ndarray) -> np.ndarray:
        if np.isfinite(body).all():
            return body
        before = np.zeros_like(body[:1]) if self._body is None else self._body[None]
        whole = np.concatenate([before, body]).reshape(len(body) + 1, -1)
        seen = np.isfinite(whole)
        newest = np.maximum.accumulate(np.where(seen, np.arange(len(whole))[:, None], 0), axis=0)
        return np.take_along_axis(whole, newest, axis=0)[1:].reshape(body.shape)

    def _angle(self, body: np.ndarray) -> np.ndarray:
        """(F,) where the mean shoulder line so far points; 0 for a body without depth."""
        shoulders, hips = (body[:, a] - body[:, b] for a, b in (self.plan.shoulders, self.plan.hips))
        short = np.hypot(shoulders[:, 0], shoulders[:, 2]) < STILL_M
        line = np.where(short[:, None], hips, shoulders)[:, [0, 2]].astype(np.float64)
        so_far = np.cumsum(np.concatenate([self._line[None], line]), axis=0)[1:]
        low = np.minimum.accumulate(np.append(self._low, body[..., 2].min(axis=1)))[1:]
        high = np.maximum.accumulate(np.append(self._high, body[..., 2].max(axis=1)))[1:]
        self._line, self._low, self._high = so_far[-1], low[-1], high[-1]
        return np.where(high - low < STILL_M, 0.0, np.arctan2(so_far[:, 1], so_far[:, 0]))


def turned(points_FVC: np.ndarray, angle_F: np.ndarray) -> np.ndarray:
    """Points turned by -angle about y: a line at that angle in the x-z plane comes to lie on x."""
    cos, sin = np.cos(angle_F)[:, None], np.sin(angle_F)[:, None]
    x, y, z = np.moveaxis(points_FVC, -1, 0)
    return np.stack([cos * x + sin * z, y, cos * z - sin * x], axis=-1)
