"""`kinoscope report RUN`: the run as one self-contained web page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "write the run as one self-contained web page"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", type=Path, metavar="RUN")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the page (default: RUN/report.html)")


def run(options: argparse.Namespace) -> Any:
    from kinoscope.report import write

    page = write(options.run_folder, options.output)
    if not options.json:
        print(page)
    return {"report": str(page)}
