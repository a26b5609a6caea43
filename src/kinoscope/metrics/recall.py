"""Top-k accuracy, class-mean Recall@k (RULSTM, arXiv 1905.09035, section 5) and class-mean top-1.

scores (n, K), labels (n,); a label of -1 is no label. All figures are percent. A label is among the k best when
fewer than k classes score higher than it: one comparison a score, no sorting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes score higher than the label: (n,); the number of classes where there is no label.

    >>> ranks(np.array([[0.1, 0.7, 0.2]]), np.array([2]))
    array([1])
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape}")
    known = (labels >= 0) & (labels < scores.shape[1])
    own = scores[np.arange(len(scores)), np.where(known, labels, 0)]
    above = np.empty(len(scores), np.int64)
    for start in range(0, len(scores), 256):  # a block stays in the cache
        block = slice(start, start + 256)
        above[block] = np.count_nonzero(scores[block] > own[block, None], axis=1)
    return np.where(known, above, scores.shape[1])


def top_k_accuracy(
    scores: np.ndarray, labels: np.ndarray, ks: Sequence[int] = (1, 5), classes: Iterable[int] | None = None
) -> list[float]:
    """Share of rows whose label is among the k best, of rows with a label in `classes` (default: all)."""
    return accuracy_of_ranks(ranks(scores, labels), labels, ks, classes)


def accuracy_of_ranks(
    rank: np.ndarray, labels: np.ndarray, ks: Sequence[int] = (1, 5), classes: Iterable[int] | None = None
) -> list[float]:
    """As `top_k_accuracy`, of ranks already known."""
    chosen = labels >= 0 if classes is None else np.isin(labels, list(classes))
    if not chosen.any():
        return [float("nan")] * len(ks)
    return [100.0 * float(np.mean(rank[chosen] < k)) for k in ks]


def class_mean_recall(
    scores: np.ndarray, labels: np.ndarray, k: int = 5, classes: Iterable[int] | None = None
) -> float:
    """Mean over the classes that occur (and are in `classes`) of their top-k accuracy; NaN without any.

    >>> class_mean_recall(np.eye(3), np.array([0, 1, 0]), k=1)
    75.0
    """
    return recall_of_ranks(ranks(scores, labels), labels, k, classes)


def recall_of_ranks(
    rank: np.ndarray, labels: np.ndarray, k: int = 5, classes: Iterable[int] | None = None
) -> float:
    """As `class_mean_recall`, of ranks already known."""
    chosen = labels >= 0 if classes is None else np.isin(labels, list(classes)) & (labels >= 0)
    if not chosen.any():
        return float("nan")
    total = np.bincount(labels[chosen])
    hits = np.bincount(labels[chosen], weights=rank[chosen] < k, minlength=len(total))
    return 100.0 * float(np.mean(hits[total > 0] / total[total > 0]))


def class_mean_accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 accuracy averaged over all K classes; a class that does not occur counts 0."""
    known = labels >= 0
    if not known.any():
        return float("nan")
    hit = scores[known].argmax(axis=1) == labels[known]
    total = np.bincount(labels[known], minlength=scores.shape[1])
    right = np.bincount(labels[known], weights=hit, minlength=scores.shape[1])
    return 100.0 * float(np.mean(right / (total + 1e-15)))


def bootstrap_recall(
    scores: np.ndarray, labels: np.ndarray, k: int = 5, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Interval of class-mean Recall@k: rows drawn with replacement within each class, percentiles of the means."""
    generator, means = np.random.default_rng(seed), np.zeros(draws)
    rank = ranks(scores, labels)
    present = np.unique(labels[labels >= 0])
    for label in present:
        hits = rank[labels == label] < k
        means += generator.binomial(len(hits), hits.mean(), draws) / len(hits)
    tail = 50 * (1 - level)
    low, high = np.percentile(100 * means / max(len(present), 1), [tail, 100 - tail])
    return float(low), float(high)
