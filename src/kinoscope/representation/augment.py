"""Random changes of pose features: channels shifted, stretched and dropped, the body turned about the vertical.

Shapes: T frames, V joints, C = 6 V + 3 channels as `kinoscope.media.pose_features` lays them out. One draw holds for
the whole view, as one draw of colours holds for a whole clip of video in CARL.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PoseAugment:
    """noise: shift of channels in standard deviations; scale: stretch; drop: share of channels; rotation in degrees."""

    noise: float = 0.1
    scale: float = 0.1
    drop: float = 0.1
    rotation_deg: float = 15.0

    def turn(self, x_TC: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        """Poses and velocities turned by one random angle; features in metres, before they are standardised."""
        if not self.rotation_deg:
            return x_TC
        angle = math.radians(draws.uniform(-self.rotation_deg, self.rotation_deg))
        return turned(x_TC, angle)

    def change(self, x_TC: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        """Standardised features with every channel shifted and stretched, and some of them set to their mean."""
        width = x_TC.shape[1]
        factor = 1 + draws.uniform(-self.scale, self.scale, width)
        shift = self.noise * draws.standard_normal(width)
        kept = draws.uniform(size=width) >= self.drop
        return ((x_TC * factor + shift) * kept).astype(np.float32)


def turned(x_TC: np.ndarray, angle: float) -> np.ndarray:
    """All vectors of the features turned by `angle` (radians) about the vertical, which is y."""
    vectors = x_TC.reshape(len(x_TC), -1, 3)
    cos, sin = math.cos(angle), math.sin(angle)
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return np.stack([cos * x - sin * z, y, sin * x + cos * z], axis=-1).reshape(x_TC.shape).astype(np.float32)
