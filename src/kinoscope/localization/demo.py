"""The demo of localization: ActionFormer on the built-in PRECOG streams, beside a linear frame classifier."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from kinoscope.engine.folder import train_stages
from kinoscope.localization.baseline import linear_baseline
from kinoscope.localization.evaluate import evaluate_events
from kinoscope.localization.settings import StreamsData
from kinoscope.localization.stages import stages
from kinoscope.localization.streams import StreamSource
from kinoscope.recipe import to_yaml
from kinoscope.report import write
from kinoscope.tasks import load_recipe

RECIPE = "localization/actionformer_streams"


def demo(folder: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Trains on six people, tests on two others, prints mAP by tIoU beside the baseline's, writes the report."""
    settings = load_recipe(RECIPE, ["data.test_subjects=[p07, p08]", *overrides])
    result = train_stages(stages(settings), folder, to_yaml(settings), resume=False)
    assert isinstance(settings.data, StreamsData)
    source = StreamSource(settings.data, settings.model)
    linear = evaluate_events(linear_baseline(source), source.test_truth(), settings.protocol)
    for name, row in {"ActionFormer": result, "linear frame classifier": linear}.items():
        cells = "  ".join(f"{tiou}: {100 * value:5.1f}" for tiou, value in row["mAP"].items())
        print(f"{name:24} mAP at tIoU {cells}  average {100 * row['average_mAP']:5.1f}", file=sys.stderr)
    return {
        "summary": f"average mAP {100 * result['average_mAP']:.1f}, linear {100 * linear['average_mAP']:.1f}",
        "report": str(write(folder)),
        "average_mAP": result["average_mAP"],
        "mAP": result["mAP"],
        "linear": linear["mAP"],
    }
