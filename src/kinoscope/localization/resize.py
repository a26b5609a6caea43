"""From the frames of a video to the steps of its features: three cases (ActionFormer specification 3.1, 3.3).

1. features at a stride, taken as they are (every data set but ActivityNet as published);
2. features at a stride, stretched to one length (ActivityNet as published);
3. a fixed number of features a video, whatever its length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kinoscope.errors import KinoscopeError
from kinoscope.localization.settings import FeatureData
from kinoscope.timeline import TimeAxis


@dataclass(frozen=True)
class Grid:
    """Steps of one video: their number, stride and window in frames; `resized`: not the file's own steps."""

    length: int
    stride: float
    num_frames: float
    resized: bool = False

    @property
    def offset(self) -> float:
        """Half a window, in steps."""
        return 0.5 * self.num_frames / self.stride

    def steps(self, segments_s: np.ndarray, fps: float) -> np.ndarray:
        """Segments [N, 2] from seconds to steps, in float32 like the official readers."""
        seconds = np.asarray(segments_s, np.float32)
        return np.asarray(seconds * fps / self.stride - self.offset, np.float32)


def keeps_rows(data: FeatureData) -> bool:
    """Case 1: the file's own rows are the steps."""
    return data.reader != "anet" or (data.feat_stride > 0 and not data.force_upsampling)


def grid_of(data: FeatureData, rows: int, duration_s: float | None, fps: float) -> Grid:
    """The steps of a video whose features have `rows` rows (after `downsample_rate` in case 1)."""
    if keeps_rows(data):
        if data.feat_stride <= 0:
            raise KinoscopeError(
                "features of fixed length need the reader anet",
                field="data.feat_stride",
                value=data.feat_stride,
            )
        return Grid(rows, data.feat_stride * data.downsample_rate, data.num_frames)
    length = data.max_seq_len if data.force_upsampling else rows
    if data.feat_stride > 0:
        stride = ((rows - 1) * data.feat_stride + data.num_frames) / data.max_seq_len
    elif duration_s is None:
        raise KinoscopeError("features of fixed length need the duration of their video", field="duration")
    else:
        stride = duration_s * fps / length
    if length > data.max_seq_len:
        raise KinoscopeError(
            f"there are {rows} features, more than max_seq_len",
            field="data.max_seq_len",
            value=data.max_seq_len,
            remedy=f"set data.max_seq_len={rows}, or data.force_upsampling=true",
        )
    return Grid(length, stride, stride, resized=length != rows)


def check_axis(data: FeatureData, axis: TimeAxis, file: object) -> None:
    """Refuses features on another time axis than the recipe's; says both."""
    wanted = TimeAxis(data.default_fps or axis.fps, data.feat_stride, data.num_frames)
    if axis != wanted:
        raise KinoscopeError(
            f"these features lie on another time axis than the recipe's {wanted}",
            file=str(file),
            field="axis",
            value=axis,
            remedy=f"set data.feat_stride={axis.stride_frames:g} data.num_frames={axis.window_frames:g}, "
            "or extract anew",
        )


def resize(feats_CT: Tensor, length: int) -> Tensor:
    """Features [C, T] at `length` steps, by linear interpolation between the middles of steps."""
    return torch.nn.functional.interpolate(feats_CT[None], size=length, mode="linear", align_corners=False)[0]


def cut_to_features(
    segments: np.ndarray, labels: np.ndarray, length: int, offset: float, trunc_thresh: float
) -> tuple[np.ndarray, np.ndarray]:
    """Segments [N, 2] (steps) of a video whose features end early, cut to what there is (training, ActivityNet).

    One stays where at least `trunc_thresh` of it is covered. None may be left: the official code fails there.
    """
    end = length + offset
    start, stop = np.asarray(segments, np.float64).reshape(-1, 2).T
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (np.minimum(stop, end) - start) / (stop - start)
    keep = (start < end) & (share >= trunc_thresh)
    return np.minimum(segments[keep], np.float32(end)), labels[keep]
