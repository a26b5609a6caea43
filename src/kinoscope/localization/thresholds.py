"""Operating points: per class, the score above which a prediction is worth telling a user.

A localiser answers with hundreds of segments a video, most of them at low scores, because average precision
rewards that. A user wants the handful that are right. The threshold of a class is the one whose F1 at tIoU 0.5
was best on the validation split; a class without a right prediction there takes the threshold that was best over
all classes. Instants count as right within half a second.
"""

from __future__ import annotations

import numpy as np

from kinoscope.timeline import Events

TIOU = 0.5  # overlap at which a prediction counts as right
TOLERANCE_S = 0.5  # distance at which an instant does


def fit_thresholds(predictions: Events, truth: Events, num_classes: int, tiou: float = TIOU) -> np.ndarray:
    """(K,) float64 thresholds from the predictions and the ground truth of the same videos.

    >>> truth = Events.of("v", [[0, 10], [20, 30]], [0, 0])
    >>> found = Events.of("v", [[0, 9], [21, 30], [50, 60]], [0, 0, 0], [0.9, 0.8, 0.3])
    >>> fit_thresholds(found, truth, 1).round(2).tolist()
    [0.55]
    """
    right = _right(predictions, truth, tiou)
    overall = _best(predictions.score, right, len(truth))
    shared = 1.0 if overall is None else overall
    thresholds = np.full(num_classes, shared)
    for k in range(num_classes):
        rows = predictions.label == k
        own = _best(predictions.score[rows], right[rows], int((truth.label == k).sum()))
        if own is not None:
            thresholds[k] = own
    return thresholds


def _best(score: np.ndarray, right: np.ndarray, total: int) -> float | None:
    """The threshold with the best F1, half-way to the next score; None where nothing is right."""
    if not right.any() or not total:
        return None
    order = np.argsort(-score, kind="stable")
    sorted_score, hits = score[order], np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(score) + 1) + total)
    last_of_score = np.append(np.diff(sorted_score) != 0, True)
    cut = int(np.argmax(np.where(last_of_score, f1, -1.0)))
    below = sorted_score[cut + 1] if cut + 1 < len(score) else 0.0
    return float((sorted_score[cut] + below) / 2)


def _right(predictions: Events, truth: Events, tiou: float) -> np.ndarray:
    """(N,) whether a prediction finds a segment of its class that no better one found before."""
    right = np.zeros(len(predictions), bool)
    table: dict[tuple[str, int], list[int]] = {}
    for k, key in enumerate(zip(truth.source, truth.label, strict=True)):
        table.setdefault(key, []).append(k)
    taken, instants = np.zeros(len(truth), bool), bool((truth.start_s == truth.end_s).all())
    for row in np.argsort(-predictions.score, kind="stable"):
        rows = table.get((predictions.source[row], predictions.label[row]))
        if rows is None:
            continue
        start, end = truth.start_s[rows], truth.end_s[rows]
        if instants:
            apart = np.abs(start - predictions.start_s[row])
            best = int(np.argmin(np.where(taken[rows], np.inf, apart)))
            if not taken[rows[best]] and apart[best] <= TOLERANCE_S:
                taken[rows[best]] = right[row] = True
            continue
        inside = np.minimum(end, predictions.end_s[row]) - np.maximum(start, predictions.start_s[row])
        joint = end - start + predictions.end_s[row] - predictions.start_s[row] - inside
        overlap = np.where(taken[rows], 0.0, np.maximum(inside, 0) / np.maximum(joint, 1e-9))
        best = int(np.argmax(overlap))
        if overlap[best] >= tiou:
            taken[rows[best]] = right[row] = True
    return right
