"""`kinoscope align VIDEO VIDEO...`: videos of one action brought into step with the first."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HELP = "bring videos of one action into step; writes the side-by-side video"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO", help="the first is the reference")
    parser.add_argument(
        "--model", help="trained representation (run or weights folder); default: --encoder alone"
    )
    parser.add_argument("--encoder", default="lite0", help="frozen image network (default: %(default)s)")
    parser.add_argument("--weights", metavar="FILE", help="its weights: a file, or `published`")
    parser.add_argument(
        "--nearest", action="store_true", help="the nearest frame of each, instead of dynamic time warping"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("aligned"), metavar="DIR", help="(default: aligned)"
    )


def run(options: argparse.Namespace) -> Any:
    from kinoscope.representation.align_videos import align_videos

    result = align_videos(options.videos, embedder(options), options.output, warp=not options.nearest)
    if not options.json:
        for pair, tau in result["kendalls_tau_of_pairs"].items():
            print(f"{pair}: Kendall's tau {tau:.3f}", file=sys.stderr)
        print(result["video"])
        print(result["report"])
    return result


def embedder(options: argparse.Namespace) -> Any:
    """What turns a video into embeddings with their axis: a trained model, or a frozen encoder alone."""
    if options.model is not None:
        from kinoscope.errors import KinoscopeError
        from kinoscope.models import load

        model = load(options.model)
        if not hasattr(model, "features"):
            raise KinoscopeError(
                "this model has no embeddings of frames",
                field="--model",
                value=options.model,
                remedy="give a run of representation/carl_videos",
            )
        return model.features
    from kinoscope import encoders
    from kinoscope.representation.videos import frame_features

    encoder = encoders.create(options.encoder, options.weights)
    return lambda path: frame_features(path, encoder, encoders.Sampling())
