"""Encoders that take a video as a whole, by its file, where others are handed pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kinoscope.encoders.sampling import Sampling
from kinoscope.timeline import TimeAxis


@dataclass(frozen=True)
class Rows:
    """Features (T, C) of one video on their axis; `frames` were looked at; problem: what was wrong with the file."""

    values: np.ndarray
    axis: TimeAxis
    frames: int
    problem: str | None = None


@runtime_checkable
class WholeVideoEncoder(Protocol):
    """What `extract_all` needs of such an encoder."""

    name: str
    channels: int

    @property
    def identity(self) -> dict[str, Any]:
        """Name and weights as plain values."""

    def of_video(self, path: Path, sampling: Sampling) -> Rows:
        """Raises KinoscopeError for a video that cannot be read."""
