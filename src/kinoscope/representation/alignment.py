"""Two videos of one action brought into step by their embeddings (CARL, section 13)."""

from __future__ import annotations

import numpy as np

from kinoscope.metrics.dtw import accumulated_cost, first_matches, warping_path
from kinoscope.representation.evaluate import squared_distances


def align(query: np.ndarray, key: np.ndarray, warp: bool = True) -> np.ndarray:
    """(n,) frame of the key video that belongs to each of n query frames; embeddings (n, D) and (m, D).

    warp: dynamic time warping, whose matches never run backwards: the first key frame of the path in each query
    frame. Otherwise the nearest key frame of each query frame on its own.
    """
    cost = squared_distances(query, key)
    return first_matches(warping_path(accumulated_cost(cost))) if warp else cost.argmin(1)


def displayed(frame: np.ndarray) -> np.ndarray:
    """A normalised frame stretched to 0 .. 1; a frame of one value becomes zeros."""
    frame = np.asarray(frame, np.float64)
    low, high = frame.min(), frame.max()
    return (frame - low) / (high - low) if high > low else np.zeros_like(frame)
