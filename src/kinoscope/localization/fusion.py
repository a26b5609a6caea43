"""Detections of a class-agnostic localizer times the scores of a video classifier (specification 7.4).

Used for ActivityNet (classes from the CUHK 2017 classifier) and, optionally, THUMOS14.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.timeline import Events


class Fused(NamedTuple):
    """Rows after fusion: video ids (object), start, end, score (as given), label (int64)."""

    video: np.ndarray
    start: np.ndarray
    end: np.ndarray
    score: np.ndarray
    label: np.ndarray


def fuse_scores(
    video: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    score: np.ndarray,
    external: Mapping[str, Any],
    num_pred: int = 200,
    topk: int = 2,
) -> Fused:
    """The `num_pred` best detections of a video, once for each of the video's `topk` classes.

    New score = sqrt(class score * detection score). Order: sorted video ids, then class rank, then detections.
    external: {video: class scores (K,)}, or that under `results`. Raises KinoscopeError for a missing video.
    """
    table = external.get("results", external)
    names, inverse = np.unique(np.asarray(video).astype(str), return_inverse=True)
    order = np.lexsort((-np.asarray(score, np.float64), inverse))
    counts = np.bincount(inverse, minlength=len(names))
    first = np.cumsum(counts) - counts
    kept = np.minimum(counts, num_pred)
    best, classes = [], []
    for name in names:
        if name not in table:
            raise KinoscopeError("the video classifier has no scores for this video", value=str(name))
        values = np.asarray(table[name])
        ranked = np.argsort(-values, kind="stable")[:topk]
        classes.append(ranked)
        best.append(values[ranked])
    ranks = [len(r) for r in classes]
    rows = [
        order[first[v] : first[v] + kept[v]] for v in range(len(names)) for _ in range(ranks[v])
    ]  # class-major
    lengths = np.repeat(kept, ranks)
    picked = np.concatenate([np.empty(0, np.int64), *rows])
    factor = np.repeat(np.concatenate([np.empty(0), *best]), lengths)
    return Fused(
        np.repeat(np.repeat(names, ranks), lengths).astype(object),
        np.asarray(start)[picked],
        np.asarray(end)[picked],
        np.sqrt(factor * np.asarray(score)[picked]),
        np.repeat(np.concatenate([np.empty(0, np.int64), *classes]), lengths),
    )


def read_scores(file: str | Path) -> dict[str, Any]:
    """{video: class scores} of a JSON file (bare, or under `results`) or of a pickle of plain tables.

    Raises KinoscopeError for anything else, a pickle with code in it included.
    """
    from kinoscope.localization.tables import read_pickle

    path = Path(file)
    try:
        data = read_pickle(path) if path.suffix in (".pkl", ".pickle") else json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise KinoscopeError(
            "the scores of the video classifier cannot be read",
            file=path,
            value=str(error),
            remedy="give JSON {video: [scores]}, or a pickle of that",
        ) from error
    return dict(data.get("results", data))


def fuse_events(
    events: Events, scores: str | Path | Mapping[str, Any], label_names: tuple[str, ...], **options: int
) -> Events:
    """Class-agnostic events with the classes of `scores` (a file or its table); the label names are theirs."""
    table = scores if isinstance(scores, Mapping) else read_scores(scores)
    fused = fuse_scores(events.source, events.start_s, events.end_s, events.score, table, **options)
    most = max((len(table[video]) for video in set(fused.video)), default=0)
    names = label_names + tuple(str(k) for k in range(len(label_names), most))
    return Events(fused.video, fused.start, fused.end, fused.label, fused.score, names)


def with_video_classes(
    events: Events, file: str | None, label_names: tuple[str, ...], skipped: dict[str, str]
) -> Events:
    """`fuse_events` where a recipe names a file of scores (`decode.ext_score_file`), else the events as they are.

    A video without scores costs that video: its events are left out and it is noted in `skipped`.
    """
    if file is None:
        return events
    scores = read_scores(file)
    known = np.array([video in scores for video in events.source], bool)
    for video in dict.fromkeys(events.source[~known]):
        skipped[str(video)] = f"{file} has no scores for this video"
    return fuse_events(events[known], scores, label_names)
