"""`kinoscope train RECIPE`: every stage of a recipe, or one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HELP = "train every stage of a recipe, or one"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="published name or YAML file; `kinoscope recipes` lists the names")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example train.epochs=10")
    parser.add_argument("--stage", help="train only this stage")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="the run folder (default: runs/RECIPE/TIME)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress lines")


def run(options: argparse.Namespace) -> Any:
    from kinoscope.engine.folder import new_folder, train_stages
    from kinoscope.errors import KinoscopeError
    from kinoscope.recipe import to_yaml
    from kinoscope.tasks import load_recipe, room

    if options.resume and options.output is None:
        raise KinoscopeError(
            "which run should go on?", field="--output", remedy="name the run folder with --output DIR"
        )
    settings = load_recipe(options.recipe, options.overrides)
    folder = options.output or new_folder(options.recipe)
    stages = room(settings.task, "stages").stages(settings)
    final = train_stages(
        stages, folder, to_yaml(settings), resume=options.resume, only=options.stage, quiet=options.quiet
    )
    print(f"run folder: {folder}", file=sys.stderr)
    if not options.json:
        for name, value in final.items():
            if isinstance(value, int | float):
                print(f"{name}: {value:.4f}")
    return {"run": str(folder), **final}
