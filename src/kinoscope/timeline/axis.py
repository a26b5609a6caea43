"""The axis of a feature sequence: which frames a step covers, and where it lies in seconds.

Step i covers the frames [i * stride_frames + offset_frames, ... + window_frames) of a video of `fps`
frames a second; its place in time is the middle of that window.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kinoscope.errors import KinoscopeError


@dataclass(frozen=True)
class TimeAxis:
    """Frame rate, stride, window and offset of a feature sequence.

    >>> thumos = TimeAxis(fps=30, stride_frames=4, window_frames=16)
    >>> float(thumos.steps(1.2)), float(thumos.seconds(7))
    (7.0, 1.2)
    """

    fps: float
    stride_frames: float
    window_frames: float
    offset_frames: float = 0.0

    def __post_init__(self) -> None:
        for name in ("fps", "stride_frames", "window_frames"):
            value = getattr(self, name)
            if not (value > 0 and np.isfinite(value)):
                raise KinoscopeError(
                    "a time axis needs a positive number", field=name, value=value, remedy=f"give {name} > 0"
                )

    def seconds(self, steps: ArrayLike) -> np.ndarray:
        """Middle of the given (fractional) steps in seconds; float64, the shape of the input."""
        frames = np.asarray(steps, np.float64) * self.stride_frames + 0.5 * self.window_frames
        return (frames + self.offset_frames) / self.fps

    def steps(self, seconds: ArrayLike) -> np.ndarray:
        """Fractional steps of the given seconds; inverse of `seconds`, may be slightly negative near 0 s."""
        frames = np.asarray(seconds, np.float64) * self.fps - self.offset_frames - 0.5 * self.window_frames
        return frames / self.stride_frames

    def every(self, n: int) -> TimeAxis:
        """Axis of the sequence that keeps steps 0, n, 2n, ..."""
        return TimeAxis(self.fps, self.stride_frames * n, self.window_frames, self.offset_frames)

    def covered_s(self, length: int) -> float:
        """End in seconds of the last window of a sequence of `length` steps."""
        last = (length - 1) * self.stride_frames + self.window_frames + self.offset_frames
        return float(last / self.fps)

    def to_dict(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TimeAxis:
        return cls(**values)
