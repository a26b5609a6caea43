"""Average precision and Recall@kx of temporal detections (ActivityNet's protocol, Ego4D's recall).

Reference: Caba Heilbron et al., CVPR 2015; ActionFormer specification 10. The official evaluator walks rows in
Python; here only the pairs of one video and class that overlap enough to matter are walked, and everything else is
arrays. The numbers are the same.

Shape suffixes: N predictions, M ground truths, S thresholds, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kinoscope.metrics.tiou import tiou

Similarity = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


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
    similarity: Similarity = tiou,
) -> Matches:
    """One-to-one matching by falling score, and the ground truths that the best k*n predictions reach.

    A prediction takes the best free ground truth of its video and class that it overlaps by the threshold or
    more. For Recall@kx, n is the number of ground truths of that class in that video. similarity:
    of (start, end, other start, other end), elementwise, bounded from below by the thresholds; tIoU if not given.
    """
    limits = np.asarray(thresholds, np.float64)
    pairs = _pairs(truth, found)
    row, other = pairs.found, pairs.truth
    value = similarity(found.start[row], found.end[row], truth.start[other], truth.end[other])
    reached = {}
    for k in top:
        among = pairs.rank < k * pairs.truths
        best_M = np.full(len(truth), -np.inf)
        np.maximum.at(best_M, other[among], value[among])
        reached[k] = best_M[None] >= limits[:, None]
    return Matches(_greedy(pairs, value, limits, (len(found), len(truth))), reached)


@dataclass(frozen=True)
class _Pairs:
    """Every prediction with every ground truth of its video and class, better predictions first."""

    found: np.ndarray  # row of the prediction
    truth: np.ndarray  # row of the ground truth
    rank: np.ndarray  # of the prediction by score, within video and class
    truths: np.ndarray  # ground truths of that video and class


def _pairs(truth: Segments, found: Segments) -> _Pairs:
    labels = np.concatenate([truth.label, found.label])
    span = int(labels.max(initial=0)) - int(labels.min(initial=0)) + 1
    true_key, found_key = truth.video * span + truth.label, found.video * span + found.label
    rows = np.lexsort((-found.score, found_key))
    keys, truth_rows = found_key[rows], np.argsort(true_key, kind="stable")
    sorted_true = true_key[truth_rows]
    first = np.searchsorted(sorted_true, keys)
    truths = np.searchsorted(sorted_true, keys, side="right") - first
    rank = np.arange(len(rows)) - np.searchsorted(keys, keys)
    pair = np.repeat(np.arange(len(rows)), truths)
    offset = np.arange(len(pair)) - np.repeat(np.cumsum(truths) - truths, truths)
    return _Pairs(rows[pair], truth_rows[first[pair] + offset], rank[pair], truths[pair])


def _greedy(pairs: _Pairs, value: np.ndarray, limits: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(S, N) one-to-one matches; the sets of thresholds at which a row is matched are bits of a number."""
    useful = np.flatnonzero(value >= limits.min())
    order = useful[np.lexsort((-value[useful], pairs.rank[useful], pairs.found[useful]))]
    order = order[np.argsort(pairs.rank[order], kind="stable")]
    bits = (value[order, None] >= limits) @ (1 << np.arange(len(limits)))
    right, taken = [0] * shape[0], [0] * shape[1]
    for row, other, hit in zip(
        pairs.found[order].tolist(), pairs.truth[order].tolist(), bits.tolist(), strict=True
    ):
        new = hit & ~right[row] & ~taken[other]
        right[row] |= new
        taken[other] |= new
    return (np.array(right, np.int64)[None] >> np.arange(len(limits))[:, None] & 1).astype(bool)


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
