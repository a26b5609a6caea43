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

from kinoscope.errors import KinoscopeError
from kinoscope.recipe import validate
from kinoscope.skeleton.settings import Schema

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


_MODEL = {
    "hidden_channels": "hidden_channels",
    "hidden_dim": "hidden_dim",
    "dropout": "dropout",
    "edge_importance_weighting": "edge_importance",
    "feature_dim": "feature_dim",
    "queue_size": "queue_size",
    "momentum": "momentum",
    "Temperature": "temperature",
    "mlp": "mlp",
}
_METHODS = {"AimCLR": "aimclr", "SkeletonCLR": "skeletonclr", "CrosSCLR": "crossclr", "Model": "aimclr"}
_AUGMENT = {"shear_amplitude": "shear", "temperal_padding_ratio": "padding_ratio", "aug_method": "extreme"}


def convert_configuration(path: Path) -> tuple[str, list[str]]:
    """The recipe (YAML) of an official configuration file, and its keys that have no counterpart here.

    A file with `pretrain: False` becomes the linear stage, any other the pre-training. Raises KinoscopeError where the
    file is none of AimCLR, or its values do not fit together.
    """
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(given, dict) or "model" not in given:
        raise KinoscopeError(
            "this is no configuration of AimCLR", file=path, remedy="it names a model and feeders"
        )
    parser = _parser("linear_evaluation")
    known = {key: value for key, value in given.items() if key in vars(parser.parse_args([]))}
    unknown = [key for key in given if key not in known]
    parser.set_defaults(**known)
    values = vars(parser.parse_args([]))
    arguments, feeder = dict(values["model_args"]), dict(values["train_feeder_args"])
    pretraining = arguments.pop("pretrain", True)
    method = _METHODS.get(str(values["model"]).rsplit(".", 1)[-1])
    if method is None:
        raise KinoscopeError(
            "there is no such model",
            file=path,
            field="model",
            value=values["model"],
            remedy="net.aimclr.AimCLR",
        )
    model = {ours: arguments.pop(name) for name, ours in _MODEL.items() if name in arguments}
    graph = dict(arguments.pop("graph_args", {}))
    if "strategy" in graph:
        model["strategy"] = graph.pop("strategy")
    unknown += [f"model_args.graph_args.{key}" for key in graph] + [f"model_args.{key}" for key in arguments]
    stream = "three" if method == "crossclr" else values["stream"]
    recipe: dict[str, Any] = {
        "task": "skeleton",
        "description": f"converted from {path.name}",
        "data": {"kind": "official", "train": str(Path(feeder.pop("data_path", "data")).parent)},
        "model": {"method": method, "stream": stream, **model},
    }
    views = {ours: feeder.pop(name) for name, ours in _AUGMENT.items() if name in feeder}
    unknown += [f"train_feeder_args.{key}" for key in feeder if key != "label_path"]
    stage: dict[str, Any] = {
        "batch_size": values["batch_size"],
        "epochs": values["num_epoch"],
        "optimizer": {
            "kind": values["optimizer"].lower(),
            "learning_rate": values["base_lr"],
            "weight_decay": values["weight_decay"],
            "nesterov": values["nesterov"],
        },
        "schedule": {"kind": "warmup_steps", "steps": values["step"]},
    }
    for interval, ours in (("save_interval", "checkpoint_every"), ("eval_interval", "validate_every")):
        if values[interval] > 0:
            stage[ours] = values[interval]
    if pretraining:
        recipe["augment"] = views
        mining = {"mining_epoch": values["mining_epoch"], "topk": values["topk"]}
        recipe["train"] = (
            stage | mining | {"log_every": values["log_interval"], "workers": values["num_worker"]}
        )
    else:
        if known.get("weights"):
            recipe["weights"] = values["weights"]
        recipe["linear"] = stage
    told = {
        "model",
        "model_args",
        "train_feeder_args",
        "stream",
        "batch_size",
        "num_epoch",
        "optimizer",
        "base_lr",
    }
    told |= {"weight_decay", "nesterov", "step", "save_interval", "eval_interval"}
    told |= {"mining_epoch", "topk", "log_interval", "num_worker"} if pretraining else {"weights"}
    unknown += [key for key in known if key not in told and key not in ("train_feeder", "test_feeder")]
    validate(Schema, recipe, path)
    return yaml.safe_dump(recipe, sort_keys=False), sorted(unknown)
