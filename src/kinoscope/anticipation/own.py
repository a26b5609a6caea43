"""Segments of one's own: a CSV `video,start_s,end_s,label`, seconds and class names; nothing else is needed."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.anticipation.annotations import ActionList, Segments
from kinoscope.errors import KinoscopeError

COLUMNS = ("video", "start_s", "end_s", "label")


def is_own(path: str | Path) -> bool:
    """Whether a file begins with our header."""
    try:
        with open(path, encoding="utf-8") as file:
            head = {cell.strip() for cell in file.readline().split(",")}
    except (OSError, UnicodeDecodeError):
        return False
    return set(COLUMNS) <= head


def own_classes(path: str | None, files: Sequence[str]) -> ActionList:
    """The classes: a text file with one name a line, or the labels of the files, sorted."""
    if path is not None:
        names = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    else:
        names = sorted({row["label"] for file in files for row in _rows(file) if row.get("label")})
    if not names:
        raise KinoscopeError("there is no class", file=path or (files[0] if files else None), field="label")
    return ActionList(tuple(names), tuple((0, 0) for _ in names), 1, 1)


def read_own(files: Sequence[str], actions: ActionList) -> Segments:
    """The segments of one or several files; a row that cannot be read costs that row."""
    place = {name: k for k, name in enumerate(actions.names)}
    rows: list[tuple[str, float, float, int]] = []
    skipped: dict[str, str] = {}
    for path in files:
        for number, row in enumerate(_rows(path), start=2):
            try:
                start, end = float(row["start_s"]), float(row["end_s"])
                if not (row["video"] and 0 <= start < end < float("inf")):
                    raise ValueError(f"no segment from {start} to {end} s of {row['video']!r}")
                rows.append((row["video"], start, end, place[row["label"]] if row["label"] else -1))
            except KeyError as error:
                skipped[f"{Path(path).name} line {number}"] = f"there is no class {error}"
            except (ValueError, TypeError) as error:
                skipped[f"{Path(path).name} line {number}"] = str(error)
    if not rows:
        raise KinoscopeError("no segment could be read", file=files[0], value=skipped or None)
    none = np.full(len(rows), -1)
    return Segments(
        tuple(str(k) for k in range(1, len(rows) + 1)),
        tuple(row[0] for row in rows),
        np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows]),
        none,
        none.copy(),
        np.array([row[3] for row in rows], np.int64),
        skipped=skipped,
    )


def _rows(path: str | Path) -> list[dict[str, Any]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [
                {str(key).strip(): (cell or "").strip() for key, cell in row.items() if isinstance(cell, str)}
                for row in csv.DictReader(file)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise KinoscopeError("the file cannot be read", file=path, value=str(error)) from error
