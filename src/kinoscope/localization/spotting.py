"""Instants judged by time: mAP and F1 over tolerances, and the spotting benchmarks' files.

A prediction is right if a free ground truth of its video and class lies within the tolerance, which counts on
either side and includes its end; by falling score each takes the nearest free one. Protocols:

- `instants`: 0.1, 0.2 and 0.5 s (3, 6 and 15 frames at 30 fps).
- `spotting_tight`, `spotting_loose`: SoccerNet-v2's windows of 1 to 5 s and of 5 to 60 s (arXiv 2011.13367), half
  of which lie on either side; its own evaluation samples the precision-recall curve, ours integrates it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.metrics import detection
from kinoscope.timeline import Events

TOLERANCES_S: dict[str, tuple[float, ...]] = {
    "instants": (0.1, 0.2, 0.5),
    "spotting_tight": tuple(window / 2 for window in range(1, 6)),
    "spotting_loose": tuple(window / 2 for window in range(5, 61, 5)),
}
ROUNDING_S = 1e-6  # a distance of exactly the tolerance is within it


def starts(events: Events) -> Events:
    """The starts of segments as instants."""
    return replace(events, end_s=events.start_s, uncertainty_s=None)


def evaluate_instants(found: Events, truth: Events, tolerances_s: Sequence[float]) -> dict[str, Any]:
    """{average_mAP, mAP: {tolerance: value}, F1: {tolerance: value}, per_class: {label: mean AP}}.

    Only `start_s` counts. mAP is the mean over the classes of the ground truth; F1 is that of all classes together
    at the score where it is best. Raises KinoscopeError where there is no ground truth.

    >>> truth = Events.of("v", [[1, 1], [5, 5]], [0, 0])
    >>> found = Events.of("v", [[1.1, 1.1], [5.4, 5.4]], [0, 0], [0.9, 0.8])
    >>> evaluate_instants(found, truth, (0.2, 0.5))["F1"]
    {'0.2': 0.6666666666666666, '0.5': 1.0}
    """
    if not len(truth):
        raise KinoscopeError("there is no ground truth to evaluate against", field="annotations")
    from kinoscope.localization.evaluate import table_rows  # which knows the protocols here

    classes = np.unique(truth.label)
    true_rows, found_rows = table_rows(starts(truth), starts(found), classes, drop_unknown=True)
    limits = [-(tolerance + ROUNDING_S) for tolerance in tolerances_s]
    right_SN = detection.match(true_rows, found_rows, limits, similarity=_nearness).right_SN
    ap_SK = detection.average_precision(true_rows, found_rows, right_SN, len(classes))
    names = [f"{tolerance:g}" for tolerance in tolerances_s]
    order = np.argsort(-found.score, kind="stable")
    f1 = [_best_f1(row[order], found.score[order], len(truth)) for row in right_SN]
    label = [truth.name(int(k)) for k in classes]
    return {
        "average_mAP": float(ap_SK.mean()),
        "mAP": dict(zip(names, ap_SK.mean(axis=1).tolist(), strict=True)),
        "F1": dict(zip(names, f1, strict=True)),
        "per_class": dict(zip(label, ap_SK.mean(axis=0).tolist(), strict=True)),
    }


def _nearness(start: np.ndarray, end: np.ndarray, other: np.ndarray, other_end: np.ndarray) -> np.ndarray:
    """Distances of instants, negative: nearer is more."""
    return -np.abs(start - other)


def _best_f1(right_N: np.ndarray, score_N: np.ndarray, total: int) -> float:
    """Best F1 over score thresholds; rows by falling score, equal scores on one side of a threshold."""
    if not right_N.any():
        return 0.0
    f1 = 2 * np.cumsum(right_N) / (np.arange(1, len(right_N) + 1) + total)
    last = np.append(np.diff(score_N) != 0, True)
    return float(f1[last].max())


# -- the benchmarks' files ----------------------------------------------------------------------------------------


def read_spotting(
    path: Path, classes: Path | None = None, label_names: tuple[str, ...] | None = None
) -> tuple[Events, dict[str, float]]:
    """Instants of a spotting benchmark's JSON, and frames a second of every video.

    The file lists [{"video", "fps", "num_frames", "events": [{"frame", "label"}, ...]}, ...]; predictions carry a
    `score`. classes: a file with one label a line (default: `class.txt` beside it, else the sorted labels);
    label_names: the labels by number in place of it, to which labels that are not among them are added. Where
    a benchmark gives no frame rate (-1), times are frames: the rate is 1.
    """
    from kinoscope.localization.evaluate import read_json

    table = read_json(path)
    listed = classes or path.with_name("class.txt")
    try:
        rows = [(entry, event) for entry in table for event in entry["events"]]
        fps = {str(entry["video"]): float(max(entry.get("fps", -1), 0)) or 1.0 for entry in table}
        names = tuple(sorted({str(event["label"]) for _, event in rows}))
        if label_names is not None:
            names = (*label_names, *(name for name in names if name not in label_names))
        elif listed.is_file():
            names = tuple(listed.read_text(encoding="utf-8").split("\n"))
            names = tuple(name.strip() for name in names if name.strip())
        number = {name: k for k, name in enumerate(names)}
        video = [str(entry["video"]) for entry, _ in rows]
        time = np.array([float(event["frame"]) for _, event in rows]) / np.array([fps[v] for v in video])
        label = np.array([number[str(event["label"])] for _, event in rows], np.int64)
        score = np.array([float(event.get("score", 1.0)) for _, event in rows])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise KinoscopeError(
            "this is no file of a spotting benchmark",
            file=path,
            value=repr(error),
            remedy='expected [{"video", "fps", "events": [{"frame", "label"}]}]',
        ) from error
    return Events(np.array(video, object), time, time, label, score, names), fps


def evaluate_spotting(predictions: Path, annotations: Path, protocol: str) -> dict[str, Any]:
    """The protocol on two files of the benchmarks' syntax."""
    truth, fps = read_spotting(annotations)
    found, _ = read_spotting(predictions, label_names=truth.label_names)
    result = {"protocol": protocol, **evaluate_instants(found, truth, TOLERANCES_S[protocol])}
    result["videos_without_predictions"] = len(set(fps) - set(found.source))
    return result


def write_spotting(
    events: Events, fps: dict[str, float], num_frames: dict[str, int] | None = None
) -> list[Any]:
    """The benchmarks' syntax of predictions, one entry a video of `fps`, events in order of time."""
    by_video = dict(events.by_source())
    table = []
    for video, rate in fps.items():
        mine = by_video.get(video, Events.empty(events.label_names))
        rows = [
            {
                "frame": round(float(mine.start_s[k]) * rate),
                "label": mine.name(int(mine.label[k])),
                "score": float(mine.score[k]),
            }
            for k in np.argsort(mine.start_s, kind="stable")
        ]
        entry: dict[str, Any] = {"video": video, "fps": rate, "events": rows, "num_events": len(rows)}
        if num_frames and video in num_frames:
            entry["num_frames"] = num_frames[video]
        table.append(entry)
    return table
