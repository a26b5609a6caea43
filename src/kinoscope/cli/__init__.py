"""The command line: one file a command, each with `HELP`, `arguments(parser)` and `run(options) -> result`.

With `--json` the result is one JSON object on standard output; everything else goes to standard error. The
exit status is 0 on success, 2 for wrong usage, 1 otherwise.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

from kinoscope.errors import Interrupted, KinoscopeError

COMMANDS = (
    "demo",
    "recipes",
    "prepare",
    "check",
    "train",
    "evaluate",
    "fuse",
    "predict",
    "extract",
    "align",
    "pose",
    "watch",
    "convert",
    "export",
    "calibrate",
    "actions",
    "report",
)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    from kinoscope import __version__

    top = argparse.ArgumentParser(prog="kinoscope", description="Tells what people do in video.")
    top.add_argument("--version", action="version", version=f"kinoscope {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"kinoscope.cli.{name}")
        sub = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.arguments(sub)
        sub.add_argument(
            "--json", action="store_true", help="the result as one JSON object on standard output"
        )
        sub.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None, interrupts: bool = False) -> int:
    """Runs one command; its exit status. interrupts: a run that was asked to stop raises Interrupted."""
    options = parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    try:
        result = options.run(options)
    except KinoscopeError as error:
        if interrupts and isinstance(error, Interrupted):
            raise
        print(f"kinoscope: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        print("kinoscope: interrupted", file=sys.stderr)
        return 1
    if options.json and result is not None:
        print(json.dumps(result, ensure_ascii=False, default=_plain))
    return 0


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
