"""The demo of anticipation: S-GEAR on the built-in PRECOG streams, beside what needs no motion."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from kinoscope.anticipation.stages import stages
from kinoscope.engine.folder import train_stages
from kinoscope.recipe import to_yaml
from kinoscope.report import write
from kinoscope.tasks import load_recipe

RECIPE = "anticipation/sgear_streams"


def demo(folder: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Trains on six people, tests on two others, prints top-1 beside the yardsticks, writes the report."""
    settings = load_recipe(RECIPE, ["data.test_subjects=[p07, p08]", *overrides])
    result = train_stages(stages(settings), folder, to_yaml(settings), resume=False)
    later = result["after_the_first"]
    rows = {"S-GEAR (sees motion alone)": (result["top1"], later["top1"])}
    rows |= {
        f"{name.replace('_', ' ')} (true labels)": (value, later[f"{name}_top1"])
        for name, value in result["baselines_top1"].items()
    }
    print(
        f"next action {settings.data.tau_a:g} s before its start, top-1: of all {result['actions']} actions, "
        f"and of the {later['actions']} that have a previous one",
        file=sys.stderr,
    )
    for name, values in rows.items():
        print(f"{name:40} {values[0]:6.1f} {values[1]:6.1f}", file=sys.stderr)
    return {
        "summary": f"next action {settings.data.tau_a:g} s ahead: top-1 {result['top1']:.1f} of all actions, "
        f"{later['top1']:.1f} of those after the first (previous action known: {later['previous_action_top1']:.1f})",
        "report": str(write(folder)),
        **{
            name: result[name]
            for name in ("top1", "top5", "class_mean_recall@5", "baselines_top1", "after_the_first")
        },
    }
