"""Official experiment files (`expts/*.txt`, one Hydra override a line) to recipes.

`#` begins a comment anywhere in a line. A key is known by the end of its dotted name, since the same setting stands
below other groups in other revisions. Every key without counterpart is named; nothing is dropped silently.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from kinoscope.anticipation.official import our_name
from kinoscope.errors import KinoscopeError
from kinoscope.recipe import merged, parse_override, parse_yaml

DATASETS = {
    "epic_kitchens100": "epic100",
    "epic_kitchens": "epic55",
    "egtea": "egtea",
    "dundee50salads": "50salads",
    "50salads": "50salads",
}
# the end of an official key -> ours
PLAIN = {
    "tau_a": "data.tau_a",
    "tau_o": "data.tau_o",
    "data_train.num_frames": "data.num_frames",
    "data_train.frame_rate": "data.frame_rate",
    "sample_strategy": "data.sample_strategy",
    "drop_style": "data.drop_style",
    "data_train.scale_h": "data.input.scale_h",
    "data_train.crop_size": "data.input.crop_size",
    "data_train.mean": "data.input.mean",
    "data_train.std": "data.input.std",
    "data_train.flip_p": "data.input.flip_p",
    "data_eval.scale_h": "data.input.eval_scale_h",
    "eval_num_crops": "data.input.eval_num_crops",
    "eval_flip_crops": "data.input.eval_flip_crops",
    "model.backbone.model_type": "model.backbone",
    "model.backbone_dim": "model.backbone_dim",
    "model.intermediate_featdim": "model.intermediate_featdim",
    "model.tca_blocks": "model.tca_blocks",
    "model.prot_attn": "model.prot_attn",
    "model.mod_attn": "model.prot_attn",
    "model.mean_representation": "model.mean_representation",
    "model.transform_features": "model.transform_features",
    "model.dropout": "model.dropout",
    "future_predictor.inter_dim": "model.inter_dim",
    "future_predictor.n_layer": "model.n_layer",
    "future_predictor.n_head": "model.n_head",
    "freeze_prototypes": "train.freeze_prototypes",
    "greeze_prototypes": "train.freeze_prototypes",
    "train.num_epochs": "train.epochs",
    "scheduler.num_epochs": "train.epochs",
    "warmup.num_epochs": "train.schedule.warmup_epochs",
    "scheduler.warmup_epochs": "train.schedule.warmup_epochs",
    "scheduler.eta_min": "train.schedule.final_rate",
    "train.batch_size": "train.batch_size",
    "optimizer.momentum": "train.optimizer.momentum",
    "optimizer.nesterov": "train.optimizer.nesterov",
    "grad_clip.max_norm": "train.clip_norm",
    "bias_bn_wd_scale": "train.bias_bn_wd_scale",
    "eval_freq": "train.validate_every",
    "save_freq": "train.checkpoint_every",
    "seed": "train.seed",
    "workers": "train.workers",
    "lang_prototypes_path": "data.language",
    "vis_prototypes_path": "data.visual",
}
LOSSES = (
    *("cls_action", "past_cls_action", "global_simContrast", "past_target_global_simContrast"),
    *("target_distance", "feat"),
)


def convert_configuration(path: Path) -> tuple[str, list[str]]:
    """(recipe as YAML text, lines without counterpart). Raises KinoscopeError where a line is no override."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KinoscopeError("the experiment file cannot be read", file=path, value=str(error)) from error
    found: dict[str, Any] = {"task": "anticipation", "description": f"converted from {path.name}"}
    found["data"] = {"kind": "segments"}
    unknown: list[str] = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        key, equals, value = text.partition("=")
        if not equals:
            raise KinoscopeError(
                "an experiment file has one key=value a line", file=path, field=f"line {number}", value=line
            )
        changes = _ours(key.strip().lstrip("+"), value.strip())
        if changes is None:
            unknown.append(text)
            continue
        for change in changes:
            found = merged(found, change)
    found = _completed(found)
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=True), unknown


def _ours(key: str, value: str) -> list[dict[str, Any]] | None:
    """What an override means here; None where it has no counterpart."""
    for end, read in READERS.items():
        if key == end or key.endswith(f".{end}"):
            return read(value)
    if key.startswith("dataset@dataset_"):
        name = DATASETS.get(value.partition("/")[0])
        return None if name is None else [{"data": {"dataset": name}}]
    loss = key.rpartition(".")[2]
    if "loss_wts" in key and loss in LOSSES:
        return [parse_override(f"train.losses.{loss}={value}")]
    for end in sorted(PLAIN, key=len, reverse=True):
        if key == end or key.endswith(f".{end}"):
            if "${" in value or ("," in value and not value.startswith("[")):
                return None  # a reference or a sweep
            return [parse_override(f"{PLAIN[end]}={value}")]
    return None


def _rates(value: str) -> list[dict[str, Any]] | None:
    entries = parse_yaml(value)
    if not (isinstance(entries, list) and len(entries) == 1 and len(entries[0]) == 3):
        return None  # several groups of parameters
    name, rate, decay = entries[0]
    if name != "__all__":
        return None
    return [{"train": {"optimizer": {"learning_rate": float(rate), "weight_decay": float(decay)}}}]


def _accumulate(value: str) -> list[dict[str, Any]]:
    return [{"train": {"accumulate": max(int(value), 1)}}]  # the official 0 means 1


def _optimizer(value: str) -> list[dict[str, Any]] | None:
    kind = value.rpartition(".")[2].lower()
    return [{"train": {"optimizer": {"kind": kind}}}] if kind in ("sgd", "adam", "adamw") else None


def _start(value: str) -> list[dict[str, Any]] | None:
    starts: list[dict[str, Any]] = []
    for entry in parse_yaml(value) or []:
        parts = [str(part) for part in entry]
        if len(parts) == 1:
            starts.append({"path": parts[0]})
        elif parts[0] == "backbone.model" and len(parts) == 2:
            starts.append({"path": parts[1], "backbone": True})
        else:
            return None
    return [{"train": {"init": starts}}]


def _blocks(value: str) -> list[dict[str, Any]]:
    parts = []
    for block in parse_yaml(value):
        text = "classifiers" if block == "classifier" else str(block)
        name = our_name(text if text in ("vis_prototypes", "org_gamma") else f"{text}.x")
        parts.append(str(name).removesuffix("x"))
    return [{"blocks": {"parts": parts}}]


def _folders(value: str) -> list[dict[str, Any]]:
    folders = parse_yaml(value) if value.startswith("[") else [value]
    return [{"data": {"input": {"kind": "lmdb", "folders": [str(f) for f in folders]}}}]


def _frozen(part: str) -> Callable[[str], list[dict[str, Any]]]:
    def read(value: str) -> list[dict[str, Any]]:
        return [{"frozen": {part: bool(parse_yaml(value))}}]

    return read


READERS: dict[str, Callable[[str], list[dict[str, Any]] | None]] = {
    "opt.lr_wd": _rates,
    "accumulate": _accumulate,
    "accumulate_grad_batches": _accumulate,
    "opt/optimizer": _optimizer,
    "opt.optimizer._target_": _optimizer,
    "train.init_from_model": _start,
    "pretrain_blocks": _blocks,
    "pre_train_path": lambda value: [{"blocks": {"path": value}}],
    "lmdb_path": _folders,
    "freeze_weights": _frozen("backbone."),
    "freeze_future_predictor": _frozen("decoder."),
    "model/backbone": lambda value: [{"model": {"backbone": "identity"}}] if value == "identity" else None,
}


def _completed(found: dict[str, Any]) -> dict[str, Any]:
    """What spans several lines, and what a recipe must have."""
    blocks, frozen = found.pop("blocks", {}), found.pop("frozen", {})
    if blocks.get("path"):
        found = merged(
            found, {"train": {"init": [{"path": blocks["path"], "parts": blocks.get("parts", [])}]}}
        )
    if parts := [part for part, on in frozen.items() if on]:
        found = merged(found, {"train": {"freeze": parts}})
    if "input" not in found["data"] or "kind" not in found["data"]["input"]:
        lmdb = found.get("model", {}).get("backbone", "identity") == "identity"
        kind = (
            {"kind": "lmdb", "folders": ["DATA/features"]}
            if lmdb
            else {"kind": "videos", "roots": ["DATA/videos"]}
        )
        given = found["data"].get("input", {})
        found["data"]["input"] = kind | ({} if lmdb else given)
    train = {"optimizer": {"kind": "sgd"}, "schedule": {"kind": "warmup_cosine", "final_rate": 0.0}}
    train |= {"drop_last": False, "ema_decay": None}
    optimizer = found.get("train", {}).get("optimizer", {})
    found["train"] = merged(train, found.get("train", {}))
    found["train"]["optimizer"] = {"kind": "sgd", **optimizer}
    return found
