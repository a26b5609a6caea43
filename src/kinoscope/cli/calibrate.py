"""`kinoscope calibrate MODEL`: the temperature that makes a localizer's scores probabilities."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HELP = "fit the temperature of a model's scores on its validation split"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="run folder, weights folder or official checkpoint")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="other data, `data.test=FILE`")
    parser.add_argument("--recipe", help="the recipe that an official checkpoint belongs to")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="weights folder to write, the temperature in its recipe"
    )


def run(options: argparse.Namespace) -> Any:
    from kinoscope.models import load
    from kinoscope.tasks import room

    model = load(options.model, options.recipe, tuple(options.overrides))
    result = room(model.settings.task, "calibrate").calibrate(model)
    temperature = result["score_temperature"]
    for name in ("cross_entropy", "calibration_error"):
        print(f"{name}: {result['before'][name]:.5f} -> {result['after'][name]:.5f}", file=sys.stderr)
    print(f"predict and evaluate with decode.score_temperature={temperature:.4f}", file=sys.stderr)
    if options.output is not None:
        load(
            options.model, options.recipe, (*options.overrides, f"decode.score_temperature={temperature}")
        ).save(options.output)
        print(f"written: {options.output}", file=sys.stderr)
    return result
