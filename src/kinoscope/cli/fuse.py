"""`kinoscope fuse RUN:WEIGHT ...`: late fusion of stored scores, its figures and its submission file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HELP = "fuse the stored scores of several anticipation runs"
GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN[:WEIGHT]",
        help="run folders with scores.npz; the weight is 1 without a number",
    )
    parser.add_argument(
        "--search", action="store_true", help="search the weights on these (labelled) segments"
    )
    parser.add_argument("--by", choices=("recall", "top1"), default="recall", help="what --search raises")
    parser.add_argument(
        "--norm", type=float, metavar="P", help="divide every score vector by its p-norm first"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write scores, figures and submission there"
    )


def run(options: argparse.Namespace) -> Any:
    from kinoscope.anticipation.fusion import fuse_runs
    from kinoscope.cli.evaluate import show
    from kinoscope.errors import KinoscopeError

    paths, weights = [], []
    for given in options.runs:
        path, colon, weight = given.rpartition(":")
        if not colon or Path(given).exists():
            path, weight = given, "1"
        try:
            weights.append(float(weight))
        except ValueError as error:
            raise KinoscopeError(
                "a weight is a number", field="RUN:WEIGHT", value=given, remedy="for example runs/vit:2.5"
            ) from error
        paths.append(Path(path))
    result = fuse_runs(
        paths, weights, GRID if options.search else None, options.by, options.norm, options.output
    )
    if options.search:
        print("weights: " + " ".join(f"{w:g}" for w in result["weights"]), file=sys.stderr)
    if not options.json:
        show(result)
    return result
