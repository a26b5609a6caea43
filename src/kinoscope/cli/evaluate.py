"""`kinoscope evaluate`: the published protocol for a model, or for any file of predictions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

PROTOCOLS = (
    *("activitynet", "thumos14", "epic", "ego4d"),
    *("instants", "spotting_tight", "spotting_loose"),
)
HELP = "the published protocol and table, for a model or for any project's predictions"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", help="run folder, weights folder or official checkpoint")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--recipe", help="the recipe that an official checkpoint belongs to")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for predictions, metrics and report"
    )
    parser.add_argument(
        "--predictions", type=Path, metavar="FILE", help="results of any project, instead of a model"
    )
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="ground truth for --predictions")
    parser.add_argument("--protocol", choices=PROTOCOLS)
    parser.add_argument("--subset", help="part of the annotation file that counts (default: the protocol's)")


def run(options: argparse.Namespace) -> Any:
    from kinoscope.errors import KinoscopeError

    if options.predictions is not None:
        if options.annotations is None or options.protocol is None:
            raise KinoscopeError(
                "--predictions needs --annotations and --protocol as well", field="--annotations"
            )
        from kinoscope.localization.evaluate import evaluate_files

        result = evaluate_files(options.predictions, options.annotations, options.protocol, options.subset)
    elif options.model is None:
        raise KinoscopeError("what is to be evaluated?", remedy="give a MODEL, or --predictions FILE")
    else:
        from kinoscope.models import load

        model = load(options.model, options.recipe, tuple(options.overrides))
        result = model.evaluate(options.output or default_folder(Path(options.model)))
    if not options.json:
        show(result)
    return result


def default_folder(model: Path) -> Path:
    """The run folder itself, or `<model>_evaluation` beside a weights folder or a checkpoint."""
    return (
        model
        if (model / "recipe.yaml").exists() and (model / "weights").exists()
        else Path(f"{model}_evaluation")
    )


def show(result: dict[str, Any]) -> None:
    """A table for people: one line a metric."""
    for name, value in result.items():
        if isinstance(value, dict):
            cells = [f"{k} {v:.4f}" for k, v in value.items() if isinstance(v, int | float)]
            if cells and len(cells) <= 12:
                print(f"{name}: " + "  ".join(cells))
        elif isinstance(value, int | float):
            print(f"{name}: {value:.4f}")
        elif isinstance(value, str):
            print(f"{name}: {value}")
