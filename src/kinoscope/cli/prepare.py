"""`kinoscope prepare DATASET SOURCE TARGET`: an official download to the layout that the recipes read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "turn an official raw download into the layout that the recipes read"
DATASETS = {
    "activitynet": "recognition",
    "ego4d": "localization",
    "fcvid": "recognition",
    "finegym": "representation",
    "kinetics400": "representation",
    "mini-kinetics": "recognition",
    "ntu60": "skeleton",
    "ntu120": "skeleton",
    "penn-action": "representation",
    "pku-mmd-1": "skeleton",
    "pku-mmd-2": "skeleton",
    "pouring": "representation",
    "something-v1": "recognition",
    "something-v2": "recognition",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", choices=[*sorted(DATASETS), "prototypes"])
    parser.add_argument("source", type=Path, nargs="?", help="the download; not for prototypes")
    parser.add_argument(
        "target", type=Path, nargs="?", help="where to (prototypes: default the folder of --labels)"
    )
    words = parser.add_argument_group("prototypes: language vectors of action classes")
    words.add_argument(
        "--dataset", dest="of", metavar="NAME", help="epic100, epic55, egtea, 50salads, or any name"
    )
    words.add_argument(
        "--labels", type=Path, metavar="FILE", help="the official action list; else one class name a line"
    )
    words.add_argument(
        "--encoder", help="sentence-transformers model or folder; `minilm` is the packaged one"
    )


def run(options: argparse.Namespace) -> Any:
    from kinoscope.errors import KinoscopeError
    from kinoscope.tasks import room

    if options.dataset == "prototypes":
        if options.of is None or options.labels is None:
            raise KinoscopeError(
                "whose classes?", field="--dataset, --labels", remedy="name the data set and its list"
            )
        prepare = room("anticipation", "prepare").prepare_prototypes
        target = options.target or options.source or options.labels.parent
        return prepare(options.of, options.labels, target, *([options.encoder] if options.encoder else []))
    if options.source is None or options.target is None:
        raise KinoscopeError(
            "what is to be prepared, and where to?", field="SOURCE TARGET", value=options.dataset
        )
    return room(DATASETS[options.dataset], "prepare").prepare(options.dataset, options.source, options.target)
