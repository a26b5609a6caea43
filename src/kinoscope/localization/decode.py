"""From network outputs to detections of one video (ActionFormer, specification 7.1-7.3).

Differences from the official code: none in the numbers; the steps are functions of plain arrays, and the
network's tensors stay on their device until the few candidates that pass the threshold leave it.

Shape suffixes: T steps of a level, K classes, N detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinoscope.metrics.nms import Detections, batched_nms_indexed


class Candidates:
    """Collects what passes the threshold, level by level; pieces of a long video one after another.

    Of every level no more than the best `pre_nms_topk` are held, as segments in feature steps with their scores
    and labels, best first; pieces must come in order of time. Of equal scores the earlier point comes first.
    """

    def __init__(
        self,
        strides: Sequence[float],
        pre_nms_thresh: float = 0.001,
        pre_nms_topk: int = 5000,
        duration_thresh: float = 0.05,
        score_temperature: float = 1.0,
    ) -> None:
        self.strides, self.threshold, self.topk = tuple(strides), pre_nms_thresh, pre_nms_topk
        self.shortest, self.temperature = duration_thresh, score_temperature
        self.levels: list[tuple[Tensor, ...] | None] = [None] * len(self.strides)

    def add(
        self,
        logits: Sequence[Tensor],
        offsets: Sequence[Tensor],
        masks: Sequence[Tensor],
        distributions: Sequence[Tensor] = (),
        first: int = 0,
    ) -> None:
        """Outputs of a piece that begins at step `first`: logits (T, K), offsets (T, 2), masks (T,) a level."""
        spread: Sequence[Tensor | None] = distributions or [None] * len(self.strides)
        for level, parts in enumerate(zip(logits, offsets, masks, spread, strict=True)):
            found = self._level(*parts, self.strides[level], first)
            held = self.levels[level]
            if held is not None:
                found = tuple(torch.cat(pair) for pair in zip(held, found, strict=True))
                best = _best(found[1], self.topk)
                found = tuple(column[best] for column in found)
            self.levels[level] = found

    def _level(
        self,
        logits_TK: Tensor,
        offsets_T2: Tensor,
        mask_T: Tensor,
        distribution_T2R: Tensor | None,
        stride: float,
        first: int,
    ) -> tuple[Tensor, ...]:
        p_TK = (logits_TK.float() / self.temperature).sigmoid() * mask_T.float()[:, None]
        flat = p_TK.flatten()
        index = torch.nonzero(flat > self.threshold)[:, 0]
        index = index[_best(flat[index], self.topk)]
        point = torch.div(index, logits_TK.shape[1], rounding_mode="floor")
        offset = offsets_T2[point].float()
        t = point.to(offset.dtype) * stride + first
        segment = torch.stack([t - offset[:, 0] * stride, t + offset[:, 1] * stride], 1)
        columns = (segment, flat[index], index - point * logits_TK.shape[1])
        if distribution_T2R is None:
            return columns
        return (*columns, _spread(distribution_T2R[point].float(), offset) * stride)

    def result(self) -> Detections:
        """Segments (N, 2) float32, scores (N,), labels (N,) of all levels, fine to coarse."""
        segments, scores, labels = self._columns()[:3]
        return segments, scores, labels

    def spread(self) -> np.ndarray | None:
        """(N, 2) standard deviations of start and end in steps, where the network gives distributions."""
        columns = self._columns()
        return columns[3] if len(columns) > 3 else None

    def _columns(self) -> list[np.ndarray]:
        levels = [level for level in self.levels if level is not None]
        kept = [(level[0][:, 1] - level[0][:, 0]) > self.shortest for level in levels]
        return [
            torch.cat([column[keep] for column, keep in zip(columns, kept, strict=True)]).cpu().numpy()
            for columns in zip(*levels, strict=True)
        ]


def _best(score_N: Tensor, count: int) -> Tensor:
    """Indices of the `count` highest scores, best first, of equal ones the first; sorts no more than it must."""
    if len(score_N) <= 4 * count:
        return score_N.sort(descending=True, stable=True)[1][:count]
    able = torch.nonzero(score_N >= score_N.topk(count, sorted=True)[0][-1])[:, 0]
    return able[score_N[able].sort(descending=True, stable=True)[1][:count]]


def _spread(logits_N2R: Tensor, offset_N2: Tensor) -> Tensor:
    """(N, 2) standard deviations of distances, in strides; the level's gain is read from the distances."""
    p_N2R = logits_N2R.softmax(-1)
    bins = torch.arange(p_N2R.shape[-1], device=p_N2R.device, dtype=p_N2R.dtype)
    mean_N2 = p_N2R @ bins
    deviation_N2 = (p_N2R @ bins.square() - mean_N2.square()).clamp(min=0).sqrt()
    return deviation_N2 * offset_N2 / mean_N2.clamp(min=1e-6)


def decode_levels(
    logits: Sequence[Tensor],
    offsets: Sequence[Tensor],
    masks: Sequence[Tensor],
    strides: Sequence[float],
    *,
    pre_nms_thresh: float = 0.001,
    pre_nms_topk: int = 5000,
    duration_thresh: float = 0.05,
    score_temperature: float = 1.0,
) -> Detections:
    """Candidates before suppression: segments (N, 2) float32 in feature steps, scores (N,), labels (N,).

    logits: (T, K) a level, fine to coarse; offsets: (T, 2) distances to start and end in strides; masks: (T,),
    True = real data; strides: of the levels. Per level: scores above `pre_nms_thresh`, the best `pre_nms_topk`
    of them, and of these the segments longer than `duration_thresh` steps.
    """
    candidates = Candidates(strides, pre_nms_thresh, pre_nms_topk, duration_thresh, score_temperature)
    candidates.add(logits, offsets, masks)
    return candidates.result()


def suppress(segments: np.ndarray, scores: np.ndarray, labels: np.ndarray, **settings: Any) -> Detections:
    """What NMS leaves, under the published names of `test_cfg`; settings as of `suppress_indexed`."""
    return suppress_indexed(segments, scores, labels, **settings)[:3]


def suppress_indexed(
    segments: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    nms_method: str = "soft",
    iou_threshold: float = 0.1,
    min_score: float = 0.01,
    max_seg_num: int = 1000,
    nms_sigma: float = 0.5,
    multiclass_nms: bool = True,
    voting_thresh: float = 0.75,
    use_diou_nms: bool = False,
    class_sigma: Mapping[int, float] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """NMS, and which candidate each result was; method `none` returns the candidates as they are."""
    if nms_method == "none":
        return segments, scores, labels, np.arange(len(scores))
    return batched_nms_indexed(
        segments,
        scores,
        labels,
        iou_threshold=iou_threshold,
        min_score=min_score,
        max_seg_num=max_seg_num,
        use_soft_nms=nms_method == "soft",
        multiclass=multiclass_nms,
        sigma=nms_sigma,
        voting_thresh=voting_thresh,
        use_diou_nms=use_diou_nms,
        class_sigma=class_sigma,
    )


def to_seconds(
    segments_N2: np.ndarray, *, fps: float, duration: float, feat_stride: float, feat_num_frames: float
) -> np.ndarray:
    """(N, 2) float32 seconds of segments in feature steps, within [0, duration]."""
    frames = np.asarray(segments_N2, np.float32) * np.float32(feat_stride) + np.float32(0.5 * feat_num_frames)
    return np.clip(frames / np.float32(fps), 0, np.float32(duration))


DECODE = {"pre_nms_thresh", "pre_nms_topk", "duration_thresh", "score_temperature"}
NOT_HERE = {"ext_score_file"}  # fusion follows once all videos are there


def detections(
    logits: Sequence[Tensor],
    offsets: Sequence[Tensor],
    masks: Sequence[Tensor],
    strides: Sequence[float],
    test_cfg: Mapping[str, Any],
    axis: Mapping[str, float],
) -> Detections:
    """Complete inference of one video after the network; segments in seconds.

    test_cfg: published names and values; axis: fps, duration, feat_stride, feat_num_frames of the video.
    """
    decode = {name: value for name, value in test_cfg.items() if name in DECODE}
    rest = {name: value for name, value in test_cfg.items() if name not in DECODE | NOT_HERE}
    segments, scores, labels = suppress(
        *decode_levels(logits, offsets, masks, strides, **decode),
        **rest,
    )
    if len(segments):
        segments = to_seconds(segments, **axis)
    return segments, scores, labels
