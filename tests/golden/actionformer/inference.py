"""Runners of decoding, suppression and score fusion."""

from __future__ import annotations

import numpy as np
import torch

from golden.kit import Case, Outputs, Runner
from kinoscope.localization.decode import DECODE, decode_levels, detections
from kinoscope.localization.fusion import fuse_scores
from kinoscope.metrics.nms import METHODS, batched_nms, hard_nms, soft_nms, vote


def _meta(meta: dict) -> dict:
    known = {"video_id", "fps", "duration", "feat_stride", "feat_num_frames", "offset"}
    if unknown := set(meta) - known:
        raise KeyError(f"unknown metadata {unknown}")
    return {name: meta[name] for name in ("fps", "duration", "feat_stride", "feat_num_frames")}


def decode(case: Case) -> Outputs:
    merged, metas = case.hyperparameters["merged"], case.hyperparameters["metas"]
    model, test_cfg = merged["model"], dict(merged["test_cfg"])
    if test_cfg.get("class_sigma"):
        test_cfg["class_sigma"] = {int(k): v for k, v in test_cfg["class_sigma"].items()}
    levels = model["backbone_arch"][2] + 1 - model["fpn_start_level"]
    strides = [float(model["scale_factor"] ** (i + model["fpn_start_level"])) for i in range(levels)]
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in case.inputs.items()}
    scale = case.hyperparameters.get("offset_scale", 1.0)
    logits = [tensors[f"logits{i}"] for i in range(levels)]
    offsets = [tensors[f"offsets{i}"].abs() * scale for i in range(levels)]
    masks = [tensors[f"mask{i}"].reshape(-1) for i in range(levels)]
    first = {name: value for name, value in test_cfg.items() if name in DECODE}
    raw = decode_levels(logits, offsets, masks, strides, **first)
    outputs = {"raw/count": np.array(len(raw[1]))}
    outputs |= dict(zip(("raw/segments", "raw/scores", "raw/labels"), raw, strict=True))
    for j, meta in enumerate(metas):
        result = detections(logits, offsets, masks, strides, test_cfg, _meta(meta))
        outputs |= dict(zip((f"{j}/segments", f"{j}/scores", f"{j}/labels"), result, strict=True))
    return outputs


def nms(case: Case) -> Outputs:
    segments, scores, labels = (case.inputs[name] for name in ("segments", "scores", "labels"))
    outputs: Outputs = {}
    for j, entry in enumerate(case.hyperparameters["settings"]):
        settings = dict(entry)
        if settings.get("class_sigma"):
            settings["class_sigma"] = {int(k): v for k, v in settings["class_sigma"].items()}
        result = batched_nms(segments, scores, labels, **settings)
        outputs |= dict(zip((f"{j}/segments", f"{j}/scores", f"{j}/labels"), result, strict=True))
    empty = batched_nms(segments[:0], scores[:0], labels[:0])
    outputs["empty/count"] = np.array(len(empty[1]))
    for threshold in case.hyperparameters["hard_thresholds"]:
        outputs[f"hard/{threshold}"] = hard_nms(segments, scores, threshold)
    for j, (method, threshold, sigma, min_score) in enumerate(case.hyperparameters["soft"]):
        index, score = soft_nms(segments, scores, threshold, sigma, min_score, METHODS[method])
        outputs[f"soft/{j}/index"] = index
        outputs[f"soft/{j}/dets"] = np.concatenate([segments[index], score[:, None]], 1)
    outputs["voted"] = vote(segments[:8], segments, scores, case.hyperparameters["voting"])
    return outputs


def fusion(case: Case) -> Outputs:
    names = np.array(case.hyperparameters["video_names"], object)
    known = {"video_names", "nested", "num_pred", "topk"}
    if unknown := set(case.hyperparameters) - known:
        raise KeyError(f"unknown hyper-parameters {unknown}")
    video = names[case.inputs["video"]]
    cls = {name: case.inputs["cls"][i] for i, name in enumerate(names)}
    external = {"results": cls} if case.hyperparameters.get("nested") else cls
    given = [case.inputs[name] for name in ("start", "end", "score")]
    options = {key: case.hyperparameters[key] for key in ("num_pred", "topk") if key in case.hyperparameters}
    fused = fuse_scores(video, *given, external, **options)
    rank = {name: i for i, name in enumerate(names)}
    return {
        "video": np.array([rank[v] for v in fused.video]),
        "t-start": fused.start,
        "t-end": fused.end,
        "label": fused.label,
        "score": fused.score,
    }


RUNNERS: dict[str, Runner] = {
    "actionformer.decode": decode,
    "actionformer.nms": nms,
    "actionformer.fusion": fusion,
}
