"""`kinoscope prepare DATASET SOURCE TARGET`: an official download to the layout that the recipes read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "turn an official raw download into the layout that the recipes read"
DATASETS = {
    "ego4d": "localization",
    "finegym": "representation",
    "kinetics400": "representation",
    "ntu60": "skeleton",
    "ntu120": "skeleton",
    "penn-action": "representation",
    "pku-mmd-1": "skeleton",
    "pku-mmd-2": "skeleton",
    "pouring": "representation",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", choices=sorted(DATASETS))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)


def run(options: argparse.Namespace) -> Any:
    from kinoscope.tasks import room

    return room(DATASETS[options.dataset], "prepare").prepare(options.dataset, options.source, options.target)
