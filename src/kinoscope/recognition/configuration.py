"""Official command lines of `key=value` (or the official YAML file) as recipes (specification 6.6, 9).

A file may hold several command lines, one for each stage; together they become one recipe. Keys that a command line
leaves out have the official program's defaults, not the published recipes' values.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml

from kinoscope.errors import KinoscopeError
from kinoscope.recipe import parse_yaml, validate
from kinoscope.recognition.settings import RecognitionSettings

MODEL = (
    *(
        "num_segments",
        "input_size",
        "patch_size",
        "glance_size",
        "action_dim",
        "hidden_state_dim",
        "policy_conv",
    ),
    *("consensus", "hidden_dim", "dropout", "with_glancer", "reward", "gamma", "policy_lr"),
)
START = ("resume", "pretrained_glancer", "pretrained_focuser")
OFFICIAL: dict[str, Any] = {  # defaults of what a stage sets
    "epochs": 50,
    "batch_size": 64,
    "backbone_lr": 0.01,
    "fc_lr": 0.005,
    "lr_type": "cos",
    "lr_steps": "50-100",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "eval_freq": 5,
    "workers": 16,
    "amp": True,
}
IMPLIED = ("train_stage", "pretrain_glancer", "random_patch")  # the stage says it
KNOWN = {"dataset", "data_dir", "partial_fcvid_eval", "partial_ratio", *MODEL, *START, *OFFICIAL, *IMPLIED}


def convert_configuration(path: Path) -> tuple[str, list[str]]:
    """The recipe (YAML) of a file of official command lines, and its keys that have no counterpart here.

    Raises KinoscopeError where the file holds no `key=value`, or two command lines contradict each other.
    """
    text = path.read_text(encoding="utf-8")
    commands = [_yaml(text, path)] if path.suffix in (".yaml", ".yml") else _command_lines(text, path)
    recipe: dict[str, Any] = {"task": "recognition", "description": f"converted from {path.name}"}
    unknown: list[str] = []
    for values in sorted(commands, key=lambda values: int(values.get("train_stage", 0))):
        _add(recipe, values, path)
        unknown += [key for key in values if key not in KNOWN and key not in unknown]
    validate(RecognitionSettings, recipe, path)
    return yaml.safe_dump(recipe, sort_keys=False), unknown


def _yaml(text: str, path: Path) -> dict[str, Any]:
    values = parse_yaml(text, path)
    if not isinstance(values, dict):
        raise KinoscopeError("this is no configuration of AdaFocus", file=path, remedy="give its YAML file")
    return {key: value for key, value in values.items() if value not in (None, "")}


def _command_lines(text: str, path: Path) -> list[dict[str, Any]]:
    commands = []
    for line in text.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise KinoscopeError(
                "this command line cannot be read", file=path, value=line, remedy="close the quotation mark"
            ) from error
        pairs = [
            word.lstrip("+").partition("=") for word in words if "=" in word and not word.startswith("-")
        ]
        names = [(key, value) for key, _, value in pairs if key.isidentifier() and not key.isupper()]
        if names:
            commands.append({key: parse_yaml(value, path) for key, value in names if value})
    if not commands:
        raise KinoscopeError(
            "there is no key=value here", file=path, remedy="give the official command lines as a text file"
        )
    return commands


def _add(recipe: dict[str, Any], values: dict[str, Any], path: Path) -> None:
    data = recipe.setdefault("data", {"kind": "frames"})
    for key in ("dataset", "data_dir"):
        if key in values:
            _set(data, key, values[key], path)
    if values.get("partial_fcvid_eval"):
        _set(data, "partial_ratio", values.get("partial_ratio", 0.2), path)
    model = recipe.setdefault("model", {"kind": "adafocus"})
    for key in MODEL:
        if key in values:
            _set(model, key, values[key], path)
    if "start" not in recipe:  # later stages of the file go on from the earlier ones
        recipe["start"] = [str(values[key]) for key in START if values.get(key)]
    if "train_stage" in values:
        name = _stage(values, path)
        recipe.setdefault("train", {})[name] = _training(values, name)


def _stage(values: dict[str, Any], path: Path) -> str:
    stage = values["train_stage"]
    if stage == 0:
        return "prepare_global" if values.get("pretrain_glancer", True) else "prepare_local"
    if stage not in (1, 2, 3):
        raise KinoscopeError("stages are 0 to 3", file=path, field="train_stage", value=stage)
    return f"stage{stage}"


def _training(values: dict[str, Any], name: str) -> dict[str, Any]:
    given = {key: values.get(key, default) for key, default in OFFICIAL.items()}
    policy = name == "stage2"  # PPO has its own Adam, a pass less and no mixed precision
    return {
        "epochs": given["epochs"] + (0 if policy else 1),
        "batch_size": given["batch_size"],
        "backbone_lr": given["backbone_lr"],
        "fc_lr": given["fc_lr"],
        "lr_type": given["lr_type"],
        "lr_steps": str(given["lr_steps"]),
        "optimizer": {"kind": "sgd", "momentum": given["momentum"], "weight_decay": given["weight_decay"]},
        "precision": "fp16" if given["amp"] and not policy else "fp32",
        "validate_every": given["eval_freq"],
        "workers": given["workers"],
    }


def _set(section: dict[str, Any], key: str, value: Any, path: Path) -> None:
    if section.setdefault(key, value) != value:
        raise KinoscopeError(
            f"two command lines disagree: {section[key]} and {value}",
            file=path,
            field=key,
            value=value,
            remedy="convert them one by one",
        )
