"""From the outputs of an exported network to events, on numpy arrays alone (no torch).

`features, mask = padded_features(features_TC, about)` makes the graph's inputs; `decode_arrays(outputs, about, ...)`
reads its outputs. `about` is the exported `graph.json`. The numbers are those of `kinoscope predict --all`.

Shape suffixes: T steps, C channels, K classes, N detections, R bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.metrics.nms import batched_nms_indexed, peak_nms


class Decoded(NamedTuple):
    """Best first: start_s, end_s (N,) seconds, label (N,), score (N,), uncertainty_s (N, 2) or None."""

    start_s: np.ndarray
    end_s: np.ndarray
    label: np.ndarray
    score: np.ndarray
    uncertainty_s: np.ndarray | None


def padded_features(features_TC: np.ndarray, about: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """features [1, C, T'] and mask [1, 1, T'], T' the shortest length the graph gives exact answers at.

    Raises KinoscopeError for features of another width or longer than the graph takes.
    """
    unit, channels = about["multiple_of"], about["inputs"]["features"][1]
    if features_TC.ndim != 2 or features_TC.shape[1] != channels or not len(features_TC):
        raise KinoscopeError(
            f"the graph takes features (steps, {channels})", field="features", value=features_TC.shape
        )
    length = (-(-len(features_TC) // unit) + about["padding"]) * unit
    if length > about["max_length"]:
        length = -(-len(features_TC) // unit) * unit
    if length > about["max_length"]:
        raise KinoscopeError(
            f"the graph takes at most {about['max_length']} steps",
            field="features",
            value=len(features_TC),
            remedy="cut the video, or use `kinoscope predict`, which runs window by window",
        )
    features = np.zeros((1, channels, length), np.float32)
    features[0, :, : len(features_TC)] = features_TC.T
    mask = np.arange(length)[None, None] < len(features_TC)
    return features, mask


def decode_arrays(
    outputs: Mapping[str, np.ndarray],
    about: Mapping[str, Any],
    steps: int,
    fps: float,
    duration_s: float = np.inf,
    feat_stride: float | None = None,
    feat_num_frames: float | None = None,
    **decode: Any,
) -> Decoded:
    """Events of one video from the graph's outputs by name.

    steps: real steps, the length before padding; fps: frames a second of the video; feat_stride, feat_num_frames:
    frames between features and under one, where a video's differ from the exported ones; decode: settings of the
    recipe's `decode:` section in place of the exported ones.
    """
    settings = {**about["decode"], **decode}
    axis = about["axis"]
    stride = axis["feat_stride"] if feat_stride is None else feat_stride
    covered = axis["feat_num_frames"] if feat_num_frames is None else feat_num_frames
    if about["model"] == "SnapFormer":
        heat = [outputs[f"logits_{level}"][0] for level in range(len(about["strides"]))]
        gap = settings["peak_gap_s"] * fps / stride
        segments, score, label = instants(heat, about["strides"], steps, settings, gap)
        spread = None
    else:
        segments, score, label, spread = _segments(outputs, about["strides"], steps, settings)
    order = np.argsort(-score, kind="stable")
    frames = segments[order].astype(np.float32) * np.float32(stride) + np.float32(0.5 * covered)
    seconds = np.clip(frames / np.float32(fps), 0, np.float32(duration_s)).reshape(-1, 2)
    uncertainty_s = None if spread is None else spread[order] * (stride / fps)
    end_s = np.maximum(seconds[:, 1], seconds[:, 0])
    return Decoded(seconds[:, 0], end_s, label[order], score[order], uncertainty_s)


def _segments(
    outputs: Mapping[str, np.ndarray], strides: list[int], steps: int, settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Suppressed segments in steps, scores, labels, deviations of the bounds in steps."""
    levels = [_level(outputs, level, stride, steps, settings) for level, stride in enumerate(strides)]
    columns = [np.concatenate(parts) for parts in zip(*levels, strict=True)]
    segments, score, label = columns[:3]
    index = np.arange(len(score))
    if settings["nms_method"] != "none":
        segments, score, label, index = batched_nms_indexed(
            segments,
            score,
            label,
            iou_threshold=settings["iou_threshold"],
            min_score=settings["min_score"],
            max_seg_num=settings["max_seg_num"],
            use_soft_nms=settings["nms_method"] == "soft",
            multiclass=settings["multiclass_nms"],
            sigma=settings["nms_sigma"],
            voting_thresh=settings["voting_thresh"],
            use_diou_nms=settings["use_diou_nms"],
            class_sigma={int(k): v for k, v in (settings["class_sigma"] or {}).items()} or None,
        )
    return segments, score, label, columns[3][index] if len(columns) > 3 else None


def _level(
    outputs: Mapping[str, np.ndarray], level: int, stride: int, steps: int, settings: Mapping[str, Any]
) -> list[np.ndarray]:
    """Candidates of a level: segments (N, 2), scores, labels and, of distributions, deviations (N, 2)."""
    logits_TK, offsets_T2 = outputs[f"logits_{level}"][0], outputs[f"offsets_{level}"][0]
    real = np.arange(len(logits_TK)) * stride < steps
    flat = (_sigmoid(logits_TK / np.float32(settings["score_temperature"])) * real[:, None]).ravel()
    index = np.flatnonzero(flat > np.float32(settings["pre_nms_thresh"]))
    index = index[np.argsort(-flat[index], kind="stable")][: settings["pre_nms_topk"]]
    point, label = np.divmod(index, logits_TK.shape[1])
    t, offset = (point * stride).astype(np.float32), offsets_T2[point] * np.float32(stride)
    segments = np.stack([t - offset[:, 0], t + offset[:, 1]], 1)
    columns = [segments, flat[index], label]
    if f"distributions_{level}" in outputs:
        columns.append(
            _spread(outputs[f"distributions_{level}"][0][point], offsets_T2[point]) * np.float32(stride)
        )
    keep = segments[:, 1] - segments[:, 0] > settings["duration_thresh"]
    return [column[keep] for column in columns]


def _spread(logits_N2R: np.ndarray, offset_N2: np.ndarray) -> np.ndarray:
    """(N, 2) standard deviations of distances, in strides."""
    p_N2R = np.exp(logits_N2R - logits_N2R.max(-1, keepdims=True))
    p_N2R /= p_N2R.sum(-1, keepdims=True)
    bins = np.arange(p_N2R.shape[-1], dtype=np.float32)
    mean_N2 = p_N2R @ bins
    deviation_N2 = np.sqrt(np.maximum(p_N2R @ bins**2 - mean_N2**2, 0))
    return deviation_N2 * offset_N2 / np.maximum(mean_N2, np.float32(1e-6))


def instants(
    levels: Sequence[np.ndarray], strides: Sequence[int], steps: int, settings: Mapping[str, Any], gap: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Instants of heat maps as segments of no length in steps, scores, labels; best first, at most `max_seg_num`.

    levels: logits (T_l, K), fine to coarse. A peak of a class's finest map is an instant; gap: steps within which a
    class keeps its best one alone. With `peak_pyramid` the finest maps say when something happens (the best of all
    classes), and the mean q of the coarser ones, which see more, what it is: the score is when * q * q / sum over
    classes of q.
    """
    p_TK = _sigmoid(levels[0][:steps])
    if settings["peak_pyramid"] and len(levels) > 1:
        q_TK = np.zeros_like(p_TK)
        for level, stride in zip(levels[1:], strides[1:], strict=True):
            q_TK += _stretched(_sigmoid(level), stride, steps)
        q_TK /= len(levels) - 1
        p_TK = p_TK.max(1, keepdims=True) * q_TK**2 / (q_TK.sum(1, keepdims=True) + np.float32(1e-6))
    place, label = peaks(p_TK, settings["min_score"])
    score, time = p_TK[place, label], (place * strides[0]).astype(np.float32)
    best = peak_nms(time, score, label, gap, settings["max_seg_num"])
    return np.stack([time, time], 1)[best], score[best], label[best]


def peaks(p_TK: np.ndarray, min_score: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps and classes that are strictly higher than both neighbours (0 beyond the ends) and than `min_score`.

    By class, in order of time (specification 11.4).
    """
    around = np.pad(p_TK, ((1, 1), (0, 0)))
    label, place = np.nonzero(((p_TK > around[:-2]) & (p_TK > around[2:]) & (p_TK > min_score)).T)
    return place, label


def _stretched(p_TK: np.ndarray, stride: int, steps: int) -> np.ndarray:
    """(steps, K): a coarse map at every step, linear between its points."""
    place = np.arange(steps, dtype=np.float32) / stride
    before = np.minimum(place.astype(np.int64), len(p_TK) - 1)
    behind = np.minimum(before + 1, len(p_TK) - 1)
    share = (place - before)[:, None]
    return p_TK[before] * (1 - share) + p_TK[behind] * share


def _sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x.astype(np.float32)))
