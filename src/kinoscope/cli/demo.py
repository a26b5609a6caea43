"""`kinoscope demo`: the tasks at work on the built-in real data, without any download."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HELP = "train, evaluate and report on the built-in real data; ends with the path of a report"
TASKS = ("localization",)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder of the runs (default: runs/demo/TIME)"
    )
    parser.add_argument("--only", choices=TASKS, action="append", help="only this task")


def run(options: argparse.Namespace) -> Any:
    from kinoscope.engine.folder import new_folder
    from kinoscope.tasks import room

    folder = options.output or new_folder("demo")
    results = {task: room(task, "demo").demo(folder / task) for task in options.only or TASKS}
    for task, result in results.items():
        print(f"\n{task}: {result['summary']}", file=sys.stderr)
        print(f"report: {result['report']}", file=sys.stderr if options.json else sys.stdout)
    return results
