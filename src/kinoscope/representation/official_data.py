"""The official data-set files: pickles of Pouring, Penn Action and FineGym, the list of Kinetics-400 (section 7)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.representation.evaluate import first_videos
from kinoscope.representation.official_files import read_pickle

# Files of Kinetics-400 that the official program leaves out
DAMAGED = (
    "blowing out candles/4o5v7aDXU9k_000000_000010.mp4",
    "marching/uLaU_15HYdo_000002_000012.mp4",
    "lunge/pNvkk7VDOws_000001_000011.mp4",
    "bandaging/HvaU7W635to_000853_000863.mp4",
)


@dataclass(frozen=True)
class Entry:
    """One video of a data set. frame_label (seq_len,) int64, -1 for unlabelled; label: of the action or event."""

    id: int
    name: str
    video_file: str
    seq_len: int
    frame_label: np.ndarray
    label: int = -1


def read_entries(path: Path, fraction: float = 1.0, action: int | None = None) -> list[Entry]:
    """Videos of train.pkl, val.pkl or a FineGym pickle, in the order of the file.

    fraction: the first share of them (one at least), as the supervised baseline takes it. action: only videos of this
    action label (Penn Action). Raises KinoscopeError for a file of another shape, or labels of another length.
    """
    content = read_pickle(path)
    rows = content[0] if isinstance(content, tuple) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise KinoscopeError(
            "this pickle is no list of videos",
            file=path,
            value=type(content).__name__,
            remedy="give train.pkl",
        )
    entries = [_entry(row, path) for row in rows]
    if fraction < 1:
        entries = entries[: first_videos(fraction, len(entries))]
    return [entry for entry in entries if action is None or entry.label == action]


def _entry(row: dict[str, Any], path: Path) -> Entry:
    try:
        labels = np.asarray(row["frame_label"])
        entry = Entry(
            int(row["id"]),
            str(row["name"]),
            str(row["video_file"]),
            int(row["seq_len"]),
            labels.astype(np.int64),
            int(row.get("action_label", row.get("event_label", -1))),
        )
    except KeyError as error:
        raise KinoscopeError(
            "a video lacks an entry", file=path, field=str(error.args[0]), value=row.get("name")
        ) from error
    if len(labels) != entry.seq_len:
        raise KinoscopeError(
            "a video has labels of another length",
            file=path,
            field=f"{entry.name}.frame_label",
            value=len(labels),
            remedy=f"give {entry.seq_len} labels, one a frame",
        )
    return entry


def read_kinetics(path: Path) -> list[tuple[str, str]]:
    """[(file, label)] of train.csv without the files that are known to be damaged."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    wrong = next((k for k, row in enumerate(rows) if len(row) != 2), None)
    if wrong is not None:
        raise KinoscopeError(
            "a row must be a file and a label", file=path, field=f"row {wrong + 1}", value=rows[wrong]
        )
    return [(name, label) for name, label in rows if not _damaged(name, DAMAGED)]


def _damaged(name: str, known: Sequence[str]) -> bool:
    return any(name.endswith(f"train/{bad}") for bad in known)
