"""What a training or test sample of a localizer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Read = Callable[[int, int], Tensor]


@dataclass(frozen=True)
class Item:
    """One video on the feature grid (specification 3.1).

    feats: [C, T] float32; segments: [N, 2] float32 in steps; labels: [N] int64; fps and duration (s) of the
    video; feat_stride and feat_num_frames in frames, of these features; frames: [T] int64, the class that lasts at
    every step, -1 where none does (of instants, whose segments do not tell); read: [C, stop - start] of the steps
    [start, stop), for a video that is too long to hold, whose `feats` then are without values (device meta).
    """

    video_id: str
    feats: Tensor
    segments: Tensor
    labels: Tensor
    fps: float
    duration: float
    feat_stride: float
    feat_num_frames: float
    frames: Tensor | None = None
    read: Read | None = None


def lasting_classes(item: Item, length: int) -> Tensor:
    """(length,) int64 class that lasts at every step, -1 where none does; from the segments unless `frames` tells."""
    steps = torch.full((length,), -1, dtype=torch.int64)
    if item.frames is not None:
        steps[: len(item.frames)] = item.frames
        return steps
    bounds = item.segments.round().long().clamp(0, length)
    for (first, last), label in zip(bounds.tolist(), item.labels.tolist(), strict=True):
        steps[first:last] = label
    return steps


def piece(item: Item, start: int, stop: int) -> Tensor:
    """Features [C, n] of the steps [start, stop), as far as the video has them."""
    stop = min(stop, item.feats.shape[1])
    return item.feats[:, start:stop] if item.read is None else item.read(start, stop)


def no_segments() -> tuple[Tensor, Tensor]:
    """Segments and labels of a video without any action."""
    return torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)
