"""Late fusion of runs from their stored scores (specification 12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinoscope.anticipation.judge import plain
from kinoscope.anticipation.scores import Scores, figures, fused, search
from kinoscope.engine.files import write_json


def fuse_runs(
    paths: Sequence[Path],
    weights: Sequence[float],
    grid: Sequence[float] | None = None,
    by: str = "recall",
    norm: float | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Figures of the weighted sum of runs, on the segments of the last; grid: weights to search in.

    In `folder`: `evaluation.json`, and `scores.npz` with the fused action scores.
    """
    runs = [Scores.load(path) for path in paths]
    if grid is not None:
        weights = search(runs, grid, by)
    last, table = fused(runs, weights, norm)
    result = figures(last, table)
    result["weights"] = list(weights)
    result["runs"] = [str(path) for path in paths]
    if grid is not None:
        result["protocol"] += f"; weights searched on these very segments by {by}"
    if folder is not None:
        replace(last, action=table.action).save(folder)
        write_json(folder / "evaluation.json", plain(result))
    return result
