"""Temporal intersection over union of segments, in the forms that suppression and evaluation need.

Shape suffixes: N, M segments. Segments are (start, end) on any one axis (seconds or feature steps).
"""

from __future__ import annotations

import numpy as np


def tiou(start: np.ndarray, end: np.ndarray, other_start: np.ndarray, other_end: np.ndarray) -> np.ndarray:
    """|intersection| / |union| elementwise (broadcasting); two empty segments overlap by 0.

    >>> float(tiou(np.array(0.0), np.array(4.0), np.array(2.0), np.array(6.0)).round(3))
    0.333
    """
    inter = np.maximum(np.minimum(end, other_end) - np.maximum(start, other_start), 0)
    union = (end - start) + (other_end - other_start) - inter
    return np.divide(
        inter, union, out=np.zeros(np.shape(inter), np.result_type(inter, np.float32)), where=union > 0
    )


def tiou_matrix(a_N2: np.ndarray, b_M2: np.ndarray) -> np.ndarray:
    """(N, M) tIoU of every pair."""
    a, b = a_N2[:, None], b_M2[None]
    return tiou(a[..., 0], a[..., 1], b[..., 0], b[..., 1])


def diou(start: np.ndarray, end: np.ndarray, other_start: np.ndarray, other_end: np.ndarray) -> np.ndarray:
    """Distance IoU: tIoU - (distance of centres / length of the hull)^2, elementwise; in (-1, 1]."""
    hull = np.maximum(end, other_end) - np.minimum(start, other_start)
    distance = (end + start - other_end - other_start) / 2
    apart = np.square(distance) / np.maximum(np.square(hull), np.asarray(1e-8, hull.dtype))
    return tiou(start, end, other_start, other_end) - apart
