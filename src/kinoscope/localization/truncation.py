"""Random truncation and cropping of training videos (ActionFormer specification 3.2).

A video longer than the training sequence is cut to a window that holds at least one action; a shorter one may be
cropped to a share of its length. Only the window is decided here: the features need not have been read.

Differences from the official code: none; the reader asks for `has_action` only where there is an action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

TRIALS = 200


class Randint(Protocol):
    """The one draw that is needed; `random` and `random.Random` are such objects."""

    def randint(self, a: int, b: int, /) -> int:
        """A whole number from a to b, both included."""


class Draws:
    """`randint` over a numpy generator."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def randint(self, a: int, b: int, /) -> int:
        return int(self.generator.integers(a, b, endpoint=True))


@dataclass(frozen=True)
class Window:
    """Steps [start, stop) of a video, with the actions that stay: segments [N, 2] from `start`, and their rows."""

    start: int
    stop: int
    segments: NDArray[np.float32]
    rows: NDArray[np.int64]


def random_window(
    length: int,
    segments: NDArray[np.float32],
    random: Randint,
    max_seq_len: int,
    trunc_thresh: float,
    offset: float,
    crop_ratio: tuple[float, float] | None = None,
    has_action: bool = True,
    no_trunc: bool = False,
    max_num_trials: int = TRIALS,
) -> Window:
    """The window of a video of `length` steps that a training sample holds.

    segments: [N, 2] steps; trunc_thresh: share of an action that must lie inside for it to stay; offset: steps
    that a segment may reach over the window on either side (half a feature's width); crop_ratio: least and
    largest share of a video that fits; no_trunc: only windows that cut no action. After `max_num_trials` draws
    without success the last one stands, as in the official code.
    """
    segments = np.asarray(segments, np.float32).reshape(-1, 2)
    whole = Window(0, length, segments, np.arange(len(segments)))
    size = max_seq_len
    if length <= max_seq_len:
        if crop_ratio is None:
            return whole
        low, high = crop_ratio
        size = random.randint(max(round(low * length), 1), min(round(high * length), length))
        if size == length:
            return whole
    wanted = has_action or no_trunc
    for _ in range(max_num_trials if wanted else 1):
        start = random.randint(0, length - size)
        bounds = np.array([start - offset, start + size + offset], np.float32)
        left, right = np.maximum(bounds[0], segments[:, 0]), np.minimum(bounds[1], segments[:, 1])
        inside = np.maximum(right - left, np.float32(0))
        with np.errstate(divide="ignore", invalid="ignore"):  # an action of no length never stays
            share = inside / np.abs(segments[:, 1] - segments[:, 0])
            rows = np.flatnonzero(share >= np.float32(trunc_thresh))
        cut = bool(np.any((share > 0) & (share < 1)))
        if not wanted or (len(rows) and not (no_trunc and cut)):
            break
    kept = np.stack([left, right], axis=1)[rows] - np.float32(start)
    return Window(start, start + size, kept, rows)
