"""Scores to numbers: top-k accuracy, the three-stream ensemble, k-nearest neighbours, confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kinoscope.errors import KinoscopeError

ENSEMBLE = {"joint": 0.6, "bone": 0.6, "motion": 0.4}


def top_k(scores_NK: np.ndarray, labels_N: np.ndarray, k: int = 1) -> float:
    """Share of samples whose label is among the k largest scores; of equal ones the later class ranks higher.

    >>> top_k(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    scores, labels = np.asarray(scores_NK), np.asarray(labels_N)
    classes = scores.shape[1]
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise KinoscopeError(
            "a label lies outside the classes",
            field="label",
            value=(int(labels.min()), int(labels.max())),
            remedy=f"0 to {classes - 1}",
        )
    own = scores[np.arange(len(labels)), labels][:, None]
    ahead = np.count_nonzero(scores > own, axis=1)
    tied = scores == own
    if np.count_nonzero(tied) > len(labels):
        ahead = ahead + (tied & (np.arange(classes) > labels[:, None])).sum(1)
    return float(np.count_nonzero(ahead < k) / max(len(labels), 1))


def percent(share: float) -> float:
    """Accuracy in percent, five decimals."""
    return round(100.0 * share, 5)


def ensemble(
    streams: Mapping[str, Mapping[str, np.ndarray]],
    names: Sequence[str],
    weights: Mapping[str, float] = ENSEMBLE,
) -> np.ndarray:
    """(N, K) weighted sum of raw logits, paired by sample name; fails where a stream has other samples."""
    for stream, table in streams.items():
        if odd := set(table) ^ set(names):
            raise KinoscopeError(
                "the streams hold different samples",
                field=stream,
                value=sorted(odd)[:5],
                remedy="evaluate all streams on the same file",
            )
    return sum(  # type: ignore[return-value]
        np.stack([table[name] for name in names]) * weights[stream] for stream, table in streams.items()
    )


def nearest_labels(train_ND: np.ndarray, labels_N: np.ndarray, test_MD: np.ndarray, k: int = 1) -> np.ndarray:
    """Cosine k-nearest-neighbour vote; the nearest of equally frequent labels wins."""
    train, test = (
        x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (train_ND, test_MD)
    )
    likeness = test @ train.T
    k = min(k, len(train))
    order = np.argsort(-likeness, axis=1, kind="stable")[:, :k]
    votes = np.asarray(labels_N)[order]
    counts = (votes[:, :, None] == votes[:, None, :]).sum(2)
    return votes[np.arange(len(votes)), counts.argmax(1)]


def confusion(predicted_N: np.ndarray, labels_N: np.ndarray, classes: int) -> np.ndarray:
    """(truth, prediction) counts."""
    table = np.zeros((classes, classes), int)
    np.add.at(table, (labels_N, predicted_N), 1)
    return table
