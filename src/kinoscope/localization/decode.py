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

from kinoscope.metrics.nms import Detections, batched_nms


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
    segments, scores, labels = [], [], []
    for logits_TK, offsets_T2, mask_T, stride in zip(logits, offsets, masks, strides, strict=True):
        level = _decode_level(logits_TK.float() / score_temperature, offsets_T2.float(), mask_T, stride)
        segment_N2, score, label = level(pre_nms_thresh, pre_nms_topk)
        long = (segment_N2[:, 1] - segment_N2[:, 0]) > duration_thresh
        segments.append(segment_N2[long])
        scores.append(score[long])
        labels.append(label[long])
    return (
        torch.cat(segments).cpu().numpy(),
        torch.cat(scores).cpu().numpy(),
        torch.cat(labels).cpu().numpy(),
    )


def _decode_level(logits_TK: Tensor, offsets_T2: Tensor, mask_T: Tensor, stride: float) -> Any:
    def candidates(threshold: float, topk: int) -> tuple[Tensor, Tensor, Tensor]:
        p_TK = logits_TK.sigmoid() * mask_T.to(logits_TK.dtype)[:, None]
        flat = p_TK.flatten()
        index = torch.nonzero(flat > threshold)[:, 0]
        score, order = flat[index].sort(descending=True, stable=True)
        score, index = score[:topk], index[order[:topk]]
        point = torch.div(index, logits_TK.shape[1], rounding_mode="floor")
        offset = offsets_T2[point] * stride
        t = point.to(offset.dtype) * stride
        return (
            torch.stack([t - offset[:, 0], t + offset[:, 1]], 1),
            score,
            index - point * logits_TK.shape[1],
        )

    return candidates


def suppress(
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
) -> Detections:
    """NMS under the published names of `test_cfg`; `none` returns the candidates as they are."""
    if nms_method == "none":
        return segments, scores, labels
    return batched_nms(
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


def peaks(logits_T: Tensor, valid: int, stride: float, min_score: float) -> tuple[np.ndarray, np.ndarray]:
    """Instants of a heat map (specification 11.4): (N,) places in feature steps in time order, (N,) scores.

    A peak is strictly higher than both neighbours (0 beyond the ends) and above `min_score`; only the first
    `valid` steps count.
    """
    p = logits_T[:valid].float().sigmoid()
    padded = torch.nn.functional.pad(p, (1, 1))
    index = torch.nonzero((p > padded[:-2]) & (p > padded[2:]) & (p > min_score))[:, 0]
    return (index.to(p.dtype) * stride).cpu().numpy(), p[index].cpu().numpy()
