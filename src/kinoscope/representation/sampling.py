"""Which frames of a video make a view (CARL, section 6).

Frame numbers may fall behind the end of the video: those entries are padding, mask 0. Different from the official
code: all draws come from the generator that is given; `crop_of_clip` is a setting of its own (quirk 14); a view has
one frame of the video at least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from kinoscope.errors import KinoscopeError


class Draws(Protocol):
    """What a sampler draws from; `numpy.random.Generator` is one."""

    def uniform(self, low: float, high: float) -> float: ...

    def integers(self, low: int, high: int, size: Any = None) -> Any: ...

    def permutation(self, x: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Sampler:
    """Draws the frames of views.

    frames: T, embeddings of a view. strategy: `offset_uniform`, T frames of the whole video; `time_augment`, T
    frames of a crop. region: the crop is up to this many times as long as T (or the video). consistent_offset: share
    of a view that two views have in common at least (0: no care is taken). crop_of_clip: the crop's length goes by
    T, as in the paper and for FineGym; otherwise by the video, as the official code has it elsewhere. contexts,
    stride: frames that precede and make an embedding, and their distance. positive_window: > 0 for TCN, whose
    anchors alternate with positives from up to this many frames earlier.
    """

    frames: int
    strategy: Literal["offset_uniform", "time_augment"] = "time_augment"
    region: float = 1.5
    consistent_offset: float = 0.2
    crop_of_clip: bool = False
    contexts: int = 1
    stride: int = 1
    positive_window: int = 0

    def __call__(
        self, length: int, draws: Draws, before: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(frames to load (T * contexts), frame of each embedding (T), mask (T) float32) of a view.

        length: frames of the video. before: frames to load of the first view, when this is the second. Raises
        KinoscopeError for an empty video.
        """
        if length < 1:
            raise KinoscopeError("this video has no frames", field="length", value=length)
        frames = self.frames // 2 if self.positive_window else self.frames
        if self.strategy == "offset_uniform":
            steps = _spread(length, frames, draws)
        else:
            steps = self._cropped(length, frames, draws, before)
        if self.positive_window:
            positive = steps + draws.integers(-self.positive_window, 0, len(steps))
            steps = np.stack([steps, positive], axis=1).reshape(-1)
        mask = ((steps >= 0) & (steps < length)).astype(np.float32)
        chosen = steps.clip(0, length - 1)
        if self.contexts == 1:
            return chosen, chosen, mask
        return with_contexts(steps, length, self.contexts, self.stride), chosen, mask

    def _cropped(self, length: int, frames: int, draws: Draws, before: np.ndarray | None) -> np.ndarray:
        valid = min(length, frames)
        ratio = draws.uniform(1.0, self.region) if self.region > 1 else 1.0
        block = math.ceil(ratio * (valid if self.crop_of_clip else length))
        low, high = 0, max(length - block, 1)
        if before is not None and self.consistent_offset != 0:
            shift = int((1 - self.consistent_offset) * valid)
            first = int(min(before))
            low = max(0, min(length - block, first - shift))
            high = max(1, min(length - block + 1, first + shift + 1))
        offset = int(draws.integers(low, high))
        steps = offset + np.sort(draws.permutation(block)[:valid])
        if steps[0] >= length:  # a view without any frame has no loss; the official code returns NaN
            steps[0] = length - 1
        return np.append(steps, np.full(frames - valid, length)).astype(np.int64)


def _spread(length: int, frames: int, draws: Draws) -> np.ndarray:
    if length >= frames:
        return np.sort(draws.permutation(length)[:frames]).astype(np.int64)
    return np.arange(frames)


def with_contexts(steps: np.ndarray, length: int, contexts: int, stride: int) -> np.ndarray:
    """(T,) frames -> (T * contexts,): each after the frames that precede it, clamped to the video.

    >>> with_contexts(np.array([4, 9]), 10, 2, 3)
    array([1, 4, 6, 9])
    """
    past = stride * np.arange(1 - contexts, 1)
    return (np.asarray(steps)[:, None] + past).clip(0, length - 1).reshape(-1)


def chunks(length: int, frames_per_pass: int) -> list[slice]:
    """Nearly equal pieces of at most `frames_per_pass` frames, in which a video is embedded (section 11.1).

    >>> [(c.start, c.stop) for c in chunks(57, 25)]
    [(0, 19), (19, 38), (38, 57)]
    """
    size = math.ceil(length / math.ceil(length / frames_per_pass))
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def class_batches(
    groups: Sequence[Sequence[int]], batch_size: int, draws: Draws, processes: int = 1
) -> list[list[int]]:
    """One epoch of batches whose videos are of one class, as TCC trains on Penn Action (section 6.3).

    groups: the videos of each class. Every batch draws a class, then up to `batch_size` of its videos. With several
    processes each gives its own `draws`; the official ranks all draw the same batches (quirk 19).
    """
    share = math.ceil(sum(map(len, groups)) / processes)
    batches = []
    for _ in range(share // batch_size):
        group = groups[int(draws.integers(0, len(groups)))]
        batches.append([group[k] for k in draws.permutation(len(group))[:batch_size]])
    return batches
