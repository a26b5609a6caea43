"""The yardstick: a linear frame classifier on a window of frames, its smoothed runs as segments.

Per frame, the features of the 25 frames around it go through a multinomial logistic regression; the class
probabilities are smoothed over time, and every run of frames of one class is an event, scored by the mean
probability over the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kinoscope.localization.items import Item
from kinoscope.localization.streams import StreamSource
from kinoscope.timeline import Events

WINDOW = 25  # frames that the classifier sees
SMOOTH = 9  # frames over which probabilities are averaged
SHORTEST = 5  # frames of the shortest run that counts


def windows(features_TC: np.ndarray, size: int = WINDOW) -> np.ndarray:
    """(T, size * C): each frame with its neighbours, the ends repeated."""
    half = size // 2
    padded = np.pad(features_TC, ((half, half), (0, 0)), mode="edge")
    return sliding_window_view(padded, size, axis=0).reshape(len(features_TC), -1)


def frame_labels(item: Item, background: int) -> np.ndarray:
    """(T,) label of every frame."""
    labels = np.full(item.feats.shape[1], background)
    for (start, end), label in zip(item.segments.tolist(), item.labels.tolist(), strict=True):
        labels[max(round(start + 0.5), 0) : round(end + 0.5)] = label
    return labels


def runs(label_T: np.ndarray) -> list[tuple[int, int, int]]:
    """(first, one past the last, label) of every run of equal labels.

    >>> runs(np.array([0, 0, 2]))
    [(0, 2, 0), (2, 3, 2)]
    """
    edges = np.flatnonzero(np.diff(label_T)) + 1
    bounds = [0, *edges.tolist(), len(label_T)]
    return [(a, b, int(label_T[a])) for a, b in pairwise(bounds) if b > a]


def linear_baseline(source: StreamSource) -> Events:
    """Events of the test streams by a linear classifier that was fitted to the training streams."""
    from sklearn.linear_model import LogisticRegression

    background = len(source.label_names)
    train = [source.training_item(k, np.random.default_rng(0)) for k in range(len(source.train_ids))]
    x = np.concatenate([windows(item.feats.numpy().T)[::2] for item in train])
    y = np.concatenate([frame_labels(item, background)[::2] for item in train])
    model = LogisticRegression(C=1e-3, max_iter=200).fit(x, y)
    tested = source.test_items(range(len(source.test_ids)), {})
    parts = [
        _events(i, model.predict_proba(windows(i.feats.numpy().T)), model.classes_, source) for i in tested
    ]
    return Events.concat([Events.empty(source.label_names), *parts])


def _events(item: Item, p_TK: np.ndarray, classes: Sequence[int], source: StreamSource) -> Events:
    kernel = np.ones(SMOOTH) / SMOOTH
    padded = np.pad(p_TK, ((SMOOTH // 2, SMOOTH // 2), (0, 0)), mode="edge")
    smooth_TK = np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], axis=1)
    best = smooth_TK.argmax(axis=1)
    rows = [
        (a / item.fps, b / item.fps, int(classes[k]), float(smooth_TK[a:b, k].mean()))
        for a, b, k in runs(best)
        if classes[k] != len(source.label_names) and b - a >= SHORTEST
    ]
    table = np.array(rows).reshape(-1, 4)
    return Events.of(item.video_id, table[:, :2], table[:, 2].astype(int), table[:, 3], source.label_names)
