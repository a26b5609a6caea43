"""Runner of the fork's utilities (specification 11.6)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from golden.actionformer.setup import checked
from golden.kit import Case, Outputs, Runner
from kinoscope.localization import (
    LossLogger,
    TemporalConstraints,
    compute_adaptive_ranges,
    compute_iou_stats,
    enforce_class_constraints,
    merge_close_detections,
)
from kinoscope.localization.validate import inspect_config

RANGES = {"num_levels", "scale_factor", "fps", "feat_stride", "overlap_ratio", "min_range"}
LOSSES = ("final_loss", "cls_loss")  # the columns of the case's losses


def fork_utils(case: Case) -> Outputs:
    hyper = checked(
        case.hyperparameters, {"video_names", "adaptive", "constraints", "configs", "logger", "losses"}
    )
    outputs: Outputs = {}
    for j, entry in enumerate(hyper["adaptive"]):
        outputs[f"adaptive/{j}"] = np.array(_ranges(case, dict(entry)))
    for j, entry in enumerate(hyper["constraints"]):
        for name, column in _constrained(case, dict(entry), hyper["video_names"]).items():
            outputs[f"constraints/{j}/{name}"] = column
    for j, entry in enumerate(hyper["configs"]):
        found = inspect_config(checked(entry, {"cfg", "strict"})["cfg"])
        outputs[f"config/{j}"] = np.array([not found.errors, len(found.errors), len(found.warnings)], int)
    return outputs | _logged(case, hyper["logger"])


def _ranges(case: Case, options: dict[str, Any]) -> Any:
    text, use_durations = options.pop("from_json", None), options.pop("use_durations", None)
    checked(options, RANGES)
    if text is None:
        return compute_adaptive_ranges(durations=case.inputs["durations"] if use_durations else [], **options)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "annotations.json"
        file.write_text(text)
        return compute_adaptive_ranges(file, **options)


def _constrained(case: Case, entry: dict[str, Any], names: list[str]) -> Outputs:
    columns = case.inputs
    results: dict[str, Any] = {"video-id": [names[int(k)] for k in columns["video"]]}
    results |= {"t-start": columns["start"], "t-end": columns["end"]}
    results |= {"label": columns["label"], "score": columns["score"]}
    if "enforce" in entry:
        options = checked(entry["enforce"], {"class_id", "min_gap", "duration_range", "max_overlap"})
        found = enforce_class_constraints(results, **options)
    elif "merge" in entry:
        found = merge_close_detections(results, **checked(entry["merge"], {"merge_gap", "class_id"}))
    else:
        checked(entry, {"min_gap", "max_overlap", "duration_range", "ordering", "score_threshold"})
        by_class = {
            name: {int(k): v for k, v in entry[name].items()}
            for name in ("min_gap", "duration_range")
            if entry.get(name)
        }
        found = TemporalConstraints(**entry | by_class).apply(results)
    video = np.array([names.index(str(name)) for name in found.pop("video-id")])
    return {"video": video, **found}


def _logged(case: Case, settings: dict[str, Any]) -> Outputs:
    log = LossLogger(window_size=checked(settings, {"window"})["window"])
    for step, row in enumerate(torch.from_numpy(case.inputs["loss"])):
        log.update(dict(zip(LOSSES, row, strict=True)), {"num_pos": float(step)})
    means = log.get_averages()
    offsets = [torch.from_numpy(case.inputs[f"{name}_offsets"]).abs() for name in ("pred", "target")]
    iou = compute_iou_stats(*offsets)
    return {
        "logger/averages": np.array([means[name] for name in (*LOSSES, "num_pos")]),
        "logger/steps": np.array(log.step_count),
        "logger/iou": np.array([iou[name] for name in ("mean_iou", "min_iou", "max_iou")]),
    }


RUNNERS: dict[str, Runner] = {"actionformer.fork_utils": fork_utils}
