"""`kinoscope export MODEL`: the network as ONNX and torch.export graphs, checked against itself at three lengths."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HELP = "ONNX and torch.export graphs of a model, checked against it at three lengths"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="run folder, weights folder or official checkpoint")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings of decoding, `decode.min_score=0.1`"
    )
    parser.add_argument("--recipe", help="the recipe that an official checkpoint belongs to")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder to write (default: MODEL_export)")
    parser.add_argument("--format", choices=("onnx", "torch"), help="one of the two (default: both)")


def run(options: argparse.Namespace) -> Any:
    from kinoscope.models import load
    from kinoscope.tasks import room

    model = load(options.model, options.recipe, tuple(options.overrides))
    kinds = ("onnx", "torch") if options.format is None else (options.format,)
    folder = options.output or Path(f"{options.model}_export")
    result = room(model.settings.task, "export").export(model, folder, kinds)
    for kind, found in result["deviation"].items():
        cells = "  ".join(f"{length} steps {value:.1e}" for length, value in found.items())
        print(f"{kind}: largest deviation at {cells}", file=sys.stderr)
    print(f"written: {folder}", file=sys.stderr)
    return result
