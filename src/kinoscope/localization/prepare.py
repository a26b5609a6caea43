"""Ego4D Moment Queries: official annotations and whole-video features to clips (ActionFormer specification 3.6).

Read below SOURCE: annotations/moments_{train,val}.json, features/slowfast8x8_r101_k400/<video>.pt and
features/omnivore_video_swinl/<video>.pt (tensors [T, C]), ego4d_label_map.txt where it is there. Written below
TARGET, as the recipes read it: slowfast_features/<clip>.npy, omnivore_features/<clip>.npy, annotations/ego4d.json.
EgoVLP features come as clips already.

Differences from the official script:
1. a video whose SlowFast file is missing, or whose features are too short for a clip, is left out and named;
2. it can be stopped and started again: clips that are there are not written twice;
3. without a label map, labels are numbered by their order among the primary labels of the training file, which
   gives the official numbers.
The last full window of a clip is left out, as in the official script.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinoscope.engine.files import write_bytes, write_json
from kinoscope.errors import KinoscopeError
from kinoscope.localization.evaluate import read_json

WINDOW, STRIDE = 32, 16  # frames of a feature, and between features
SOURCES = {"slowfast_features": "slowfast8x8_r101_k400", "omnivore_features": "omnivore_video_swinl"}
SUBSETS = {"train": "training", "val": "validation"}
SHORTEST_S = 0.25  # annotations below this do not count
RATES = (10, 100)  # frames a second; a clip outside has wrong times


@dataclass(frozen=True)
class Clip:
    """A clip on the feature grid of its video: rows [first, last) of the features, and its annotations."""

    uid: str
    first: int
    last: int
    duration_s: float
    fps: float
    annotations: list[dict[str, Any]]


def prepare(dataset: str, source: Path, target: Path) -> dict[str, Any]:
    """Converts all clips; {"clips", "written", "skipped"}. Raises KinoscopeError where SOURCE is another folder."""
    if dataset != "ego4d":
        raise KinoscopeError("there is nothing to prepare for this data set", value=dataset, remedy="ego4d")
    videos = _videos(source)
    labels = _labels(source, videos)
    database: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    written = 0
    for number, video in enumerate(videos, 1):
        uid = str(video["video_uid"])
        new = 0
        try:
            for clip, fresh in _converted(video, labels, source, target, skipped):
                new += fresh
                if clip.annotations:
                    database[clip.uid] = _entry(clip, video)
        except KinoscopeError as error:
            skipped[uid] = str(error)
        written += new
        if new:
            write_json(target / "annotations" / "ego4d.json", {"version": "v1", "database": database})
            print(f"{number} of {len(videos)} videos, {written} clips written", file=sys.stderr)
    write_json(target / "annotations" / "ego4d.json", {"version": "v1", "database": database})
    for name, why in skipped.items():
        print(f"left out: {name}: {why}", file=sys.stderr)
    return {"clips": len(database), "written": written, "skipped": skipped}


def _videos(source: Path) -> list[dict[str, Any]]:
    files = [source / "annotations" / f"moments_{part}.json" for part in SUBSETS]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise KinoscopeError(
            "this is no folder of the official Ego4D download",
            file=source,
            value=missing,
            remedy="expected annotations/moments_train.json, annotations/moments_val.json and features/",
        )
    videos: list[dict[str, Any]] = []
    for file in files:
        data = read_json(file)
        if not isinstance(data, dict) or not isinstance(data.get("videos"), list):
            raise KinoscopeError("this is no moments file", file=file, field="videos")
        videos += data["videos"]
    return videos


def _primary(clip: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The primary labels of all annotators of a clip."""
    for annotator in clip.get("annotations") or ():
        yield from (row for row in annotator.get("labels") or () if row.get("primary"))


def _labels(source: Path, videos: list[dict[str, Any]]) -> dict[str, int]:
    """Label -> number, from the label map, else from the training annotations."""
    file = source / "ego4d_label_map.txt"
    if file.is_file():
        lines = file.read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t", 1) for line in lines if line.strip()]
        return {label: int(number) for number, label in rows}
    training = [video for video in videos if video.get("split") == "train"]
    names = {row["label"] for video in training for clip in video["clips"] for row in _primary(clip)}
    return {name: number for number, name in enumerate(sorted(names))}


def on_grid(clip: dict[str, Any], labels: dict[str, int]) -> Clip:
    """A clip of the official annotations, widened to whole features. Raises KinoscopeError for wrong times."""
    start_s, start = max(clip["video_start_sec"], 0), max(int(clip["video_start_frame"]), 0)
    duration, frames = clip["video_end_sec"] - start_s, int(clip["video_end_frame"]) - start
    fps = frames / duration if duration > 0 else 0.0
    if not RATES[0] <= fps <= RATES[1]:
        raise KinoscopeError("its frames and seconds disagree", field="fps", value=round(fps, 2))
    before = start % STRIDE
    after = -(frames + before - WINDOW) % STRIDE
    shift_s = before / fps
    rows = []
    for row in _primary(clip):
        begin, end = (row[f"video_{side}_time"] - start_s + shift_s for side in ("start", "end"))
        if end - begin < SHORTEST_S:
            continue
        if row["label"] not in labels:
            raise KinoscopeError("a label is not in the label map", field="label", value=row["label"])
        span = [int(row[f"video_{side}_frame"]) - start + before for side in ("start", "end")]
        rows.append(
            {
                "label": row["label"],
                "segment": [round(begin, 2), round(end, 2)],
                "segment(frames)": span,
                "label_id": labels[row["label"]],
            }
        )
    return Clip(
        str(clip["clip_uid"]),
        (start - before) // STRIDE,
        (start + frames + after - WINDOW) // STRIDE,
        duration + (before + after) / fps,
        fps,
        rows,
    )


def _entry(clip: Clip, video: dict[str, Any]) -> dict[str, Any]:
    split = str(video.get("split"))
    return {
        "subset": SUBSETS.get(split, split),
        "duration": round(clip.duration_s, 2),
        "fps": round(clip.fps, 2),
        "annotations": clip.annotations,
    }


def _converted(
    video: dict[str, Any], labels: dict[str, int], source: Path, target: Path, skipped: dict[str, str]
) -> Iterator[tuple[Clip, bool]]:
    """Clips of a video whose features are in TARGET, each with whether they have just been written."""
    uid = str(video["video_uid"])
    files = {folder: source / "features" / kind / f"{uid}.pt" for folder, kind in SOURCES.items()}
    if missing := [str(file) for file in files.values() if not file.is_file()]:
        raise KinoscopeError("its features are missing", value=missing)
    whole: dict[str, np.ndarray] = {}
    for raw in video["clips"]:
        try:
            clip = on_grid(raw, labels)
            fresh = not all(_is_there(target / folder / f"{clip.uid}.npy", clip) for folder in files)
            if fresh:
                whole = whole or {folder: _read(file) for folder, file in files.items()}
                _write(clip, whole, target)
        except KinoscopeError as error:
            skipped[str(raw["clip_uid"])] = str(error)
            continue
        yield clip, fresh


def _is_there(file: Path, clip: Clip) -> bool:
    if not file.is_file():
        return False
    try:
        return len(np.load(file, mmap_mode="r")) == clip.last - clip.first
    except (OSError, ValueError, EOFError):
        return False


def _read(file: Path) -> np.ndarray:
    try:
        tensor = torch.load(file, map_location="cpu", weights_only=True)
        return np.asarray(tensor.float().numpy(), np.float32)
    except (OSError, RuntimeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise KinoscopeError(
            "these features cannot be read", file=file, value=str(error)[:200], remedy="download them again"
        ) from error


def _write(clip: Clip, whole: dict[str, np.ndarray], target: Path) -> None:
    for folder, values in whole.items():
        if clip.last > len(values) or clip.last <= clip.first:
            raise KinoscopeError(
                f"rows {clip.first} to {clip.last} are wanted of {len(values)}", field=folder, value=clip.uid
            )
    for folder, values in whole.items():
        buffer = io.BytesIO()
        np.save(buffer, values[clip.first : clip.last])
        write_bytes(target / folder / f"{clip.uid}.npy", buffer.getvalue())
