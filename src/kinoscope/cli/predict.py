"""`kinoscope predict MODEL INPUT...`: events, scores or embeddings for new inputs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HELP = "predict for feature, skeleton or video files"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="run folder, weights folder or official checkpoint")
    parser.add_argument("inputs", nargs="+", metavar="INPUT")
    parser.add_argument("--recipe", help="the recipe that an official checkpoint belongs to")
    parser.add_argument(
        "--all", action="store_true", help="the raw list, not only events above their threshold"
    )
    parser.add_argument("--format", choices=("json", "csv", "activitynet", "vtt", "elan"), default="csv")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of standard output")


def run(options: argparse.Namespace) -> Any:
    from kinoscope.engine.files import write_text
    from kinoscope.errors import KinoscopeError
    from kinoscope.models import load

    model = load(options.model, options.recipe)
    done, failed = [], {}
    for path in options.inputs:
        try:
            done.append(model.predict(path, everything=options.all))
        except KinoscopeError as error:  # one bad input costs that input
            print(f"kinoscope: left out: {error}", file=sys.stderr)
            failed[path] = str(error)
    if not done:
        raise KinoscopeError("not one input could be read", value=options.inputs)
    text = model.render(done, "json" if options.json else options.format)
    if options.output is not None:
        write_text(options.output, text)
        print(f"written: {options.output}", file=sys.stderr)
    elif not options.json:
        sys.stdout.write(text)
    return {**model.to_json(done), "skipped": failed}
