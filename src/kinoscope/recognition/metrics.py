"""Mean average precision and top-k accuracy as AdaFocus computes them (specification 8), in percent.

What differs from the official code:
1. Label compaction on subsets, by which columns and classes no longer match, is off by default (`compact`).
2. Ties are sorted by position; the official sort is unstable.
3. Only the ranks of the positives are computed, not the whole sorted target matrix.
"""

from __future__ import annotations

import numpy as np

from kinoscope.errors import KinoscopeError


def softmax(scores_NC: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    x = np.asarray(scores_NC)
    e = np.exp(x - x.max(-1, keepdims=True))
    e /= e.sum(-1, keepdims=True)
    return e


def average_precision(scores_NC: np.ndarray, labels_NK: np.ndarray, compact: bool = False) -> np.ndarray:
    """Average precision of every class [C], in percent; 0 for classes without positives.

    scores: logits [N, C] (a softmax over classes is part of the metric). labels: [N, K] or [N] class numbers,
    -1 for none. compact: renumber the classes that occur, as the official code does on subsets.
    AP = sum over the positives, in the order of their scores, of k / rank_k, divided by their number.
    Raises KinoscopeError where a label lies beyond the classes.

    >>> average_precision(np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), np.array([0, 0, 1]))
    array([83.33333333, 50.        ])
    """
    labels = np.asarray(labels_NK).reshape(len(scores_NC), -1)
    classes = scores_NC.shape[1]
    if labels.max(initial=-1) >= classes:
        raise KinoscopeError(
            f"a label lies beyond the {classes} classes", field="label", value=int(labels.max())
        )
    if compact:
        present = np.unique(labels[labels >= 0])
        labels = np.where(labels >= 0, np.searchsorted(present, labels), -1)
    columns = np.ascontiguousarray(softmax(scores_NC).T)
    clip, slot = np.nonzero(labels >= 0)
    pairs = np.unique(np.stack([labels[clip, slot], clip]), axis=1)
    starts = np.searchsorted(pairs[0], np.arange(classes + 1))
    out = np.zeros(classes)
    for c in np.nonzero(np.diff(starts))[0]:
        positives = pairs[1, starts[c] : starts[c + 1]]
        ranks = _ranks(columns[c], positives)
        out[c] = (np.arange(1, len(ranks) + 1) / ranks).mean() * 100
    return out


def _ranks(scores_N: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """1-based ranks of the positives in a stable descending sort, ascending."""
    ordered = np.sort(scores_N)
    mine = np.sort(scores_N[positives])[::-1]
    above = len(ordered) - np.searchsorted(ordered, mine, side="right")
    if np.array_equal(len(ordered) - np.searchsorted(ordered, mine, side="left"), above + 1):
        return above + 1
    order = np.argsort(-scores_N, kind="stable")  # ties: by position
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(1, len(order) + 1)
    return np.sort(place[positives])


def mean_average_precision(scores_NC: np.ndarray, labels_NK: np.ndarray, compact: bool = False) -> float:
    """Mean over all classes of their average precision, in percent."""
    return float(average_precision(scores_NC, labels_NK, compact).mean())


def top_k(scores_NC: np.ndarray, labels_N: np.ndarray, k: int) -> float:
    """Share of clips whose label is among the k highest scores, in percent."""
    scores, labels = np.asarray(scores_NC), np.asarray(labels_N)
    mine = scores[np.arange(len(scores)), labels][:, None]
    return float(((scores > mine).sum(1) < k).mean() * 100)
