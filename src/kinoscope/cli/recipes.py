"""`kinoscope recipes [NAME]`: the published configurations."""

from __future__ import annotations

import argparse
import sys
from typing import Any

HELP = "list the published configurations, or print one, resolved"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="a recipe to print, resolved: every setting with its value")
    parser.add_argument("overrides", nargs="*", metavar="key=value")


def run(options: argparse.Namespace) -> Any:
    from kinoscope import recipe
    from kinoscope.tasks import load_recipe

    if options.name is not None:
        settings = load_recipe(options.name, options.overrides)
        if not options.json:
            sys.stdout.write(recipe.to_yaml(settings))
        return settings.model_dump(mode="json")
    about = {name: str(recipe.read_values(name).get("description", "")) for name in recipe.published()}
    if not options.json:
        width = max(map(len, about), default=0)
        for name, text in about.items():
            print(f"{name:{width}}  {text}")
    return about
