"""The demo of skeletons: AimCLR on the built-in HDM05 clips, one actor left out, beside what needs no training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from kinoscope.engine.folder import train_stages
from kinoscope.recipe import to_yaml
from kinoscope.report import write
from kinoscope.skeleton.stages import stages
from kinoscope.tasks import load_recipe

RECIPE = "skeleton/aimclr_sequences"
ROWS = {
    "fine-tuned": "top1",
    "pre-trained, linear": "linear",
    "pre-trained, nearest neighbour": "knn",
    "untrained encoder, linear": "linear_untrained",
    "untrained encoder, nearest neighbour": "knn_untrained",
    "raw poses, nearest neighbour": "knn_poses",
}


def demo(folder: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Trains for a minute and a half on three actors, tests on the fourth, prints a table, writes the report."""
    settings = load_recipe(RECIPE, ["data.test_subjects=[mm]", "train.minutes=1.3", *overrides])
    result = train_stages(stages(settings), folder, to_yaml(settings), resume=False)
    for name, key in ROWS.items():
        print(f"{name:38} {result[key]:5.1f} %", file=sys.stderr)
    return {
        "summary": f"fine-tuned {result['top1']:.1f} %, linear {result['linear']:.1f} % "
        f"(untrained encoder {result['linear_untrained']:.1f} %, raw poses {result['knn_poses']:.1f} %)",
        "report": str(write(folder)),
        **{key: result[key] for key in ROWS.values()},
    }
