"""`kinoscope check RECIPE`: settings and data looked over before training."""

from __future__ import annotations

import argparse
import json
from typing import Any

HELP = "look a recipe and its data over before training: what is missing, wrong or unlikely, and what to do"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="published name or YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value")


def run(options: argparse.Namespace) -> Any:
    from kinoscope.errors import KinoscopeError
    from kinoscope.tasks import load_recipe, room

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
            f"{faults} fault{'s' * (faults > 1)} must be mended before training",
            field="recipe",
            value=options.recipe,
        )
    return findings
