"""Runners of the evaluation cases (specification 10)."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from golden.kit import Case, Outputs, Runner
from kinoscope.localization.evaluate import read_truth, table_rows
from kinoscope.metrics import detection
from kinoscope.timeline import Events


def metrics(case: Case) -> Outputs:
    given = dict(case.hyperparameters)
    annotations, names = given.pop("annotations"), given.pop("video_names")
    evaluations = given.pop("evaluations")
    if given:
        raise KeyError(f"unknown hyper-parameters {sorted(given)}")
    columns = case.inputs
    videos = np.array([names[int(k)] for k in columns["video"]], object)
    found = Events(videos, columns["start"], columns["end"], columns["label"], columns["score"])
    outputs: Outputs = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "annotations.json"
        file.write_text(json.dumps(annotations))
        for j, evaluation in enumerate(evaluations):
            for name, value in _evaluate(file, found, evaluation).items():
                outputs[f"{j}/{name}"] = value
    return outputs


def _evaluate(file: Path, found: Events, evaluation: dict[str, Any]) -> Outputs:
    if unknown := evaluation.keys() - {"split", "tiou", "top_k"}:
        raise KeyError(f"unknown settings {sorted(unknown)}")
    truth = read_truth(file, evaluation["split"])
    classes = np.unique(truth.label)
    true_rows, found_rows = table_rows(truth, found, classes)
    top = evaluation["top_k"]
    matches = detection.match(true_rows, found_rows, np.linspace(*evaluation["tiou"]).tolist(), top)
    ap = detection.average_precision(true_rows, found_rows, matches.right_SN, len(classes))
    recall = np.stack([detection.recall_at(true_rows, matches.reached[k], len(classes)) for k in top], axis=1)
    return {
        "mAP": ap.mean(axis=1),
        "average_mAP": ap.mean(),
        "mRecall": recall.mean(axis=2),
        "ap": ap,
        "recall": recall,
        "class_ids": classes,
        "num_gt": np.array(len(truth)),
    }


RUNNERS: dict[str, Runner] = {"actionformer.metrics": metrics}
