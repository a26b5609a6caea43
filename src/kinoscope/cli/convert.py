"""`kinoscope convert FILE`: official checkpoints to weights folders, official configurations to recipes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HELP = "turn an official checkpoint into kinoscope weights, or an official configuration into a recipe"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, help="checkpoint (.pth, .pt, .tar) or configuration (.yaml, .yml, .txt)"
    )
    parser.add_argument("--recipe", help="the recipe that the checkpoint belongs to")
    parser.add_argument(
        "--task", default="localization", help="whose configuration it is (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, metavar="PATH", help="weights folder or recipe file to write")


def run(options: argparse.Namespace) -> Any:
    from kinoscope.engine.files import write_text
    from kinoscope.errors import KinoscopeError

    if options.file.suffix in (".yaml", ".yml", ".txt"):
        from kinoscope.tasks import room

        text, unknown = room(options.task, "configuration").convert_configuration(options.file)
        for key in unknown:
            print(f"no counterpart: {key}", file=sys.stderr)
        target = options.output or options.file.with_suffix(".recipe.yaml")
        write_text(target, text)
        print(f"written: {target}", file=sys.stderr)
        return {"recipe": str(target), "without_counterpart": unknown}
    if options.recipe is None:
        raise KinoscopeError(
            "which configuration does this checkpoint belong to?", remedy="add --recipe NAME"
        )
    from kinoscope.models import load

    target = options.output or Path(f"{options.file}_weights")
    load(options.file, options.recipe).save(target)
    print(f"written: {target}", file=sys.stderr)
    return {"weights": str(target)}
