"""Average precision and Recall@kx of temporal detections (ActivityNet's protocol, Ego4D's recall).

Reference: Caba Heilbron et al., CVPR 2015; ActionFormer specification 10. The official evaluator walks rows in
Python; here only the predictions that overlap some ground truth of their video and class enough to matter are
walked, and everything else is arrays. The numbers are the same.

Shape suffixes: N predictions, M ground truths, S thresholds, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kinoscope.metrics.tiou import tiou_matrix

Similarity = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Segments:
    """Rows (group, start, end, label, score); `group` is an integer for the video, labels are 0..K-1."""

    video: np.ndarray
    start: np.ndarray
    end: np.ndarray
    label: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.video)


@dataclass(frozen=True)
class Matches:
    """right_SN: whether a prediction is a true positive at a threshold; reached_kSM: Recall@kx hits."""

    right_SN: np.ndarray
    reached: dict[int, np.ndarray]


def match(
    truth: Segments,
    found: Segments,
    thresholds: Sequence[float],
    top: Sequence[int] = (),
    similarity: Similarity = tiou_matrix,
) -> Matches:
    """One-to-one matching by falling score, and the ground truths that the best k*n predictions reach.

    A prediction takes the best free ground truth of its video and class that it overlaps by the threshold or
    more. For Recall@kx, n is the number of ground truths of that class in that video. similarity: (N, 2) and (M, 2)
    rows (start, end) to (N, M) numbers that the thresholds bound from below; tIoU if not given.
    """
    limits = np.asarray(thresholds, np.float64)
    right_SN = np.zeros((len(limits), len(found)), bool)
    reached = {k: np.zeros((len(limits), len(truth)), bool) for k in top}
    order = np.argsort(-found.score, kind="stable")
    groups = _groups(truth, np.arange(len(truth)))
    for key, rows in _groups(found, order).items():
        mine = groups.get(key)
        if mine is None:
            continue
        iou = similarity(
            np.stack([found.start[rows], found.end[rows]], 1),
            np.stack([truth.start[mine], truth.end[mine]], 1),
        )
        for k in top:
            best = iou[: k * len(mine)].max(axis=0, initial=-np.inf)
            reached[k][:, mine] = best[None] >= limits[:, None]
        _greedy(iou, rows, limits, right_SN)
    return Matches(right_SN, reached)


def _groups(table: Segments, order: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Rows of every (video, class), in the given order."""
    if not len(order):
        return {}
    video, label = table.video[order], table.label[order]
    by = np.lexsort((label, video))
    change = np.flatnonzero(np.diff(video[by]) | np.diff(label[by])) + 1
    parts = np.split(by, change)
    return {(int(video[p[0]]), int(label[p[0]])): order[np.sort(p)] for p in parts}


def _greedy(iou: np.ndarray, rows: np.ndarray, limits: np.ndarray, right_SN: np.ndarray) -> None:
    """Fills `right_SN` for the predictions `rows` (by falling score) of one video and class."""
    useful = np.flatnonzero(iou.max(axis=1) >= limits.min())
    taken_SM = np.zeros((len(limits), iou.shape[1]), bool)
    for i in useful:
        for j in np.argsort(-iou[i], kind="stable"):
            hit = ~right_SN[:, rows[i]] & ~taken_SM[:, j] & (iou[i, j] >= limits)
            taken_SM[hit, j] = True
            right_SN[hit, rows[i]] = True


def interpolated_ap(right_N: np.ndarray, total: int) -> float:
    """Area under the interpolated precision; `right_N` by falling score, `total` ground truths.

    >>> interpolated_ap(np.array([True, False, True]), 2)
    0.8333333333333333
    """
    if not len(right_N) or not total:
        return 0.0
    hits = np.cumsum(right_N)
    precision = np.concatenate([[0.0], hits / np.arange(1, len(right_N) + 1), [0.0]])
    recall = np.concatenate([[0.0], hits / total, [1.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(np.sum((recall[steps] - recall[steps - 1]) * envelope[steps]))


def average_precision(truth: Segments, found: Segments, right_SN: np.ndarray, num_classes: int) -> np.ndarray:
    """(S, K) AP by threshold and class; 0 for a class without predictions."""
    order = np.argsort(-found.score, kind="stable")
    ap_SK = np.zeros((len(right_SN), num_classes))
    for k in range(num_classes):
        rows = order[found.label[order] == k]
        total = int((truth.label == k).sum())
        for s in range(len(right_SN)):
            ap_SK[s, k] = interpolated_ap(right_SN[s, rows], total)
    return ap_SK


def recall_at(truth: Segments, reached_SM: np.ndarray, num_classes: int) -> np.ndarray:
    """(S, K) share of a class's ground truths that are reached; 0 for a class without ground truth."""
    count = np.bincount(truth.label, minlength=num_classes)
    hits = np.stack([np.bincount(truth.label, weights=row, minlength=num_classes) for row in reached_SM])
    return hits / np.maximum(count, 1)
