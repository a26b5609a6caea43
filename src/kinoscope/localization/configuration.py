"""Official YAML configurations of ActionFormer and its fork as recipes (specification 2, 11.9).

Keys that the official code takes from its defaults are left to ours, which are the same. Both forms of the
fork are read: flat keys and the nested `model.backbone` of its README; `model.meta_arch` as well as `model_name`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kinoscope.errors import KinoscopeError
from kinoscope.localization.settings import LocalizationSettings
from kinoscope.recipe import parse_yaml, validate

BACKBONES = {
    "convTransformer": "conv_transformer",
    "convTransformerv2": "conv_transformer_v2",
    "conv": "conv",
}
MODELS = {"LocPointTransformer": "actionformer", "SnapFormer": "snapformer", "TBTFormer": "tbtformer"}
READERS = {"thumos": "thumos14", "anet": "activitynet", "epic": "epic", "ego4d": "ego4d"}
RENAMED = {
    "dataset.json_file": "data.annotations",
    "dataset.feat_folder": "data.features",
    "train_split": "data.train_subsets",
    "val_split": "data.test_subsets",
    "loader.batch_size": "train.batch_size",
    "loader.num_workers": "train.workers",
    "init_rand_seed": "train.seed",
    "model.backbone_arch": "model.backbone.arch",
    "model.regression_range": "model.regression_range",
    "model.max_buffer_len_factor": "model.max_buffer_len_factor",
    "model.fpn_type": "model.neck.kind",
    "model.reg_max": "model.head.reg_max",
    "model.backbone.n_embd": "model.backbone.embd_dim",  # the fork's README
    "model.backbone.mha_win_size": "model.backbone.n_mha_win_size",
    "model.num_bins": "model.head.reg_max",  # TriDet
    "model.k": "model.backbone.sgp_k",
    "model.sgp_mlp_dim": "model.backbone.n_hidden",
    "model.iou_weight_power": "train.iou_weight_power",
    "model.dfl_weight": "train.dfl_weight",
    "train_cfg.clip_grad_l2norm": "train.clip_norm",
    "train_cfg.cls_prior_prob": "model.head.cls_prior_prob",
    "train_cfg.head_empty_cls": "model.head.head_empty_cls",
    "train_cfg.dropout": "model.backbone.dropout",
    "train_cfg.droppath": "model.backbone.droppath",
    "opt.learning_rate": "train.optimizer.learning_rate",
    "opt.weight_decay": "train.optimizer.weight_decay",
    "opt.momentum": "train.optimizer.momentum",
    "opt.epochs": "train.epochs",
    "opt.early_stop_epochs": "train.stop_after_epochs",
}
REPEATED = {  # said again by the fork's README; `dataset` comes first
    "model.backbone.max_len": "data.max_seq_len",
    "model.backbone.n_in": "data.input_dim",
}
TRIDET: dict[str, Any] = {  # what its code does without being told
    "model.kind": "tridet",
    "model.backbone.kind": "sgp",
    "train.cls_loss_type": "iou_focal",
    "train.reg_loss_type": "giou",
}
SECTIONS = {  # other keys keep their name and go to the first section that knows them
    "dataset": ("data",),
    "model": ("model.backbone", "model.neck", "model.head"),
    "model.backbone": ("model.backbone",),
    "train_cfg": ("train",),
    "test_cfg": ("decode",),
}
SCHEDULE = {
    f"opt.{key}" for key in ("warmup", "warmup_epochs", "schedule_type", "schedule_steps", "schedule_gamma")
}


def convert_configuration(path: Path) -> tuple[str, list[str]]:
    """The recipe (YAML) of an official configuration file, and its keys that have no counterpart here."""
    values = parse_yaml(path.read_text(encoding="utf-8"), path)
    if not isinstance(values, dict) or "dataset" not in values:
        raise KinoscopeError(
            "this is no configuration of ActionFormer",
            file=path,
            field="dataset",
            remedy="give its YAML file",
        )
    recipe: dict[str, Any] = {"task": "localization", "description": f"converted from {path.name}"}
    recipe["data"] = {"kind": "features"}
    unknown = []
    leaves = _flat(values)
    for key, value in (TRIDET if "num_bins" in values.get("model", {}) else {}).items():
        _set(recipe, key, value)
    for key, value in leaves:
        if not _place(recipe, key, value):
            unknown.append(key)
    for key, value in leaves:
        section, _, leaf = REPEATED.get(key, "").rpartition(".")
        if section and leaf not in recipe[section]:
            recipe[section][leaf] = value
    _schedule(recipe, values.get("opt", {}))
    validate(LocalizationSettings, recipe, path)
    return yaml.safe_dump(recipe, sort_keys=False), unknown


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Leaves with their dotted names; `class_sigma` is a leaf although it is a mapping."""
    pairs = []
    for key, value in values.items():
        if isinstance(value, dict) and key != "class_sigma":
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((prefix + str(key), value))
    return pairs


def _place(recipe: dict[str, Any], key: str, value: Any) -> bool:
    """Puts one official key where it belongs; False where it has no counterpart."""
    section, _, leaf = key.rpartition(".")
    if key == "dataset_name":
        if value not in READERS:
            return False
        recipe["data"]["reader"], recipe["protocol"] = value, READERS[value]
    elif key in ("model_name", "model.meta_arch"):
        _set(recipe, "model.kind", MODELS.get(value, value))
    elif key == "model.backbone_type":
        _set(recipe, "model.backbone.kind", BACKBONES.get(value, value))
    elif key == "opt.type":
        _set(recipe, "train.optimizer.kind", str(value).lower())
    elif key in REPEATED:
        return True
    elif key in RENAMED:
        _set(recipe, RENAMED[key], value)
    elif key not in SCHEDULE and value is not None:
        return _keep_name(recipe, section, leaf, value)
    return True


def _keep_name(recipe: dict[str, Any], section: str, leaf: str, value: Any) -> bool:
    for target in SECTIONS.get(section, ()):
        model: Any = LocalizationSettings()
        for part in target.split("."):
            model = getattr(model, part)
        if leaf in type(model).model_fields:
            _set(recipe, f"{target}.{leaf}", value)
            return True
    return False


def _set(recipe: dict[str, Any], dotted: str, value: Any) -> None:
    *path, leaf = dotted.split(".")
    for part in path:
        recipe = recipe.setdefault(part, {})
    recipe[leaf] = value


def _schedule(recipe: dict[str, Any], opt: dict[str, Any]) -> None:
    warmup = opt.get("warmup_epochs", 5) if opt.get("warmup", True) else 0
    if opt.get("schedule_type", "cosine") == "multistep":
        steps = {"steps": list(opt.get("schedule_steps", ())), "gamma": opt.get("schedule_gamma", 0.1)}
        schedule = {"kind": "warmup_steps", "warmup_epochs": warmup, **steps}
    else:
        schedule = {"kind": "warmup_cosine", "warmup_epochs": warmup, "final_rate": 1e-8 if warmup else 0.0}
    recipe.setdefault("train", {})["schedule"] = schedule
