"""The complete inference of a `model_eval` case: what `result/*` holds."""

from __future__ import annotations

import numpy as np

from golden.actionformer.inference import _meta
from golden.kit import Case, Outputs
from kinoscope.localization.decode import detections
from kinoscope.localization.decode_arrays import peaks
from kinoscope.localization.models import LocalizerOutput, ModelConfig


def complete_inference(case: Case, config: ModelConfig, output: LocalizerOutput, valid: int) -> Outputs:
    test_cfg = dict(case.hyperparameters["merged"]["test_cfg"])
    if config.model_name == "SnapFormer":
        p_TK = output.logits[0][0, :valid].sigmoid().numpy()
        place, label = peaks(p_TK, test_cfg["min_score"])
        time = (place * config.strides[0]).astype(np.float32)
        segments, score = np.stack([time, time], 1), p_TK[place, label]
        return {"result/segments": segments, "result/scores": score, "result/labels": label}
    if test_cfg.get("class_sigma"):
        test_cfg["class_sigma"] = {int(k): v for k, v in test_cfg["class_sigma"].items()}
    levels = [[level[0] for level in part] for part in (output.logits, output.offsets, output.masks)]
    strides = [float(stride) for stride in config.strides]
    found = detections(*levels, strides, test_cfg, _meta(case.hyperparameters["meta"]))
    return dict(zip(("result/segments", "result/scores", "result/labels"), found, strict=True))
