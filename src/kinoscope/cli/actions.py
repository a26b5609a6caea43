"""`kinoscope actions VERB_MODEL NOUN_MODEL [FEATURES ...]`: EPIC-Kitchens actions from two localizers."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HELP = "actions from a verb and a noun localizer: predict feature files, or evaluate on the test split"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "verb", type=Path, help="run folder, weights folder or official checkpoint of the verbs"
    )
    parser.add_argument("noun", type=Path, help="the same of the nouns")
    parser.add_argument(
        "input", type=Path, nargs="*", help="feature files; none: the recipe's test split is evaluated"
    )
    parser.add_argument(
        "--verb-recipe", default="localization/actionformer_epic_verb", help="of an official checkpoint"
    )
    parser.add_argument(
        "--noun-recipe", default="localization/actionformer_epic_noun", help="of an official checkpoint"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="key=value", help="a setting of both recipes"
    )
    parser.add_argument(
        "--output", type=Path, metavar="PATH", help="folder (evaluation) or submission file (prediction)"
    )


def run(options: argparse.Namespace) -> Any:
    from kinoscope.cli.evaluate import show
    from kinoscope.engine.files import write_json
    from kinoscope.errors import KinoscopeError
    from kinoscope.localization.actions import ActionModel
    from kinoscope.models import load
    from kinoscope.timeline import Events

    overrides = tuple(options.set)
    model = ActionModel(
        load(options.verb, options.verb_recipe, overrides).model,
        load(options.noun, options.noun_recipe, overrides).model,
    )
    if not options.input:
        result = model.evaluate(options.output or Path(f"{options.verb}_actions"))
        if not options.json:
            show(result)
        return result
    parts, faults = [], {}
    for path in options.input:
        try:
            parts.append(model.predict(path))
        except KinoscopeError as error:
            faults[str(path)] = str(error)
            print(f"left out: {error}", file=sys.stderr)
    if not parts:
        raise KinoscopeError("not one input could be read", value=list(faults))
    submission = model.submission(Events.concat(parts))
    if options.output is not None:
        write_json(options.output, submission)
    elif not options.json:
        print(json.dumps(submission))
    return {**submission, "skipped": faults}
