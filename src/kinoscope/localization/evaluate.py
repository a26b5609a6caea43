"""The published protocols: ActivityNet, THUMOS14, EPIC-Kitchens, Ego4D (ActionFormer specification 10).

Official quirk, kept: a predicted label that the ground truth lacks keeps its own number, and where that is smaller
than the number of classes it counts as a prediction of the class with that index. `drop_unknown` leaves such
predictions out instead.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.localization.spotting import TOLERANCES_S, evaluate_instants, evaluate_spotting
from kinoscope.media import labelled
from kinoscope.metrics import detection
from kinoscope.metrics.tiou import tiou_matrix
from kinoscope.timeline import Events

THRESHOLDS = {
    "thumos14": tuple(np.linspace(0.3, 0.7, 5)),
    "activitynet": tuple(np.linspace(0.5, 0.95, 10)),
    "epic": tuple(np.linspace(0.1, 0.5, 5)),
    "ego4d": tuple(np.linspace(0.1, 0.5, 5)),
}
SUBSETS = {"thumos14": "test", "activitynet": "validation", "epic": "validation", "ego4d": "validation"}
TOP = (1, 5)
MOST_LABELS = 100_000  # a larger label_id is a mistake
NOTHING = "(nothing)"  # in a confusion: a missed ground truth, or a prediction without one
SHORT_S = 1e-3  # shorter annotations, and repetitions closer than this, do not count


def evaluate_events(
    found: Events, truth: Events, protocol: str, details: bool = False, drop_unknown: bool = False
) -> dict[str, Any]:
    """{protocol, average_mAP, mAP: {tIoU: value}} and, with details, per class, recalls and errors.

    Values lie between 0 and 1; protocols of instants (`spotting.py`) have tolerances in seconds for tIoU thresholds.
    Raises KinoscopeError where there is no ground truth.
    """
    if protocol in TOLERANCES_S:
        return {"protocol": protocol, **evaluate_instants(found, truth, TOLERANCES_S[protocol])}
    if not len(truth):
        raise KinoscopeError("there is no ground truth to evaluate against", field="annotations")
    limits = THRESHOLDS[protocol]
    classes = np.unique(truth.label)
    true_rows, found_rows = table_rows(truth, found, classes, drop_unknown)
    matches = detection.match(true_rows, found_rows, limits, TOP if details or protocol == "ego4d" else ())
    ap_SK = detection.average_precision(true_rows, found_rows, matches.right_SN, len(classes))
    names = [f"{limit:.2f}".rstrip("0") for limit in limits]
    mean_S = ap_SK.mean(axis=1)
    result: dict[str, Any] = {
        "protocol": protocol,
        "average_mAP": float(mean_S.mean()),
        "mAP": dict(zip(names, mean_S.tolist(), strict=True)),
    }
    for k, reached in matches.reached.items():
        recall = detection.recall_at(true_rows, reached, len(classes)).mean(axis=1)
        result[f"Recall@{k}x"] = dict(zip(names, recall.tolist(), strict=True))
    if details:
        label = [truth.name(int(k)) for k in classes]
        result["per_class"] = dict(zip(label, ap_SK.mean(axis=0).tolist(), strict=True))
        result["errors"] = error_breakdown(found, truth)
        result["taken_for"] = {"label_names": [*label, NOTHING], "table": confusion(found, truth).tolist()}
    return result


def table_rows(
    truth: Events, found: Events, classes: np.ndarray, drop_unknown: bool = False
) -> tuple[detection.Segments, detection.Segments]:
    """Both tables with numbers for videos and class indices for labels."""
    videos = {video: k for k, video in enumerate(dict.fromkeys([*truth.source, *found.source]))}
    index = {int(label): k for k, label in enumerate(classes)}
    mapped = np.array([index.get(int(k), -1 if drop_unknown else int(k)) for k in found.label], np.int64)

    def table(events: Events, label: np.ndarray) -> detection.Segments:
        video = np.array([videos[v] for v in events.source], np.int64)
        return detection.Segments(video, events.start_s, events.end_s, label, events.score)

    return table(truth, np.array([index[int(k)] for k in truth.label], np.int64)), table(found, mapped)


def error_breakdown(found: Events, truth: Events, tiou: float = 0.5) -> dict[str, int]:
    """What the best predictions of every video, as many as it has ground truths, are.

    right; localisation: right class, overlap between 0.1 and `tiou`; confusion: another class, overlap of `tiou`
    or more; background: the rest; missed: ground truths that no prediction of any rank finds.
    """
    count = dict.fromkeys(("right", "localisation", "confusion", "background", "missed"), 0)
    by_video = dict(found.by_source())
    for video, mine in truth.by_source():
        predictions = by_video.get(video)
        if predictions is None:
            count["missed"] += len(mine)
            continue
        best = predictions[np.argsort(-predictions.score, kind="stable")]
        iou = tiou_matrix(np.stack([best.start_s, best.end_s], 1), np.stack([mine.start_s, mine.end_s], 1))
        same = best.label[:, None] == mine.label[None]
        count["missed"] += int((~((iou >= tiou) & same).any(axis=0)).sum())
        for overlap, equal in zip(iou[: len(mine)], same[: len(mine)], strict=True):
            in_class = overlap[equal].max(initial=0.0)
            if in_class >= tiou:
                count["right"] += 1
            elif overlap.max() >= tiou:
                count["confusion"] += 1
            else:
                count["localisation" if in_class >= 0.1 else "background"] += 1
    return count


def confusion(found: Events, truth: Events, tiou: float = 0.5) -> np.ndarray:
    """(K + 1, K + 1) counts: rows the classes of the ground truth in rising order, columns those of the predictions.

    Of every video its best predictions, as many as it has ground truths: each ground truth goes to the best of them
    that overlaps it by `tiou`, or to the last column; those that overlap none so far are in the last row.
    """
    classes = np.unique(truth.label)
    index = {int(label): k for k, label in enumerate(classes)}
    count = np.zeros((len(classes) + 1, len(classes) + 1), np.int64)
    by_video = dict(found.by_source())
    for video, mine in truth.by_source():
        rows = np.array([index[int(k)] for k in mine.label])
        if (predictions := by_video.get(video)) is None:
            count[:, -1] += np.bincount(rows, minlength=len(count))
            continue
        best = predictions[np.argsort(-predictions.score, kind="stable")[: len(mine)]]
        iou = tiou_matrix(np.stack([best.start_s, best.end_s], 1), np.stack([mine.start_s, mine.end_s], 1))
        columns = np.array([index.get(int(k), -1) for k in best.label])
        first = np.where((iou >= tiou).any(axis=0), columns[(iou >= tiou).argmax(axis=0)], -1)
        np.add.at(count, (rows, first), 1)
        count[-1] += np.bincount(columns[~(iou >= tiou).any(axis=1)] % len(count), minlength=len(count))
    return count


# -- files of any project -------------------------------------------------------------------------------------


def evaluate_files(
    predictions: Path, annotations: Path, protocol: str, subset: str | None = None
) -> dict[str, Any]:
    """The protocol on a results file and an annotation file, ours or another project's.

    Both in ActivityNet's syntax or, for protocols of instants, in that of the spotting benchmarks.
    """
    if protocol in TOLERANCES_S:
        return evaluate_spotting(predictions, annotations, protocol)
    truth = read_truth(annotations, subset or SUBSETS[protocol])
    found = read_results(predictions, truth.label_names)
    known = set(truth.source)
    source = [
        v if v in known else f"v_{v}" if f"v_{v}" in known else str(v).removeprefix("v_")
        for v in found.source
    ]
    found = Events(
        np.array(source, object), found.start_s, found.end_s, found.label, found.score, found.label_names
    )
    result = evaluate_events(found, truth, protocol, details=True)
    result["videos_without_predictions"] = len(known - set(source))
    return result


def read_json(path: Path) -> Any:
    """The value in a JSON file; KinoscopeError where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KinoscopeError(f"cannot be read: {error.strerror}", file=path) from error
    except ValueError as error:
        raise KinoscopeError("this is no valid JSON", file=path, value=str(error)) from error


def read_database(path: Path) -> dict[str, dict[str, Any]]:
    """The videos of an annotation file, its outer form checked; KinoscopeError where it is another.

    ELAN, BORIS and VIA files, and folders of them, are read as well (`media.labelled`).
    """
    if labelled.is_foreign(path):
        return labelled.read_database(path)
    data = read_json(path)
    videos = data.get("database", data) if isinstance(data, dict) else None
    if not isinstance(videos, dict) or not all(isinstance(v, dict) for v in videos.values()):
        raise KinoscopeError(
            "this is no annotation file",
            file=path,
            field="database",
            remedy='expected {"database": {video: {"subset", "duration", "fps", "annotations"}}}',
        )
    for video, entry in videos.items():
        rows = entry.get("annotations") or []
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise KinoscopeError(
                f"the annotations of {video} are no list of objects",
                file=path,
                field="annotations",
                value=str(rows)[:80],
                remedy='expected [{"label": name, "segment": [start_s, end_s]}]',
            )
    return videos


def read_truth(path: Path, subset: str | None) -> Events:
    """Ground truth of a subset (None: of all videos), repetitions left out (specification 10.1)."""
    videos = read_database(path)
    subsets = {str(v.get("subset")).lower() for v in videos.values() if "subset" in v}
    if subset is not None and subsets and subset.lower() not in subsets:
        raise KinoscopeError(
            "no video of that subset",
            file=path,
            field="subset",
            value=subset,
            remedy=f"one of {sorted(subsets)}",
        )
    chosen = {
        k: v
        for k, v in videos.items()
        if subset is None or str(v.get("subset", subset)).lower() == subset.lower()
    }
    names = label_names_of(videos, path)
    parts = [Events.empty(names)]
    for video, entry in chosen.items():
        rows = [annotation(row, names, video, path) for row in entry.get("annotations") or ()]
        kept = distinct(rows)
        if kept:
            parts.append(Events.of(video, [r[:2] for r in kept], [int(r[2]) for r in kept], None, names))
    return Events.concat(parts)


def label_names_of(videos: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Names by number: `label_id` where the file has it, else the sorted labels."""
    rows = [row for entry in videos.values() for row in entry.get("annotations") or ()]
    if all("label_id" in row for row in rows):
        try:
            table = {int(row["label_id"]): str(row.get("label", row["label_id"])) for row in rows}
        except (TypeError, ValueError, OverflowError) as error:
            raise KinoscopeError(
                "a label_id is no number", file=path, field="label_id", value=str(error)
            ) from error
        if wrong := [k for k in table if not 0 <= k < MOST_LABELS]:
            raise KinoscopeError(
                "label ids are numbers from 0 on", file=path, field="label_id", value=wrong[:5]
            )
        return tuple(table.get(k, str(k)) for k in range(max(table, default=-1) + 1))
    try:
        return tuple(sorted({str(row["label"]) for row in rows}))
    except KeyError as error:
        raise KinoscopeError("an annotation has no label", file=path, field="label") from error


def annotation(row: Any, names: tuple[str, ...], video: str, path: Path) -> tuple[float, float, int]:
    """Start and end in seconds and the label of one entry; KinoscopeError where it cannot be read."""
    try:
        start, end = (float(t) for t in row["segment"])
        label = int(row["label_id"]) if "label_id" in row else names.index(str(row["label"]))
    except (KeyError, TypeError, ValueError) as error:
        raise KinoscopeError(
            f"an annotation of {video} cannot be read",
            file=path,
            field="segment",
            value=row,
            remedy='expected {"label": name, "segment": [start_s, end_s]}',
        ) from error
    if not (math.isfinite(start) and math.isfinite(end) and start <= end):
        raise KinoscopeError(
            f"a segment of {video} is reversed or not finite",
            file=path,
            field="segment",
            value=[start, end],
            remedy="write the start first",
        )
    return start, end, label


def distinct(rows: list[tuple[float, float, int]]) -> list[tuple[float, float, int]]:
    """Rows (start, end, label) without repetitions and without those of no length."""
    kept: list[tuple[float, float, int]] = []
    for start, end, label in rows:
        repeated = any(
            abs(start - s) <= SHORT_S and abs(end - e) <= SHORT_S and label == k for s, e, k in kept
        )
        if end - start >= SHORT_S and not repeated:
            kept.append((start, end, label))
    return kept


def read_results(path: Path, names: tuple[str, ...]) -> Events:
    """Detections in ActivityNet's submission syntax, or a run's predictions.json; labels by name or number."""
    data = read_json(path)
    if isinstance(data, dict) and "events" in data:
        return Events.from_json(data, str(path))
    table = data.get("results") if isinstance(data, dict) else None
    if not isinstance(table, dict):
        raise KinoscopeError(
            "this is no file of predictions",
            file=path,
            field="results",
            remedy='expected {"results": {video: [{"label", "segment", "score"}]}}',
        )
    number = {name: k for k, name in enumerate(names)}
    parts = [Events.empty()]
    for video, rows in table.items():
        try:
            segments = [[float(start), float(end)] for start, end in (row["segment"] for row in rows)]
            scores = [float(row["score"] if "score" in row else row["scores"]) for row in rows]
            if not np.isfinite(segments).all() or not np.isfinite(scores).all():
                raise ValueError("a time or a score is not finite")
            labels = [
                number.get(str(row["label"]), len(names)) if "label" in row else int(row["label_id"])
                for row in rows
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise KinoscopeError(
                f"a prediction for {video} cannot be read",
                file=path,
                value=repr(error),
                remedy='expected {"label": name, "segment": [start_s, end_s], "score": number}',
            ) from error
        if segments:
            parts.append(Events.of(video, segments, labels, scores))
    return Events.concat(parts)
