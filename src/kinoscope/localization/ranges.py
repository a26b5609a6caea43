"""Regression ranges that follow the durations of the annotated actions (the fork's `compute_adaptive_ranges`).

Specification 11.6. The boundaries between levels are quantiles of the durations, widened so that neighbours
overlap. Two cautions the official code does not give:

1. A range bounds the larger of a point's distances to start and end, which lies between half of the action's
   duration and all of it; ranges from whole durations are therefore on the wide side.
2. The last range ends at 1.1 times the longest action seen; `open_end` lets it end nowhere, as in every
   published configuration, so that a longer action at training or test time has a level.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Ranges = list[tuple[int, int]]
DurationExtractor = Callable[[str, float, float], Sequence[float]]  # (file, fps, stride) -> grid steps
OPEN_END = 10000  # upper bound that means none
COVERED = 0.95  # share of the actions below which a warning is logged

logger = logging.getLogger(__name__)


def compute_adaptive_ranges(
    json_file: str | Path | None = None,
    num_levels: int = 6,
    scale_factor: int = 2,
    fps: float = 30.0,
    feat_stride: float = 1,
    overlap_ratio: float = 0.5,
    min_range: float = 0.0,
    duration_extractor: DurationExtractor | None = None,
    durations: Sequence[float] | np.ndarray | None = None,
    open_end: bool = False,
) -> Ranges:
    """One (low, high) a level, in feature steps.

    json_file: annotations of the ActivityNet kind, all subsets; durations: in steps, in place of a file;
    duration_extractor: reads another kind of file. fps and feat_stride turn seconds into steps. Without any
    action the ranges double from level to level. Raises KinoscopeError where the file cannot be read.

    >>> compute_adaptive_ranges(durations=[10, 20, 30, 40], num_levels=2)
    [(0, 35), (12, 44)]
    """
    if durations is None:
        extract = duration_extractor or annotated_durations
        durations = extract(str(json_file), fps, feat_stride)
    steps = np.asarray(durations, np.float64).reshape(-1)
    if not steps.size:
        logger.warning("no annotations: the ranges double from level to level")
        ranges = _doubling(num_levels, scale_factor)
    else:
        ranges = _quantile_ranges(steps, num_levels, overlap_ratio, min_range)
        _log_coverage(ranges, steps)
    if open_end:
        ranges[-1] = (ranges[-1][0], max(ranges[-1][1], OPEN_END))
    return ranges


def suggest_config_ranges(
    json_file: str | Path, backbone_arch: Sequence[int], fpn_start_level: int = 0, **options: Any
) -> dict[str, Any]:
    """The `model` keys of a configuration whose number of levels follows from `backbone_arch`."""
    levels = backbone_arch[-1] + 1 - fpn_start_level
    ranges = compute_adaptive_ranges(json_file, num_levels=levels, **options)
    model = {
        "backbone_arch": list(backbone_arch),
        "fpn_start_level": fpn_start_level,
        "regression_range": ranges,
    }
    return {"model": model, "_metadata": {"source_file": str(json_file), "num_levels": levels}}


def annotated_durations(json_file: str, fps: float, feat_stride: float) -> list[float]:
    """Durations in feature steps of every annotation of every subset; those of no length are left out."""
    from kinoscope.localization.evaluate import read_json

    database = read_json(Path(json_file)).get("database", {})
    segments = [
        row["segment"]
        for entry in database.values()
        for row in entry.get("annotations") or ()
        if len(row.get("segment", ())) == 2
    ]
    steps = [(end - start) * fps / feat_stride for start, end in segments]
    return [step for step in steps if step > 0]


def _quantile_ranges(steps: np.ndarray, levels: int, overlap: float, lowest: float) -> Ranges:
    bound = np.percentile(steps, np.linspace(0, 100, levels + 1))
    bound[0] = max(lowest, 0)
    bound[-1] = max(bound[-1], 1.1 * steps.max())
    ranges = []
    for k in range(levels):
        below = overlap * (bound[k] - bound[k - 1]) if k else 0.0
        above = overlap * (bound[k + 2] - bound[k + 1]) if k < levels - 1 else 0.0
        ranges.append((int(max(bound[k] - below, 0)), int(np.ceil(bound[k + 1] + above))))
    return ranges


def _doubling(levels: int, factor: int) -> Ranges:
    """(0, 1), (1, 2), (2, 4), ... and a last range twice as long."""
    lows = [0, *(factor**k for k in range(levels - 1))]
    highs = [*(factor**k for k in range(levels - 1)), 2 * factor ** (levels - 1)]
    return list(zip(lows, highs, strict=True))


def _log_coverage(ranges: Ranges, steps: np.ndarray) -> None:
    """How many durations lie in each range, and in any."""
    inside = np.array([(steps >= low) & (steps <= high) for low, high in ranges])
    for k, (low, high) in enumerate(ranges):
        logger.info("level %d: (%d, %d) holds %.1f %% of the actions", k, low, high, 100 * inside[k].mean())
    share = float(inside.any(axis=0).mean())
    if share < COVERED:
        logger.warning(
            "the ranges hold %.1f %% of the actions: raise overlap_ratio or num_levels", 100 * share
        )
