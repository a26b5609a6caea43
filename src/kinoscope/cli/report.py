"""`kinoscope report RUN`: the run as one self-contained web page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

HELP = "write the run as one self-contained web page"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", type=Path, metavar="RUN")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the page (default: RUN/report.html)")
    parser.add_argument(
        "--videos",
        nargs="+",
        metavar="VIDEO",
        help="videos, or a folder of them, to show with what was found in them",
    )


def run(options: argparse.Namespace) -> Any:
    from kinoscope.report import write

    if options.videos:
        show(options.run_folder, options.videos)
    page = write(options.run_folder, options.output)
    if not options.json:
        print(page)
    return {"report": str(page)}


def show(folder: Path, inputs: list[str]) -> None:
    """Notes in the run folder where the videos are that its predictions and annotations speak of."""
    from kinoscope.engine.files import write_json
    from kinoscope.errors import KinoscopeError
    from kinoscope.media.video_files import named_videos

    known: set[str] = set()
    for name, key in (("predictions.json", "events"), ("annotations.json", "videos")):
        if (folder / name).is_file():
            known |= set(json.loads((folder / name).read_text(encoding="utf-8")).get(key, {}))
    files = {name: str(path.resolve()) for name, path in named_videos(inputs).items() if name in known}
    if not files:
        raise KinoscopeError(
            "none of these videos is in the run",
            field="--videos",
            value=inputs,
            remedy=f"it knows {sorted(known)[:5]}",
        )
    write_json(folder / "videos.json", files)
