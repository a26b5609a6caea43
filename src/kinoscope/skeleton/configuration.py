"""Settings of the official programs: command line over YAML file over defaults.

1. Nested options are parsed as literals, never evaluated.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

PROCESSORS = ("pretrain_aimclr", "linear_evaluation", "finetune_evaluation")


def _boolean(text: str) -> bool:
    low = text.lower()
    if low in ("yes", "true", "t", "y", "1"):
        return True
    if low in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError("a boolean is yes or no")


def _nested(text: str) -> dict[str, Any]:
    call = ast.parse(f"dict({text})", mode="eval").body
    if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
        raise argparse.ArgumentTypeError("nested options are name=value, name=value")
    return {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}


class _Merge(argparse.Action):
    """Lays the given values over those of the file."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), **_nested(values)})


def _parser(processor: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument
    add("-w", "--work_dir", default="./work_dir/tmp")
    add("-c", "--config", default=None)
    add("--use_gpu", type=_boolean, default=True)
    add("--device", type=int, default=0, nargs="+")
    for name, kind, default in (
        ("phase", str, "train"),
        ("save_result", _boolean, True),
        ("start_epoch", int, 0),
        ("num_epoch", int, 80),
        ("log_interval", int, 100),
        ("save_interval", int, 10),
        ("eval_interval", int, 5),
        ("save_log", _boolean, True),
        ("print_log", _boolean, True),
        ("pavi_log", _boolean, False),
        ("train_feeder", str, "feeder.feeder"),
        ("test_feeder", str, "feeder.feeder"),
        ("num_worker", int, 4),
        ("batch_size", int, 256),
        ("test_batch_size", int, 256),
        ("model", str, None),
        ("weights", str, None),
        ("base_lr", float, 0.01),
        ("optimizer", str, "SGD"),
        ("nesterov", _boolean, True),
        ("weight_decay", float, 0.0001),
        ("stream", str, "joint"),
        ("mining_epoch", float, 1e6),
        ("topk", int, 1),
    ):
        add(f"--{name}", type=kind, default=default)
    for name in ("model_args", "train_feeder_args", "test_feeder_args"):
        add(f"--{name}", action=_Merge, default={})
    add("--ignore_weights", type=str, default=[], nargs="+")
    add("--step", type=int, default=[], nargs="+")
    add("--debug", action="store_true", default=False)
    if processor != "pretrain_aimclr":
        add("--show_topk", type=int, default=[1, 5], nargs="+")
    return parser


class UnknownArguments(Exception):
    """A key of the file is no option of the program; the official one stops here."""


def official_settings(processor: str, argv: Sequence[str], folder: Path = Path()) -> dict[str, Any]:
    """The settings that an official program would run with; relative configuration paths lie in `folder`."""
    if processor not in PROCESSORS:
        raise UnknownArguments(processor)
    parser = _parser(processor)
    first = parser.parse_args(list(argv))
    if first.config is not None:
        values = yaml.safe_load((folder / first.config).read_text()) or {}
        known = vars(first)
        for key in values:
            if key not in known:
                raise UnknownArguments(key)
        parser.set_defaults(**values)
    return vars(parser.parse_args(list(argv)))


def as_json(settings: dict[str, Any]) -> str:
    """Settings as one line of JSON with sorted keys."""
    return json.dumps(settings, sort_keys=True)
