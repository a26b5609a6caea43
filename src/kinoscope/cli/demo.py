"""`kinoscope demo`: the tasks at work on the built-in real data, without any download."""

from __future__ import annotations

import argparse
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HELP = "train, evaluate and report on the built-in real data; ends with the path of a report"
TASKS = ("localization", "skeleton", "anticipation", "representation", "recognition")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder of the runs (default: runs/demo/TIME)"
    )
    parser.add_argument("--only", choices=TASKS, action="append", help="only this task; may be repeated")


def run(options: argparse.Namespace) -> Any:
    from kinoscope.engine.folder import new_folder
    from kinoscope.report.index import write_index
    from kinoscope.tasks import room

    folder = options.output or new_folder("demo")
    results: dict[str, Any] = {}
    for task in options.only or [task for task in TASKS if find_spec(f"kinoscope.{task}.demo")]:
        started = time.monotonic()
        results[task] = room(task, "demo").demo(folder / task)
        seconds = time.monotonic() - started
        print(f"\n{task}: {results[task]['summary']} ({seconds:.0f} s)", file=sys.stderr)
        print(results[task]["report"], file=sys.stderr)
    page = write_index(folder, results)
    if not options.json:
        print(page)
    return {**results, "report": str(page)}
