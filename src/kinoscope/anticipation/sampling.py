"""Which frames of a window are seen (S-GEAR specification 9.3), and class-balanced order (9.7).

Windows are in seconds and inclusive at both ends, as the official video reader has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Strategy = Literal["last_clip", "center_clip", "first_clip", "random_clip"]
STRATEGIES = ("last_clip", "center_clip", "first_clip", "random_clip")


@dataclass(frozen=True)
class FrameSampling:
    """num_frames T at frame_rate R frames a second (None: all native frames), anchored by strategy."""

    num_frames: int
    frame_rate: float | None = 1.0
    strategy: Strategy = "last_clip"

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.strategy not in STRATEGIES:
            raise ValueError(f"no such frame sampling: {self}")

    def window(
        self, start_s: float, end_s: float, fps: float, generator: np.random.Generator | None = None
    ) -> tuple[float, float]:
        """The seconds to read of [start_s, end_s] in a video of `fps`; `random_clip` draws from the generator."""
        a, b = max(start_s, 0.0), max(end_s, 0.0)
        frames = int(fps * (b - a))
        need = round(self.num_frames * fps / (self.frame_rate or fps))
        spare = max(frames - need, 0)
        first = 0
        if self.strategy == "last_clip":
            first = spare
        elif self.strategy == "center_clip":
            first = max((frames - need) // 2, 0)
        elif self.strategy == "random_clip" and spare > 0:
            first = int((generator or np.random.default_rng(42)).integers(spare))
        stop = min(b, a + (first + need) / fps)
        return max(min(a + first / fps, stop), 0.0), stop

    def kept(self, frames: int, fps: float) -> np.ndarray:
        """Which of the frames read are kept: (T,) int64, padded by repetition. Raises ValueError for none."""
        if frames < 1:
            raise ValueError("no frame was read")
        step = max(round(fps / (self.frame_rate or fps)), 1)
        last = self.strategy == "last_clip"
        chosen = np.arange(frames - 1, -1, -step)[::-1] if last else np.arange(0, frames, step)
        chosen = chosen[-self.num_frames :] if last else chosen[: self.num_frames]
        missing = self.num_frames - len(chosen)
        return np.pad(chosen, (missing, 0) if last else (0, missing), mode="edge").astype(np.int64)


def frame_times(start_s: float, end_s: float, frames: int) -> np.ndarray:
    """Seconds of the frames that were read of a window: (frames,) float32."""
    if start_s >= end_s:
        return np.full(frames, start_s, np.float32)
    return np.linspace(start_s, end_s, frames).astype(np.float32)


def frames_inside(start_s: float, end_s: float, fps: float, total: int) -> np.ndarray:
    """Numbers of the frames in a window, both ends included, of a video of `total` frames."""
    first, last = math.ceil(start_s * fps), math.floor(end_s * fps)
    return np.arange(max(first, 0), min(last, total - 1) + 1)


def balanced_index(counts: Mapping[int, int], index: int, generator: np.random.Generator) -> int:
    """Row of the label-sorted table for item `index` of a class-balanced epoch.

    counts: rows by label; classes without rows are left out. Every class gets the same share of an epoch.
    """
    present = [(label, n) for label, n in sorted(counts.items()) if n > 0]
    sizes = np.array([n for _, n in present])
    rows, most = int(sizes.sum()), int(sizes.max())
    stretched = round(index * (len(sizes) * most - 1) / max(rows - 1, 1))
    chosen = stretched // most
    return int(sizes[:chosen].sum() + generator.integers(sizes[chosen]))
