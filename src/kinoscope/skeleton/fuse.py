"""The ensemble of three runs, one a stream (AimCLR's `ensemble_*.py`), paired by sample name.

ensemble_of_runs(["runs/joint", "runs/motion", "runs/bone"])
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.skeleton.metrics import ensemble, percent, top_k


def ensemble_of_runs(runs: Sequence[str | Path]) -> dict[str, float]:
    """Top-1 and top-5 in percent of the weighted sum (0.6 joint, 0.6 bone, 0.4 motion) of the runs' scores.

    Each run folder says its own stream. Raises KinoscopeError where a folder holds no scores, two runs hold the same
    stream, or their samples or labels differ.
    """
    tables: dict[str, dict[str, np.ndarray]] = {}
    labels: dict[str, int] = {}
    for run in runs:
        path = Path(run) / "predictions.json"
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            scores, truth = kept["scores"], kept["labels"]
        except (OSError, ValueError, KeyError) as error:
            raise KinoscopeError(
                "this run holds no scores", file=path, value=str(error), remedy="train its linear stage first"
            ) from error
        if both := set(scores) & set(tables):
            raise KinoscopeError(
                "two runs hold the same stream", file=path, field="stream", value=sorted(both)
            )
        if labels and truth != labels:
            raise KinoscopeError(
                "the runs were judged on different samples or labels",
                file=path,
                remedy="judge all on one data set",
            )
        labels = truth
        tables |= {s: {name: np.array(row) for name, row in rows.items()} for s, rows in scores.items()}
    names = list(labels)
    total, truths = ensemble(tables, names), np.array([labels[name] for name in names])
    return {f"top{k}": percent(top_k(total, truths, k)) for k in (1, 5)}
