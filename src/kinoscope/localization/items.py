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
    video; feat_stride and feat_num_frames in frames, of these features; read: [C, stop - start] of the steps
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
    read: Read | None = None


def piece(item: Item, start: int, stop: int) -> Tensor:
    """Features [C, n] of the steps [start, stop), as far as the video has them."""
    stop = min(stop, item.feats.shape[1])
    return item.feats[:, start:stop] if item.read is None else item.read(start, stop)


def no_segments() -> tuple[Tensor, Tensor]:
    """Segments and labels of a video without any action."""
    return torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)
