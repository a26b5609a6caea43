"""A user's own videos as training and test data: frozen features of their frames, cached, no label needed to train.

A frame is what an image network makes of it (`kinoscope.encoders`); the features of a folder are computed once and
kept, so that training on them takes minutes. Subfolders, or a CSV file, name the action of a video; phases of frames
come from an annotation file of any known tool. Both serve the evaluation alone.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope import encoders
from kinoscope.builtin import resolve
from kinoscope.encoders.extract import features_of
from kinoscope.encoders.folder import extract_all
from kinoscope.errors import KinoscopeError
from kinoscope.media.labelled import read_database
from kinoscope.media.pose_features import Standardiser
from kinoscope.media.store import FeatureStore
from kinoscope.media.video import VideoReader
from kinoscope.media.video_files import named_videos
from kinoscope.representation.data import Clip
from kinoscope.representation.settings import VideosData
from kinoscope.timeline import TimeAxis


def listed(given: str | Sequence[str], field: str) -> dict[Path, str]:
    """{video: class or ""} of a folder, a CSV file of `path,class` (the class may be left out), or a list of videos."""
    places = [given] if isinstance(given, str) else list(given)
    if not places or not all(places):
        raise KinoscopeError(
            "which videos?", field=field, remedy=f"{field}=FOLDER, a CSV file, or [a.mp4, b.mp4]"
        )
    found: dict[Path, str] = {}
    for place in map(resolve, places):
        if not place.exists():
            raise KinoscopeError("there is no such video or folder", file=place, field=field)
        if place.suffix.lower() == ".csv":
            found |= _from_csv(place)
            continue
        for name, path in named_videos([place]).items():
            found[path] = str(Path(name).parent) if place.is_dir() and "/" in name else ""
    return found


def _from_csv(file: Path) -> dict[Path, str]:
    rows = [
        row for row in csv.reader(file.read_text(encoding="utf-8").splitlines()) if row and row[0].strip()
    ]
    if rows and rows[0][0].strip().lower() in ("path", "video", "file"):
        rows = rows[1:]
    if not rows:
        raise KinoscopeError("this list names no video", file=file, remedy="one `path,class` a line")
    return {file.parent / row[0].strip(): row[1].strip() if len(row) > 1 else "" for row in rows}


class VideoSource:
    """Training and test clips of videos. Raises KinoscopeError where no training video can be read."""

    def __init__(self, data: VideosData) -> None:
        self.skipped: dict[str, str] = {}
        self.encoder = encoders.create(data.encoder, data.weights)
        self.sampling = encoders.Sampling(fps=data.fps)
        train = listed(data.train, "data.train")
        test = {} if data.test is None else listed(data.test, "data.test")
        self.label_names = tuple(sorted({name for name in (*train.values(), *test.values()) if name}))
        store, failed = self._extracted({str(p.resolve()): p for p in (*train, *test)}, data.cache)
        phases = _Phases(data.labels)
        self.axes: dict[str, TimeAxis] = {}
        self.train, self.test = (
            [clip for path, name in part.items() if (clip := self._clip(path, name, store, failed, phases))]
            for part in (train, test)
        )
        self.phase_names = tuple(phases.names)
        if not self.train:
            raise KinoscopeError(
                "not one training video can be used",
                field="data.train",
                value=dict(list(self.skipped.items())[:3]),
            )
        self.standardise = Standardiser.fit([clip.features for clip in self.train])

    def _extracted(self, videos: dict[str, Path], cache: str | None) -> tuple[FeatureStore, dict[str, str]]:
        """The store with the features of all videos; those that were there already are not computed again."""
        told = json.dumps([sorted(videos), self.encoder.identity, self.sampling.model_dump()], sort_keys=True)
        root = (
            Path(cache)
            if cache
            else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "kinoscope"
        )
        folder = root / hashlib.sha256(told.encode()).hexdigest()[:16]
        summary = extract_all(
            self.encoder,
            self.sampling,
            videos,
            folder,
            report=lambda line: print(line, file=sys.stderr, flush=True),
        )
        if not summary.videos and not summary.skipped:
            name, why = next(iter(summary.failed.items()))
            raise KinoscopeError(f"not one video can be read: {why}", field=name)
        return FeatureStore(folder), summary.failed

    def _clip(
        self, path: Path, name: str, store: FeatureStore, failed: dict[str, str], phases: _Phases
    ) -> Clip | None:
        key = str(path.resolve())
        if key in failed:
            self.skipped[path.name] = failed[key]
            return None
        rows = np.array(store.features(key), np.float32)
        if len(rows) < 2:
            self.skipped[path.name] = "it has one frame; an embedding of frames needs two"
            return None
        axis = self.axes[path.stem] = store.axis(key)
        label = self.label_names.index(name) if name else -1
        return Clip(path.stem, rows, label, frame_labels=phases.of(path.stem, axis, len(rows)))

    def baselines(self) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
        """The frozen features themselves, of length one."""
        unit = [
            [
                x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
                for x in (c.features for c in clips)
            ]
            for clips in (self.train, self.test)
        ]
        return {"frozen_features": (unit[0], unit[1])}

    def about(self) -> dict[str, Any]:
        return {
            "label_names": list(self.label_names),
            "input": "videos",
            "encoder": {**self.encoder.identity, "sampling": self.sampling.model_dump(mode="json")},
        }


class _Phases:
    """Phases of frames out of an annotation file; without one there are none."""

    def __init__(self, file: str | None) -> None:
        self.rows = {} if file is None else read_database(file)
        self.names = sorted({row["label"] for entry in self.rows.values() for row in entry["annotations"]})
        self.file = file

    def of(self, video: str, axis: TimeAxis, frames: int) -> np.ndarray | None:
        """(T,) the phase of each frame, -1 outside every segment; None where the file has nothing on the video.

        Raises KinoscopeError for labels that reach beyond the video: they belong to another one.
        """
        if video not in self.rows:
            return None
        seconds, labels = axis.seconds(np.arange(frames)), np.full(frames, -1)
        for row in self.rows[video]["annotations"]:
            start, end = row["segment"]
            if end > axis.covered_s(frames) + 1:
                raise KinoscopeError(
                    f"labels reach to {end:.2f} s, the video to {axis.covered_s(frames):.2f} s",
                    file=self.file,
                    field=video,
                    remedy="give the labels of this video, in seconds",
                )
            labels[(seconds >= start) & (seconds < end)] = self.names.index(row["label"])
        return labels


def frame_features(
    path: str | Path, encoder: Any, sampling: encoders.Sampling
) -> tuple[np.ndarray, TimeAxis]:
    """Features (T, C) of one video and where its rows lie. encoder: what `kinoscope.encoders.create` gives."""
    if hasattr(encoder, "of_video"):
        whole = encoder.of_video(Path(path), sampling)
        return np.asarray(whole.values), whole.axis
    with VideoReader(path, **encoder.preparation.reader_options()) as video:
        rows = np.concatenate(list(features_of(video, encoder, sampling)))
        return rows, sampling.axis(video.info.fps)
