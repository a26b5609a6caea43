"""LMDB features of RULSTM and AVT (S-GEAR specification 9.4): the keys that are needed, and no others.

Key: `<video>_frame_<10 digits>.jpg`, frames at 30 per second from 1; value: raw float32. A missing frame is
searched among nine earlier ones, then is zeros.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import lmdb
import numpy as np

from kinoscope.anticipation.sampling import FrameSampling, frame_times
from kinoscope.errors import KinoscopeError

FPS = 30.0
PROBES = 10
# A process may open a folder once, and an environment must not cross a fork: (process, folder) -> environment.
_OPEN: dict[tuple[int, str], lmdb.Environment] = {}
ReadType = Literal["normal", "exact_rulstm"]


@dataclass(frozen=True)
class FeatureWindow:
    """features (T, D), their seconds (T,), which of the `frames_read` frames they are (T,)."""

    features: np.ndarray
    seconds: np.ndarray
    kept: np.ndarray
    frames_read: int


def window_frames(start_s: float, end_s: float, read_type: ReadType = "normal") -> np.ndarray:
    """Frame numbers of a window, ascending; those before the video are replaced by the first in it."""
    if read_type == "exact_rulstm":
        frames = np.floor((end_s - np.arange(10, -1, -1) * 0.25) * FPS).astype(np.int64)
    elif read_type == "normal":
        frames = np.arange(math.floor(start_s * FPS) + 1, math.floor(end_s * FPS) + 1)
    else:
        raise ValueError(f"read type {read_type!r}")
    inside = frames[frames >= 1]
    if not len(inside):
        raise KinoscopeError(
            "the window holds no frame of the video",
            value=(start_s, end_s),
            remedy="leave the segment out: it starts before the anticipation time has passed",
        )
    return np.where(frames < 1, inside.min(), frames)


class FeatureStore:
    """One or several LMDB folders; several are joined along the features, in order."""

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self.folders = [Path(folder) for folder in folders]
        for folder in self.folders:
            if not (folder / "data.mdb").is_file():
                raise KinoscopeError(
                    "there is no LMDB store", file=folder, remedy="give the folder of data.mdb"
                )

    def _environments(self) -> list[lmdb.Environment]:
        keys = [(os.getpid(), str(folder.resolve())) for folder in self.folders]
        for key, folder in zip(keys, self.folders, strict=True):
            if key not in _OPEN:
                _OPEN[key] = lmdb.open(str(folder), readonly=True, lock=False, readahead=False)
        return [_OPEN[key] for key in keys]

    def close(self) -> None:
        """Closes the folders in this process, for all stores that read them."""
        for folder in self.folders:
            environment = _OPEN.pop((os.getpid(), str(folder.resolve())), None)
            if environment is not None:
                environment.close()

    def videos(self) -> list[tuple[str, float]]:
        """(video, seconds until its last feature) of the first store, sorted."""
        last: dict[str, int] = {}
        with self._environments()[0].begin() as transaction:
            for key in transaction.cursor().iternext(keys=True, values=False):
                name, found, number = key.decode().rpartition("_frame_")
                if found:
                    last[name] = max(last.get(name, 0), int(number.partition(".")[0]))
        return [(video, last[video] / FPS) for video in sorted(last)]

    def frames(self, video: str, numbers: np.ndarray) -> np.ndarray:
        """(n, D) float32 of the given frame numbers. Raises KinoscopeError where a store has none of them."""
        return np.concatenate([self._read(i, video, numbers) for i in range(len(self.folders))], axis=1)

    def _read(self, which: int, video: str, numbers: np.ndarray) -> np.ndarray:
        found: dict[int, np.ndarray | None] = {}
        with self._environments()[which].begin(buffers=True) as transaction:
            for number in np.unique(numbers).tolist():
                found[number] = None
                for earlier in range(number, number - PROBES, -1):
                    held = transaction.get(f"{video}_frame_{earlier:010d}.jpg".encode())
                    if held is not None:
                        found[number] = np.frombuffer(held, np.float32).copy()
                        break
        width = next((len(vector) for vector in found.values() if vector is not None), None)
        if width is None:
            raise KinoscopeError(
                "the store holds no feature of this window",
                file=self.folders[which],
                field=video,
                value=f"frames {int(numbers.min())} to {int(numbers.max())}",
                remedy="check the video's name and that the store belongs to this data set",
            )
        blank = np.zeros(width, np.float32)
        vectors = {number: blank if vector is None else vector for number, vector in found.items()}
        return np.stack([vectors[number] for number in numbers.tolist()])

    def window(
        self,
        video: str,
        start_s: float,
        end_s: float,
        sampling: FrameSampling,
        read_type: ReadType = "normal",
        generator: np.random.Generator | None = None,
    ) -> FeatureWindow:
        """Features of the sampled frames of [start_s, end_s]."""
        start, end = sampling.window(start_s, end_s, FPS, generator)
        numbers = window_frames(start, end, read_type)
        kept = sampling.kept(len(numbers), FPS)
        features = self.frames(video, numbers[kept])
        return FeatureWindow(features, frame_times(start, end, len(numbers))[kept], kept, len(numbers))
