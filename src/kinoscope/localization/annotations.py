"""Annotation files of the ActivityNet kind, as data to train on (ActionFormer specification 3.1).

{"database": {video: {"subset", "duration", "fps", "annotations": [{"label", "label_id", "segment": [s, s]}]}}}

Differences from the official readers: `annotations` may be missing from any video; `label_id` may be missing from
all, ids then being the places of the sorted labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.localization.evaluate import annotation, distinct, label_names_of, read_database

UNKNOWN_S = 1e8  # the official stand-in for a video without a duration


@dataclass(frozen=True)
class Video:
    """One entry: its subset in lower case, duration (s) and fps where given, rows (start_s, end_s, label)."""

    subset: str
    duration_s: float | None
    fps: float | None
    rows: tuple[tuple[float, float, int], ...]

    @property
    def segments_s(self) -> np.ndarray:
        return np.array([row[:2] for row in self.rows], np.float32).reshape(-1, 2)

    @property
    def labels(self) -> np.ndarray:
        return np.array([row[2] for row in self.rows], np.int64)

    def without_repetitions(self) -> Video:
        return Video(self.subset, self.duration_s, self.fps, tuple(distinct(list(self.rows))))


@dataclass(frozen=True)
class Annotations:
    """All videos of a file, by id, and the names of the labels by number."""

    path: Path
    label_names: tuple[str, ...]
    videos: dict[str, Video]

    @classmethod
    def read(cls, path: Path) -> Annotations:
        """Raises KinoscopeError for a file, a video or a segment that cannot be read."""
        if not str(path) or path == Path():
            raise KinoscopeError(
                "which annotation file?", field="data.annotations", remedy="set data.annotations=FILE.json"
            )
        database = read_database(path)
        names = label_names_of(database, path)
        videos = {}
        for video, entry in database.items():
            rows = tuple(annotation(row, names, video, path) for row in entry.get("annotations") or ())
            subset = str(entry.get("subset", "")).lower()
            duration, fps = (_number(entry.get(key), key, video, path) for key in ("duration", "fps"))
            videos[video] = Video(subset, duration, fps, rows)
        return cls(path, names, videos)

    @property
    def used_labels(self) -> set[int]:
        return {row[2] for video in self.videos.values() for row in video.rows}

    def ids(self, subsets: Sequence[str]) -> list[str]:
        """Videos of the subsets, in the file's order."""
        wanted = {subset.lower() for subset in subsets}
        return [name for name, video in self.videos.items() if video.subset in wanted]


def _number(value: object, key: str, video: str, path: Path) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or not np.isfinite(value) or value <= 0:
        raise KinoscopeError(f"the {key} of {video} is no positive number", file=path, field=key, value=value)
    return float(value)
