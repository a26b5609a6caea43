"""The four tasks by which frame embeddings are judged (CARL, section 11): tau, retrieval, phases, progression.

Every function takes a list of (n, D) arrays, one a video, and where it needs them a list of (n,) labels.
Differences from the official code:
1. Distances to all other videos come from one product, the ranks of all pairs from one pass.
2. A phase that a video lacks is left out of its progression target instead of ending the evaluation (quirk 25).
3. `AP@K` keeps its published name; it is precision@K (quirk 24).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.metrics.kendall import kendall_taus
from kinoscope.representation.probes import SoftmaxRegression

Arrays = Sequence[np.ndarray]


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (n, m) of (n, D) and (m, D), in double precision."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * (x @ y.T)


def labelled(embs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames with a label >= 0, and their labels."""
    labels = np.asarray(labels)
    if len(labels) != len(embs):
        raise KinoscopeError(
            "there must be one label a frame",
            field="labels",
            value=len(labels),
            remedy=f"give {len(embs)} labels",
        )
    return embs[labels >= 0], labels[labels >= 0]


def nearest(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """(n,) index of the nearest key of each query; the first on ties."""
    return squared_distances(queries, keys).argmin(1)


def _measured(x: np.ndarray, distance: str) -> np.ndarray:
    """Vectors whose squared Euclidean distances rank like `distance`: sqeuclidean, euclidean or cosine."""
    x = np.asarray(x, np.float64)
    if distance in ("sqeuclidean", "euclidean"):
        return x
    if distance == "cosine":
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
    raise KinoscopeError(
        "there is no such distance",
        field="distance",
        value=distance,
        remedy="one of sqeuclidean, euclidean, cosine",
    )


def pairwise_taus(videos: Arrays, stride: int = 1, distance: str = "sqeuclidean") -> np.ndarray:
    """(V, V) Kendall's tau-b of the nearest neighbours of video i in video j; NaN on the diagonal.

    NaN as well where every frame has the same neighbour. stride: every n-th frame counts.
    """
    strided = [_measured(np.asarray(video)[::stride], distance) for video in videos]
    count = len(strided)
    longest = max((len(video) for video in strided), default=0)
    keys = np.zeros((count, longest, strided[0].shape[1] if strided else 0))
    square = np.full((count, longest), np.inf)
    for k, video in enumerate(strided):
        keys[k, : len(video)] = video
        square[k, : len(video)] = (video**2).sum(1)
    flat = np.ascontiguousarray(keys.reshape(count * longest, -1).T)
    taus = np.full((count, count), np.nan)
    for k, video in enumerate(strided):
        apart = (-2 * video @ flat).reshape(len(video), count, longest)
        apart += square
        matched = apart.argmin(2).T.reshape(-1)
        taus[k] = kendall_taus(matched, np.arange(count + 1) * len(video))
        taus[k, k] = np.nan
    return taus


def kendalls_tau(videos: Arrays, stride: int = 1, distance: str = "sqeuclidean") -> float:
    """Mean tau over all ordered pairs of different videos; NaN where there is none."""
    return _mean(pairwise_taus(videos, stride, distance))


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def similarity_matrix(
    first: np.ndarray, second: np.ndarray, temperature: float = 0.1, distance: str = "sqeuclidean"
) -> np.ndarray:
    """(m, n) picture of two videos' likeness: the transposed row softmax of minus the distance / temperature."""
    apart = squared_distances(_measured(first, distance), _measured(second, distance))
    if distance == "euclidean":
        apart = np.sqrt(np.maximum(apart, 0))
    score = -apart / (2 if distance == "cosine" else 1) / temperature
    score = np.exp(score - score.max(1, keepdims=True))
    return (score / score.sum(1, keepdims=True)).T


def retrieval(
    videos: Arrays,
    labels: Arrays,
    ks: Sequence[int] = (5, 10, 15),
    stride: int = 1,
    distance: str = "sqeuclidean",
) -> dict[int, float]:
    """{K: share of the K nearest frames of all other videos that have the query's label}, AP@K in the papers.

    Mean over the frames of a video, then over videos. NaN with fewer than two videos.
    """
    strided = [_measured(np.asarray(video)[::stride], distance) for video in videos]
    marks = [np.asarray(mark)[::stride] for mark in labels]
    every = np.concatenate(strided)
    mark_of = np.concatenate(marks)
    square = (every**2).sum(1)
    bounds = np.append(0, np.cumsum([len(video) for video in strided]))
    most = max(ks)
    found: dict[int, list[float]] = {k: [] for k in ks}
    for k, video in enumerate(strided):
        if len(every) == len(video) or not len(video):
            continue
        apart = square - 2 * (video @ every.T)
        apart[:, bounds[k] : bounds[k + 1]] = np.inf
        right = mark_of[_smallest(apart, min(most, len(every) - len(video)))] == marks[k][:, None]
        for size in ks:
            found[size].append(float(right[:, :size].mean()))
    return {k: _mean(np.array(values)) for k, values in found.items()}


def _smallest(distance: np.ndarray, count: int) -> np.ndarray:
    """Columns of the `count` smallest entries of each row, in order; the first column first on ties."""
    if count < distance.shape[1] // 4:
        limit = np.partition(distance, count - 1, axis=1)[:, count - 1 : count]
        keep = np.flatnonzero((distance <= limit).any(0))  # no column that matters is lost, ties included
        return keep[np.argsort(distance[:, keep], axis=1, kind="stable")[:, :count]]
    return np.argsort(distance, axis=1, kind="stable")[:, :count]


def first_videos(fraction: float, count: int) -> int:
    """How many of `count` training videos a fraction means: the first ones of the file."""
    return max(1, int(fraction * count))


def classification(
    train: Arrays, train_labels: Arrays, test: Arrays, test_labels: Arrays, fraction: float = 1.0
) -> tuple[float, float]:
    """(training, test) accuracy over frames of softmax regression on the first `fraction` of training videos."""
    count = first_videos(fraction, len(train))
    x, y = np.concatenate(list(train[:count])), np.concatenate(list(train_labels[:count]))
    probe = SoftmaxRegression.fit(x, y)
    return float((probe.predict(x) == y).mean()), accuracy(probe, test, test_labels)


def accuracy(probe: SoftmaxRegression, videos: Arrays, labels: Arrays) -> float:
    """Share of frames whose label the probe finds."""
    return float((probe.predict(np.concatenate(list(videos))) == np.concatenate(list(labels))).mean())


def progression_targets(labels: Arrays, classes: int) -> np.ndarray:
    """(N, classes - 1) signed distance of every frame to the end of each phase but the last, over the length.

    NaN where a video lacks the phase.
    """
    parts = []
    for mark in labels:
        mark = np.asarray(mark)
        frames, length = np.arange(len(mark)), len(mark)
        target = np.full((length, classes - 1), np.nan)
        for phase in range(classes - 1):
            at = np.flatnonzero(mark == phase)
            if len(at):
                target[:, phase] = (frames - at[-1]) / length
        parts.append(target)
    return np.concatenate(parts)


def event_completion(
    train: Arrays,
    train_labels: Arrays,
    test: Arrays,
    test_labels: Arrays,
    classes: int,
    fraction: float = 1.0,
) -> tuple[float, float]:
    """(training, test) mean R^2 of linear regression of the progression targets on the embeddings."""
    count = first_videos(fraction, len(train))
    x, y = np.concatenate(list(train[:count])), progression_targets(train_labels[:count], classes)
    x_test, y_test = np.concatenate(list(test)), progression_targets(test_labels, classes)
    scores: list[tuple[float, float]] = []
    for phase in range(classes - 1):
        seen, seen_test = ~np.isnan(y[:, phase]), ~np.isnan(y_test[:, phase])
        if not seen.any() or not seen_test.any():
            continue
        weights = _least_squares(x[seen], y[seen, phase])
        scores.append(
            (
                _r2(weights, x[seen], y[seen, phase]),
                _r2(weights, x_test[seen_test], y_test[seen_test, phase]),
            )
        )
    if not scores:
        raise KinoscopeError(
            "no phase is in both training and test videos",
            field="labels",
            remedy="give labels 0 .. classes - 1 of every frame",
        )
    train_score, test_score = np.mean(scores, axis=0)
    return float(train_score), float(test_score)


def _least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    mean, middle = x.mean(0), y.mean()
    weights = np.linalg.lstsq(x - mean, y - middle, rcond=None)[0]
    return np.append(weights, middle - mean @ weights)


def _r2(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    error = y - (x.astype(np.float64) @ weights[:-1] + weights[-1])
    return float(1 - (error**2).sum() / ((y - y.mean()) ** 2).sum())
