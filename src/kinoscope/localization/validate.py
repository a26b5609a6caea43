"""Checks of a configuration in the official YAML's form (the fork's `validate_config`, specification 11.6).

Errors stop a run, warnings are logged. `strict` is accepted and, as in the official code, changes nothing. Our own
recipes are checked by their types and by `kinoscope check`; this is for those who bring official files.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kinoscope.errors import KinoscopeError

REQUIRED = {
    "dataset": ("json_file", "feat_folder", "max_seq_len"),
    "model": ("backbone_type", "backbone_arch", "regression_range"),
}
SECOND_GENERATION = ("use_rope", "use_flash_attn", "use_swiglu", "use_rms_norm")
REGRESSION_LOSSES = ("diou", "eiou", "giou", "iou", "focal", "iou_weighted")  # the last two are ours
NMS_METHODS = ("soft", "hard", "none")

logger = logging.getLogger(__name__)
Section = Mapping[str, Any]


class ConfigurationError(KinoscopeError):
    """A configuration with errors, all of which it lists."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("the configuration has errors:\n" + "\n".join(f"  - {error}" for error in errors))
        self.errors = errors


@dataclass
class Findings:
    """What `inspect_config` found, in sentences."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def refuse(self, wrong: bool, sentence: str) -> None:
        if wrong:
            self.errors.append(sentence)

    def warn(self, unlikely: bool, sentence: str) -> None:
        if unlikely:
            self.warnings.append(sentence)


def validate_config(cfg: Section, strict: bool = True) -> None:
    """Logs the warnings of a configuration; ConfigurationError with the list of its errors.

    Levels and windows may stand in the nested form that the fork's README gives: `model.backbone.arch` and
    `model.backbone.mha_win_size`, which the official code does not read.
    """
    found = inspect_config(_with_nested(cfg))
    if found.errors:
        raise ConfigurationError(found.errors)
    for sentence in found.warnings:
        logger.warning("configuration: %s", sentence)


def inspect_config(cfg: Section) -> Findings:
    """All errors and warnings.

    >>> inspect_config({"test_cfg": {"nms_sigma": 0}}).errors[-1]
    'test_cfg.nms_sigma must be above 0, not 0'
    """
    found = Findings()
    for name, keys in REQUIRED.items():
        for key in keys:
            found.refuse(key not in cfg.get(name, {}), f"{name}.{key} is missing")
    if "model" in cfg:
        _levels(cfg["model"], found)
        _backbone(cfg["model"], found)
        if "dataset" in cfg:
            _length(cfg["dataset"], cfg["model"], found)
        _heads(cfg["model"], found)
    _training(cfg.get("train_cfg", {}), found)
    _inference(cfg.get("test_cfg", {}), found)
    return found


def _with_nested(cfg: Section) -> Section:
    """The same with flat keys for what is said in the nested form alone."""
    model = cfg.get("model", {})
    nested, flat = model.get("backbone", {}), {"arch": "backbone_arch", "mha_win_size": "n_mha_win_size"}
    missing = {flat[key]: nested[key] for key in flat if key in nested and flat[key] not in model}
    return {**cfg, "model": {**model, **missing}} if missing else cfg


def _levels(model: Section, found: Findings) -> None:
    """Pyramid levels against regression ranges."""
    if "backbone_arch" not in model or "regression_range" not in model:
        return
    ranges, levels = (
        model["regression_range"],
        model["backbone_arch"][-1] + 1 - model.get("fpn_start_level", 0),
    )
    found.refuse(
        levels != len(ranges),
        f"model.regression_range has {len(ranges)} entries for {levels} levels of backbone_arch above fpn_start_level",
    )
    for k, entry in enumerate(ranges):
        if len(entry) != 2:
            found.errors.append(f"model.regression_range[{k}] needs 2 numbers, not {len(entry)}")
        else:
            low, high = entry
            found.refuse(low >= high, f"model.regression_range[{k}]: {low} is not below {high}")


def _backbone(model: Section, found: Findings) -> None:
    """Options against the generation of the backbone."""
    kind, options = model.get("backbone_type", ""), model.get("backbone", {})
    if kind == "convTransformerv2":
        found.warn(
            bool(options.get("use_rel_pe", False)),
            "model.backbone.use_rel_pe: the second generation ignores it; use_rope replaces it",
        )
        found.warn(
            bool(options.get("use_rope", False) and options.get("use_abs_pe", True)),
            "model.backbone: rotary and absolute positions together; set use_abs_pe to false",
        )
    elif kind == "convTransformer":
        for name in SECOND_GENERATION:
            found.warn(
                bool(options.get(name, False)),
                f"model.backbone.{name}: the first generation ignores it; set backbone_type to convTransformerv2",
            )


def _length(dataset: Section, model: Section, found: Findings) -> None:
    """The length of a sequence against stride and window of every level."""
    length, factor = dataset.get("max_seq_len", 2304), model.get("scale_factor", 2)
    top, windows = model.get("backbone_arch", (2, 2, 5))[-1], model.get("n_mha_win_size", 19)
    for level in range(model.get("fpn_start_level", 0), top + 1):
        window = windows if isinstance(windows, int) else windows[min(level, len(windows) - 1)]
        unit = factor**level * (window // 2 * 2 if window > 1 else 1)
        found.refuse(
            length % unit != 0,
            f"dataset.max_seq_len must be a multiple of {unit} for level {level}, not {length}; "
            f"{-(-length // unit) * unit} is",
        )


def _heads(model: Section, found: Findings) -> None:
    layers, head, neck = (
        model.get(k, d) for k, d in (("head_num_layers", 3), ("head_dim", 256), ("fpn_dim", 256))
    )
    found.refuse(layers < 1, f"model.head_num_layers must be 1 or more, not {layers}")
    found.warn(layers == 1, "model.head_num_layers: 1 leaves the output convolution alone")
    found.warn(
        head != neck, f"model.head_dim is {head} and fpn_dim {neck}: the first layer of the heads projects"
    )


def _training(train: Section, found: Findings) -> None:
    weight, smooth = train.get("loss_weight", 1.0), train.get("label_smoothing", 0.0)
    found.refuse(
        weight < 0, f"train_cfg.loss_weight must not be negative, not {weight}; 0 balances by itself"
    )
    found.refuse(not 0 <= smooth < 1, f"train_cfg.label_smoothing must lie in [0, 1), not {smooth}")
    loss = train.get("reg_loss_type", "diou")
    found.warn(
        loss not in REGRESSION_LOSSES,
        f"train_cfg.reg_loss_type {loss!r} is none of {', '.join(REGRESSION_LOSSES)}",
    )


def _inference(test: Section, found: Findings) -> None:
    overlap, method = test.get("iou_threshold", 0.1), test.get("nms_method", "soft")
    found.warn(
        method not in NMS_METHODS, f"test_cfg.nms_method {method!r} is none of {', '.join(NMS_METHODS)}"
    )
    found.refuse(not 0 < overlap <= 1, f"test_cfg.iou_threshold must lie in (0, 1], not {overlap}")
    for name, default in (("nms_sigma", 0.5), ("score_temperature", 1.0)):
        value = test.get(name, default)
        found.refuse(value <= 0, f"test_cfg.{name} must be above 0, not {value}")
