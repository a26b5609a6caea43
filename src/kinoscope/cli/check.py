"""`kinoscope check RECIPE`: settings and data looked over before training; `check MODEL VIDEO...` before predicting."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

HELP = (
    "look a recipe and its data over before training, or a model and videos before predicting: what is missing, "
    "wrong or unlikely, and what to do"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", metavar="RECIPE", help="published name or YAML file; or the folder of a model"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of a recipe; for a model: videos")
    parser.add_argument("--encoder-weights", type=Path, metavar="FILE", help="as for kinoscope predict")


def run(options: argparse.Namespace) -> Any:
    from kinoscope.errors import KinoscopeError
    from kinoscope.tasks import load_recipe, room

    if Path(options.recipe).is_dir():
        from kinoscope.check_video import command

        findings = command(options.recipe, options.overrides, None, options.encoder_weights)
    else:
        settings = load_recipe(options.recipe, options.overrides)
        findings = room(settings.task, "check").check(settings)
    faults = len(findings["errors"])
    if options.json and faults:
        print(json.dumps(findings, ensure_ascii=False))  # an error has no result of its own
    if not options.json:
        for kind, sentences in findings.items():
            for sentence in sentences:
                print(f"{kind}: {sentence}")
        if not any(findings.values()):
            print("nothing to complain about")
    if faults:
        raise KinoscopeError(
            f"{faults} fault{'s' * (faults > 1)} must be mended first",
            field="recipe",
            value=options.recipe,
        )
    return findings
