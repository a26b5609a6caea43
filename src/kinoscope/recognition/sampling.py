"""Which frames of a video are looked at (specification 7.4, 11.7). Indices are 1-based, as frame files are.

What differs from the official code:
1. Random choices come from the generator that is given: a numpy Generator, or a legacy RandomState for
   parity.
"""

from __future__ import annotations

import numpy as np

Draws = np.random.Generator | np.random.RandomState
Indices = np.ndarray


def draw(generator: Draws, high: int, size: int | None = None) -> np.ndarray:
    """Integers in [0, high), from either kind of generator."""
    if isinstance(generator, np.random.RandomState):
        return np.asarray(generator.randint(0, high, size=size))
    return np.asarray(generator.integers(0, high, size=size))


def padded(frames: int, segments: int) -> Indices:
    """Every frame once, the last one repeated."""
    return np.minimum(np.arange(segments), frames - 1) + 1


def centred(frames: int, segments: int, twice: bool = False) -> Indices:
    """The middle of every segment; `twice`: then also its beginning."""
    tick = frames / segments
    steps = np.arange(segments)
    out = np.floor(tick / 2.0 + tick * steps)
    if twice:
        out = np.concatenate([out, np.floor(tick * steps)])
    return out.astype(np.int64) + 1


def train_indices(frames: int, segments: int, generator: Draws) -> Indices:
    """A random frame of every segment; a video shorter than the segments is padded with its last frame."""
    span = frames // segments
    if span == 0:
        return padded(frames, segments)
    return np.arange(segments) * span + draw(generator, span, segments) + 1


def val_indices(frames: int, segments: int) -> Indices:
    """The middle frame of every segment; a video not longer than the segments is padded."""
    return centred(frames, segments) if frames > segments else padded(frames, segments)


def dense_indices(frames: int, segments: int, generator: Draws) -> Indices:
    """Frames of a 64-frame stretch at a random place, wrapping round."""
    places = max(1, 1 + frames - 64)
    start = 0 if places == 1 else int(draw(generator, places - 1))
    return (np.arange(segments) * (64 // segments) + start) % frames + 1


def dense_test_indices(frames: int, segments: int) -> Indices:
    """Ten such stretches, evenly placed."""
    starts = np.linspace(0, max(1, 1 + frames - 64) - 1, num=10, dtype=int)
    return np.concatenate([(np.arange(segments) * (64 // segments) + s) % frames + 1 for s in starts])


def sth_train_indices(frames: int, segments: int, generator: Draws) -> Indices:
    """Something-Something: a random frame of every segment; the first frame throughout for short videos."""
    span = frames // segments
    if span == 0:
        return np.ones(segments, np.int64)
    return np.arange(segments) * span + draw(generator, span, segments) + 1


def sth_val_indices(frames: int, segments: int) -> Indices:
    """Something-Something: the middle frames; the first frame throughout where there are not more than
    segments."""
    return centred(frames, segments) if frames > segments else np.ones(segments, np.int64)
