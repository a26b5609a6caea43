"""Annotation files -> segments -> anticipation windows (S-GEAR specification 9.1, 9.2, 9.6).

EPIC-Kitchens-100 and -55 (the CSV files of the official repositories), RULSTM's headerless CSV files (all three,
and EGTEA Gaze+), and 50 Salads' frame labels.

Differences from the official code:
1. CSV files are read where it unpickles data frames, which would run code that came with the data.
2. A class id that differs between the row of the action list and its `id` column is an error, not a silent shift.
3. A row that cannot be read costs that row: it is listed with its reason.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError

RULSTM_COLUMNS = ("uid", "video_id", "start_frame", "end_frame", "verb_class", "noun_class", "action_class")
RULSTM_FPS = 30.0
RECOGNITION = -999.0
FIRST_FRAME_S = 1 / 30
_CLASS_FILES = (
    ("EPIC_100_verb_classes.csv", "EPIC_100_noun_classes.csv", "key"),
    ("EPIC_verb_classes.csv", "EPIC_noun_classes.csv", "class_key"),
)


@dataclass(frozen=True)
class ActionList:
    """The action classes: their names, (verb, noun) pairs, and how many verbs and nouns there are."""

    names: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    verbs: int
    nouns: int

    def id_of(self, verb: int, noun: int) -> int:
        """Class of a pair, -1 where the list does not have it."""
        return self._index.get((verb, noun), -1)

    @property
    def _index(self) -> dict[tuple[int, int], int]:
        found: dict[tuple[int, int], int] | None = self.__dict__.get("_pairs")
        if found is None:
            found = {pair: i for i, pair in enumerate(self.pairs)}
            self.__dict__["_pairs"] = found
        return found


@dataclass(frozen=True)
class Segments:
    """Annotated action segments, a row each; times in seconds. `windows` adds what is observed."""

    uid: tuple[Any, ...]
    video: tuple[str, ...]
    start: np.ndarray
    end: np.ndarray
    verb: np.ndarray
    noun: np.ndarray
    action: np.ndarray
    narration: tuple[str, ...] = ()
    narration_id: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.uid)

    def take(self, keep: np.ndarray) -> Segments:
        """The rows where `keep` is true."""
        at = np.flatnonzero(keep)

        def some(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[i] for i in at) if values else values

        return replace(
            self,
            uid=some(self.uid),
            video=some(self.video),
            narration=some(self.narration),
            narration_id=some(self.narration_id),
            **{name: getattr(self, name)[at] for name in ("start", "end", "verb", "noun", "action")},
        )


@dataclass(frozen=True)
class Windows:
    """Segments that can be anticipated, their observed windows [start, end], and the segments that cannot."""

    segments: Segments
    start: np.ndarray
    end: np.ndarray
    future_start: np.ndarray
    future_end: np.ndarray
    discarded: Segments


# -- reading ------------------------------------------------------------------------------------------------


def read_actions(path: str | Path, verbs: int | None = None, nouns: int | None = None) -> ActionList:
    """The action list: EK100 `id,verb,noun,action`, EK55 `id,action,verb,noun`, EGTEA without a header.

    verbs, nouns: how many are named; without, the distinct ids in the list are counted.
    """
    rows = [[cell.strip() for cell in row] for row in _rows(path)]
    if not rows:
        raise KinoscopeError("the action list is empty", file=path)
    names, pairs = [], []
    header = rows[0] if not rows[0][0].lstrip("-").isdigit() else None
    for number, row in enumerate(rows[1:] if header else rows):
        try:
            if header:
                cells = dict(zip(header, row, strict=True))
                identity, verb, noun = int(cells["id"]), int(cells["verb"]), int(cells["noun"])
                names.append(cells["action"])
            elif len(row) >= 4:
                identity, verb, noun = int(row[0]), int(row[1]), int(row[2])
                names.append(row[3])
            else:
                identity = int(row[0])
                verb, noun = (int(part) for part in row[1].split("_"))
                names.append(row[2])
        except (ValueError, KeyError, IndexError) as error:
            raise KinoscopeError("this is no action", file=path, field=f"row {number}", value=row) from error
        if identity != number:
            raise KinoscopeError(
                "the id of an action is not the number of its row",
                file=path,
                field=f"row {number}",
                value=identity,
                remedy="sort the list by id, from 0, without gaps",
            )
        pairs.append((verb, noun))
    verbs = len({v for v, _ in pairs}) if verbs is None else verbs
    nouns = len({n for _, n in pairs}) if nouns is None else nouns
    return ActionList(tuple(names), tuple(pairs), verbs, nouns)


def all_pairs(verbs: int, nouns: int) -> ActionList:
    """Without a list: every verb with every noun, verb by verb."""
    pairs = tuple((v, n) for v in range(verbs) for n in range(nouns))
    return ActionList(tuple(f"{v}_{n}" for v, n in pairs), pairs, verbs, nouns)


def class_names(folder: str | Path) -> tuple[list[str], list[str]] | None:
    """Names of verbs and nouns from the EPIC class files in a folder; None where there are none."""
    for verb_file, noun_file, column in _CLASS_FILES:
        if (Path(folder) / verb_file).is_file():
            verbs, nouns = (
                [row[column] for row in _records(Path(folder) / name)] for name in (verb_file, noun_file)
            )
            return verbs, nouns
    return None


def seconds(stamp: str) -> float:
    """`HH:MM:SS.ffffff` in seconds.

    >>> seconds("00:01:02.50")
    62.5
    """
    hours, minutes, rest = stamp.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def read_segments(
    paths: Sequence[str | Path], actions: ActionList, id_type: Callable[[Any], Any] = str
) -> Segments:
    """Segments of one or several files, in order; the action of each is that of its (verb, noun), or -1.

    `uid` is the file's, through `id_type`, or a running number from 1 over all rows of all files.
    """
    rows: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    count = 0
    for path in paths:
        for row in _segment_rows(path):
            count += 1
            try:
                rows.append(_segment(row, count, id_type))
            except (ValueError, KeyError, TypeError) as error:
                skipped[f"{Path(path).name} row {count}"] = f"{type(error).__name__}: {error}"
    if not rows:
        raise KinoscopeError(
            "no segment could be read", file=paths[0] if paths else None, value=skipped or None
        )

    def column(name: str, kind: type) -> np.ndarray:
        return np.array([row[name] for row in rows], dtype=kind)

    verb, noun = column("verb", np.int64), column("noun", np.int64)
    action = np.array([actions.id_of(v, n) for v, n in zip(verb.tolist(), noun.tolist(), strict=True)])
    return Segments(
        tuple(row["uid"] for row in rows),
        tuple(row["video"] for row in rows),
        column("start", np.float64),
        column("end", np.float64),
        verb,
        noun,
        action.astype(np.int64),
        tuple(row["narration"] for row in rows),
        tuple(row["narration_id"] for row in rows),
        skipped,
    )


def _segment(row: dict[str, Any], number: int, id_type: Callable[[Any], Any]) -> dict[str, Any]:
    if "start_frame" in row and "start_timestamp" not in row:
        start, end = (int(row[key]) / RULSTM_FPS for key in ("start_frame", "end_frame"))
    else:
        start, end = seconds(row["start_timestamp"]), seconds(row["stop_timestamp"])
    if not row["video_id"]:
        raise ValueError("no video")
    return {
        "uid": id_type(row["uid"]) if row.get("uid") not in (None, "") else id_type(number),
        "video": row["video_id"],
        "start": start,
        "end": end,
        "verb": int(row.get("verb_class") or -1) if row.get("verb_class") != "0" else 0,
        "noun": int(row.get("noun_class") or -1) if row.get("noun_class") != "0" else 0,
        "narration": row.get("narration", ""),
        "narration_id": row.get("narration_id", ""),
    }


def _segment_rows(path: str | Path) -> Iterator[dict[str, Any]]:
    rows = list(_rows(path))
    if rows and "video_id" in rows[0]:
        for row in rows[1:]:
            yield dict(zip(rows[0], row, strict=False))
    else:
        for row in rows:
            yield dict(zip(RULSTM_COLUMNS, (cell.strip() for cell in row), strict=False))


def _rows(path: str | Path) -> list[list[str]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [row for row in csv.reader(file) if row]
    except OSError as error:
        raise KinoscopeError("the file cannot be read", file=path, value=error.strerror) from error


def _records(path: str | Path) -> list[dict[str, str]]:
    rows = _rows(path)
    return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]


def keep_videos(segments: Segments, list_file: str | Path) -> Segments:
    """The segments of the videos that a text file names, one a line."""
    names = {
        line.strip() for line in Path(list_file).read_text(encoding="utf-8").splitlines() if line.strip()
    }
    return segments.take(np.array([video in names for video in segments.video], dtype=bool))


def keep_persons(segments: Segments, persons: str) -> Segments:
    """The segments of participants "first-last", both included."""
    first, last = (int(part) for part in persons.split("-"))
    names = {f"P{number:02d}" for number in range(first, last + 1)}
    return segments.take(np.array([participant(video) in names for video in segments.video], dtype=bool))


def participant(video: str) -> str:
    """The participant of an EPIC video: what precedes the first underscore."""
    return video.partition("_")[0]


def many_shot_classes(folder: str | Path, actions: ActionList) -> dict[str, list[int]] | None:
    """EPIC-Kitchens-55: listed verbs, listed nouns, and actions that have one of them; None without the lists."""
    files = [Path(folder) / f"EPIC_many_shot_{kind}.csv" for kind in ("verbs", "nouns")]
    if not all(file.is_file() for file in files):
        return None
    verbs = sorted(int(row["verb_class"]) for row in _records(files[0]))
    nouns = sorted(int(row["noun_class"]) for row in _records(files[1]))
    some_v, some_n = set(verbs), set(nouns)
    chosen = [i for i, (v, n) in enumerate(actions.pairs) if v in some_v or n in some_n]
    return {"verb": verbs, "noun": nouns, "action": chosen}


# -- 50 Salads ----------------------------------------------------------------------------------------------


def read_mapping(path: str | Path) -> dict[str, int]:
    """Class names of 50 Salads: the text after the last blank of each line; the id is the line's number."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return {line.split(" ")[-1]: number for number, line in enumerate(line for line in lines if line.strip())}


def read_salads(bundle: str | Path, labels: str | Path, classes: dict[str, int], fps: float) -> Segments:
    """Runs of equal frame labels as segments. Times are float16, as published: steps of 0.5 s above 512 s."""
    rows = []
    skipped = {}
    for name in Path(bundle).read_text(encoding="utf-8").splitlines()[1:]:
        if not name.strip():
            continue
        try:
            lines = (Path(labels) / name.strip()).read_text(encoding="utf-8").splitlines()
            found = list(_runs(lines))
            rows += [
                (f"{Path(name.strip()).stem}.avi", a / fps, b / fps, classes[label]) for label, a, b in found
            ]
        except (OSError, KeyError) as error:
            skipped[name.strip()] = f"{type(error).__name__}: {error}"
    if not rows:
        raise KinoscopeError("no video of the split could be read", file=bundle, value=skipped or None)
    none = np.full(len(rows), -1)
    return Segments(
        tuple(range(1, len(rows) + 1)),
        tuple(row[0] for row in rows),
        np.array([row[1] for row in rows], np.float16),
        np.array([row[2] for row in rows], np.float16),
        none,
        none.copy(),
        np.array([row[3] for row in rows], np.int64),
        skipped=skipped,
    )


def _runs(lines: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    start = 0
    for i in range(1, len(lines) + 1):
        if i == len(lines) or lines[i] != lines[start]:
            yield lines[start].strip(), start, i
            start = i


# -- windows ------------------------------------------------------------------------------------------------


def anticipation_windows(
    segments: Segments, tau_a: float, tau_o: float, drop_style: str = "correct"
) -> Windows:
    """What may be seen of each segment: [start - tau_a - tau_o, start - tau_a] seconds.

    tau_a = -999 is recognition, on the segment itself. drop_style: `correct` keeps windows that end 1/30 s or more
    into the video, `full_context_in` those that start there, `action_banks` those that end after 2 s.
    """
    kind = segments.start.dtype.type  # float16 stays float16
    if tau_a == RECOGNITION:
        end, start = segments.end, segments.start
        keep = np.ones(len(segments), bool)
    else:
        end = segments.start - kind(tau_a)
        start = end - kind(tau_o)
        rules = {
            "correct": end >= FIRST_FRAME_S,
            "full_context_in": start >= FIRST_FRAME_S,
            "action_banks": end >= 2,
        }
        if drop_style not in rules:
            raise KinoscopeError(
                "no such drop style", field="drop_style", value=drop_style, remedy=", ".join(rules)
            )
        keep = rules[drop_style]
    shift = kind(0 if tau_a == RECOGNITION else tau_a)
    return Windows(
        segments.take(keep),
        start[keep],
        end[keep],
        (end + shift)[keep],
        (end + shift + kind(tau_o))[keep],
        segments.take(~keep),
    )


class PastLabels:
    """Which action goes on at a time of a video (specification 9.6), among the segments that are kept.

    Where several do: the one with the smallest |t - half its duration|, the first of equals: the official rule,
    which compares a time with a duration.
    """

    def __init__(self, segments: Segments) -> None:
        self.segments = segments
        rows: dict[str, list[int]] = {}
        for row, video in enumerate(segments.video):
            rows.setdefault(video, []).append(row)
        self.rows = {video: np.array(at) for video, at in rows.items()}

    def __call__(self, video: str, times_s: np.ndarray, space: str = "action") -> np.ndarray:
        """Labels (T,) at times (T,); -1 where nothing goes on."""
        out = np.full(len(times_s), -1, np.int64)
        at = self.rows.get(video)
        if at is None:
            return out
        start, end = self.segments.start[at], self.segments.end[at]
        labels = getattr(self.segments, space)[at]
        half = (end - start) / 2
        for i, t in enumerate(np.asarray(times_s)):
            on = np.flatnonzero((start <= t) & (t <= end))
            if len(on):
                out[i] = labels[on[np.argmin(np.abs(t - half[on]))]]
        return out
