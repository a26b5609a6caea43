"""Suppression of overlapping segments: soft, hard and distance-IoU NMS, and segment voting.

ActionFormer's operators (Soft-NMS, Bodla et al. 2017; specification 7.2, distance-IoU 11.3) without a compiled
extension. All classes run in lock-step as rows of padded arrays: a round emits one segment a class.
Soft-NMS emits in order of falling score, so a class is done as soon as its best remaining score is below the
`max_seg_num`-th best score that has been emitted by then, over all classes; the result stays the same.

Where a class holds equal scores, the official order depends on how its array is shuffled by removals; such
classes go through `soft_nms`, which moves the elements in the same way.

Shape suffixes: N candidates, K classes, M candidates of the largest class. All arithmetic is float32.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from kinoscope.metrics.tiou import diou, tiou_matrix

Method = Literal["cut", "linear", "gaussian"]
Detections = tuple[np.ndarray, np.ndarray, np.ndarray]  # segments (N, 2), scores (N,), labels (N,)
METHODS: dict[int, Method] = {0: "cut", 1: "linear", 2: "gaussian"}  # the official operator's numbers
EPSILON = np.float32(1e-6)  # added to every length


def peak_nms(
    place: np.ndarray, scores: np.ndarray, labels: np.ndarray, gap: float, limit: int | None = None
) -> np.ndarray:
    """Indices of the kept instants by falling score, at most `limit`.

    One nearer than `gap` to a better one of its class is dropped.

    >>> peak_nms(np.array([3.0, 5.0, 9.0]), np.array([0.9, 0.8, 0.5]), np.zeros(3, int), gap=4).tolist()
    [0, 2]
    """
    order = np.argsort(-scores, kind="stable")
    if gap <= 0:
        return order[:limit]
    kept: list[int] = []
    taken: dict[int, list[float]] = {}
    for index in order:
        label, t = int(labels[index]), float(place[index])
        mine = taken.setdefault(label, [])
        at = bisect.bisect_left(mine, t)
        if (at and t - mine[at - 1] < gap) or (at < len(mine) and mine[at] - t < gap):
            continue
        mine.insert(at, t)
        kept.append(int(index))
        if len(kept) == limit:
            break
    return np.array(kept, np.int64)


def _overlap(start: np.ndarray, end: np.ndarray, best_start: Any, best_end: Any) -> np.ndarray:
    """IoU whose lengths are `end - start + 1e-6`, as in the official operator."""
    inter = np.minimum(end, best_end)
    inter -= np.maximum(start, best_start)
    np.maximum(inter, 0, out=inter)
    union = end - start
    union += EPSILON + (best_end - best_start + EPSILON)
    union -= inter
    inter /= union
    return inter


def _weight(iou: np.ndarray, method: Method, threshold: float, sigma: Any) -> np.ndarray:
    """Factor on the scores of segments that overlap the emitted one by `iou`."""
    if method == "gaussian":
        iou *= iou
        iou /= -np.asarray(sigma, np.float32)
        return np.exp(iou, out=iou)
    over = iou >= np.float32(threshold)
    return np.where(over, np.float32(0) if method == "cut" else 1 - iou, np.float32(1))


def hard_nms(
    segments: np.ndarray, scores: np.ndarray, iou_threshold: float, limit: int | None = None
) -> np.ndarray:
    """Indices of the kept segments by falling score; later ones with IoU >= threshold are dropped.

    >>> hard_nms(np.array([[0, 10], [1, 10], [20, 30]]), np.array([0.9, 0.8, 0.5]), 0.5).tolist()
    [0, 2]
    """
    order = np.argsort(-scores, kind="stable")
    start, end = np.asarray(segments, np.float32)[order].T
    kept: list[int] = []
    while order.size and (limit is None or len(kept) < limit):
        kept.append(int(order[0]))
        stay = _overlap(start, end, start[0], end[0]) < np.float32(iou_threshold)
        stay[0] = False
        order, start, end = order[stay], start[stay], end[stay]
    return np.array(kept, np.int64)


def soft_nms(
    segments: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float = 0.1,
    sigma: float = 0.5,
    min_score: float = 0.001,
    method: Method = "gaussian",
    limit: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(indices into the input in order of emission, their decayed scores) of one class.

    In every round the best remaining score is emitted (the first of the array on ties) and the others are
    multiplied by exp(-iou^2 / sigma) (`linear`: 1 - iou, `cut`: 0, both only where iou >= iou_threshold).
    What falls below `min_score` is removed by moving the last element into its place. The first scores are
    not tested.

    >>> index, score = soft_nms(np.array([[0, 10], [0, 10], [20, 30]]), np.array([0.9, 0.8, 0.5]))
    >>> index.tolist(), [round(s, 3) for s in score.tolist()]
    ([0, 2, 1], [0.9, 0.5, 0.108])
    """
    start, end = np.array(segments, np.float32).reshape(-1, 2).T.copy()
    score, index = np.array(scores, np.float32), np.arange(len(scores))
    columns = (start, end, score, index)
    emitted_index, emitted_score = [], []
    first, last = 0, len(score)
    while first < last and (limit is None or first < limit):
        best = first + int(np.argmax(score[first:last]))
        for column in columns:
            column[first], column[best] = column[best], column[first]
        emitted_index.append(index[first])
        emitted_score.append(score[first])
        rest = slice(first + 1, last)
        iou = _overlap(start[rest], end[rest], start[first], end[first])
        score[rest] *= _weight(iou, method, iou_threshold, sigma)
        stay = score[rest] >= np.float32(min_score)
        left = int(stay.sum())
        if left < stay.size:  # holes from the front are filled by survivors from the back
            holes = first + 1 + np.flatnonzero(~stay[:left])
            fill = first + 1 + left + np.flatnonzero(stay[left:])[::-1]
            for column in columns:
                column[holes] = column[fill]
        first, last = first + 1, first + 1 + left
    return np.array(emitted_index, np.int64), np.array(emitted_score, np.float32)


def vote(kept_N2: np.ndarray, segments_M2: np.ndarray, scores_M: np.ndarray, threshold: float) -> np.ndarray:
    """(N, 2) kept segments moved to the mean of candidates with tIoU >= threshold, weights score * tIoU.

    A kept segment that nothing reaches (one of length zero) stays where it is.
    """
    iou = tiou_matrix(np.asarray(kept_N2, np.float32), np.asarray(segments_M2, np.float32))
    weight = np.where(iou >= np.float32(threshold), iou, np.float32(0)) * np.asarray(scores_M, np.float32)
    total = weight.sum(1, keepdims=True)
    moved = (weight / np.where(total > 0, total, 1)) @ np.asarray(segments_M2, np.float32)
    return np.where(total > 0, moved, kept_N2).astype(np.float32)


class _Padded:
    """Candidates as rows of classes: (K, M) arrays by falling score, padded with score -inf."""

    def __init__(self, segments: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> None:
        order = np.lexsort((-scores, labels))
        self.classes, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
        row = np.repeat(np.arange(len(counts)), counts)
        column = np.arange(len(order)) - np.repeat(first, counts)
        shape = (len(counts), int(counts.max(initial=0)))
        self.index = np.zeros(shape, np.int64)
        self.start, self.end = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.score = np.full(shape, -np.inf, np.float32)
        self.index[row, column] = order
        self.start[row, column], self.end[row, column] = segments[order, 0], segments[order, 1]
        self.score[row, column] = scores[order]
        equal = (self.score[:, 1:] == self.score[:, :-1]) & np.isfinite(self.score[:, 1:])
        self.has_ties = equal.any(1)

    def take(self, rows: np.ndarray, width: int) -> None:
        """Keeps the given rows and the first `width` columns."""
        for name in ("index", "start", "end", "score"):
            setattr(self, name, np.ascontiguousarray(getattr(self, name)[rows, :width]))
        self.classes = self.classes[rows]


class _Emitted:
    """What has been emitted, and the score that the `limit`-th best of it has."""

    def __init__(self, limit: int) -> None:
        self.limit, self.index, self.score = limit, [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        self.best, self.cut = np.empty(0, np.float32), -np.inf

    def add(self, index: np.ndarray, score: np.ndarray) -> None:
        self.index.append(index)
        self.score.append(score)
        self.best = np.concatenate([self.best, score])
        if len(self.best) >= self.limit:
            self.best = -np.partition(-self.best, self.limit - 1)[: self.limit]
            self.cut = float(self.best.min())

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        return np.concatenate(self.index), np.concatenate(self.score)


def _soft_rounds(table: _Padded, sigma_K: np.ndarray, min_score: float, out: _Emitted) -> None:
    """Gaussian soft-NMS of all rows of `table` in lock-step."""
    initial, rounds = table.score.copy(), 0
    while table.score.size and rounds < out.limit:
        column = table.score.argmax(1)
        best = table.score[np.arange(len(column)), column]
        rows = np.flatnonzero((best > -np.inf) & (best >= out.cut))
        if len(rows) < len(column) or rounds % 4 == 3:
            reach = (initial[rows] >= out.cut) & (initial[rows] > -np.inf)
            used = np.flatnonzero(reach.any(0))
            width = int(used[-1]) + 1 if used.size else 0
            table.take(rows, width)
            initial, sigma_K = initial[rows, :width], sigma_K[rows]
            column, best = column[rows], best[rows]
            if not width:
                return
        at = np.arange(len(column))
        out.add(table.index[at, column], best)
        start, end = table.start[at, column][:, None], table.end[at, column][:, None]
        iou = _overlap(table.start, table.end, start, end)
        with np.errstate(invalid="ignore"):  # -inf * 0 where sigma is tiny: removed by the next line
            table.score *= _weight(iou, "gaussian", 0.0, sigma_K[:, None])
        table.score[~(table.score >= np.float32(min_score))] = -np.inf
        table.score[at, column] = -np.inf
        rounds += 1


def _distance_rounds(table: _Padded, sigma_K: np.ndarray, min_score: float, out: _Emitted) -> None:
    """Distance-IoU soft-NMS: survivors are taken in their first order, not re-sorted (the fork)."""
    initial, taken = table.score.copy(), np.zeros(len(table.score), np.int64)
    cut, width = -np.inf, initial.shape[1]
    behind = table.score[:, 1:]  # the first of a class is taken whatever its score
    behind[~(behind > np.float32(min_score))] = -np.inf
    for column in range(initial.shape[1]):
        live = (initial[:, column] >= out.cut) & (initial[:, column] > -np.inf) & (taken < out.limit)
        if not live.any():
            break
        rows = np.flatnonzero(live & (table.score[:, column] > -np.inf))
        if not rows.size:
            continue
        taken[rows] += 1
        out.add(table.index[rows, column], table.score[rows, column])
        if out.cut > cut:
            cut = out.cut
            width = int(np.count_nonzero((initial >= cut).any(0)))
        here = slice(None) if len(rows) == len(initial) else rows
        rest = slice(column + 1, width)
        start, end = table.start[here, rest], table.end[here, rest]
        first, last = table.start[rows, column], table.end[rows, column]
        row, other = np.nonzero((start < last[:, None]) & (end > first[:, None]))  # others keep their scores
        near = diou(start[row, other], end[row, other], first[row], last[row])
        weight = np.exp(-np.square(np.maximum(near, 0)) / sigma_K[rows[row]].astype(np.float32))
        with np.errstate(invalid="ignore"):
            score = table.score[rows[row], column + 1 + other] * weight
        score[~(score > np.float32(min_score))] = -np.inf
        table.score[rows[row], column + 1 + other] = score


def batched_nms(segments: np.ndarray, scores: np.ndarray, labels: np.ndarray, **settings: Any) -> Detections:
    """Segments (N, 2), scores and labels that are left, best first; settings as of `batched_nms_indexed`."""
    return batched_nms_indexed(segments, scores, labels, **settings)[:3]


def batched_nms_indexed(
    segments: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    iou_threshold: float = 0.1,
    min_score: float = 0.001,
    max_seg_num: int = 200,
    use_soft_nms: bool = True,
    multiclass: bool = True,
    sigma: float = 0.5,
    voting_thresh: float = 0.75,
    use_diou_nms: bool = False,
    class_sigma: Mapping[int, float] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Suppression of (N, 2) segments with (N,) scores and labels; results by falling score, and which input each was.

    At most `max_seg_num` remain. multiclass: every class on its own and no voting; otherwise all together, then
    segment voting if voting_thresh > 0. Distance-IoU concerns soft-NMS alone, sigma by class the multiclass form alone.
    """
    segments = np.asarray(segments, np.float32).reshape(-1, 2)
    scores, labels = np.asarray(scores, np.float32).reshape(-1), np.asarray(labels, np.int64).reshape(-1)
    if not len(scores):
        return segments, scores, labels, np.empty(0, np.int64)
    groups = labels if multiclass else np.zeros_like(labels)
    index, score = _suppressed(
        segments,
        scores,
        groups,
        float(iou_threshold),
        min_score,
        max_seg_num,
        use_soft_nms,
        {} if class_sigma is None or not multiclass else class_sigma,
        sigma,
        use_diou_nms,
    )
    kept, names = segments[index], labels[index]
    if not multiclass and voting_thresh > 0:
        order = np.argsort(-score, kind="stable")[:max_seg_num] if not use_diou_nms else slice(None)
        kept, score, names, index = kept[order], score[order], names[order], index[order]
        kept = vote(kept, segments, scores, voting_thresh)
    order = np.argsort(-score, kind="stable")[:max_seg_num]
    return kept[order], score[order], names[order], index[order]


def _suppressed(
    segments: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    iou_threshold: float,
    min_score: float,
    limit: int,
    soft: bool,
    class_sigma: Mapping[int, float],
    sigma: float,
    distance: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """(indices into the candidates, their new scores) of all groups, in no order across groups."""
    if not soft:
        able = np.flatnonzero(scores > np.float32(min_score)) if min_score > 0 else np.arange(len(scores))
        kept = [np.empty(0, np.int64)]
        for group in np.unique(groups[able]):
            rows = able[groups[able] == group]
            kept.append(rows[hard_nms(segments[rows], scores[rows], iou_threshold, limit)])
        index = np.concatenate(kept)
        return index, scores[index]
    table, out = _Padded(segments, scores, groups), _Emitted(limit)
    sigma_K = np.array([class_sigma.get(int(k), sigma) for k in table.classes])
    if distance:
        _distance_rounds(table, sigma_K, min_score, out)
        return out.result()
    exact = table.has_ties if len(table.classes) > 1 else np.ones(1, bool)
    for k in np.flatnonzero(exact):
        rows = np.flatnonzero(groups == table.classes[k])
        index, score = soft_nms(
            segments[rows], scores[rows], iou_threshold, float(sigma_K[k]), min_score, "gaussian", limit
        )
        out.add(rows[index], score)
    rest = np.flatnonzero(~exact)
    table.take(rest, table.score.shape[1])
    _soft_rounds(table, sigma_K[rest], min_score, out)
    return out.result()
