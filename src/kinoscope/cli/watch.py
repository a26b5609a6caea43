"""`kinoscope watch SOURCE MODEL`: events of a video that is still being made, one JSON line each."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HELP = "tell events of a camera, a stream or a growing file as they are decided, one JSON line each"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        help="a file that grows, /dev/video0 or camera:0, an address (rtsp://, http://), or - for stdin",
    )
    parser.add_argument("model", help="run folder or weights folder of a model of events")
    parser.add_argument("--hop", type=float, default=0.5, help="seconds between looks (default: %(default)s)")
    parser.add_argument(
        "--delay",
        type=float,
        default=1.0,
        help="seconds from an event's end to its decision (default: %(default)s)",
    )
    parser.add_argument(
        "--lookback",
        type=float,
        default=30.0,
        help="seconds that are kept; events are shorter (default: %(default)s)",
    )
    parser.add_argument(
        "--idle",
        type=float,
        default=5.0,
        help="a file is finished when it rests so long (default: %(default)s s)",
    )
    parser.add_argument("--all", action="store_true", help="also events below their threshold")
    parser.add_argument("--encoder-weights", type=Path, metavar="FILE", help="as for kinoscope predict")


def run(options: argparse.Namespace) -> Any:
    from kinoscope.media.pose import silenced
    from kinoscope.models import load
    from kinoscope.watch import Pace, watch

    pace = Pace(options.hop, options.delay, options.lookback)
    model = load(options.model, encoder_weights=options.encoder_weights)
    within = pace.delay_s + pace.hop_s
    print(
        f"an event is told within {within:g} s of video after its end, plus computing; one that only a later look "
        f"sees, within {2 * within:g} s",
        file=sys.stderr,
    )
    told: list[dict[str, Any]] = []

    def write(event: dict[str, Any]) -> None:
        if options.json:  # then the result is the one object on standard output
            told.append(event)
        else:
            print(json.dumps(event, ensure_ascii=False), flush=True)

    with silenced():
        measured = watch(
            options.source, model, write, pace=pace, everything=options.all, idle_s=options.idle
        ).to_dict()
    print("watched: " + json.dumps(measured), file=sys.stderr)
    return {"events": told, "measured": measured}
