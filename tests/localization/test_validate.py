from __future__ import annotations

import copy
from typing import Any

import pytest

from kinoscope.localization import ConfigurationError, validate_config
from kinoscope.localization.validate import inspect_config

GOOD: dict[str, Any] = {
    "dataset": {"json_file": "a.json", "feat_folder": "f", "max_seq_len": 2304},
    "model": {
        "backbone_type": "convTransformer",
        "backbone_arch": [2, 2, 5],
        "regression_range": [[0, 4], [4, 8], [8, 16], [16, 32], [32, 64], [64, 10000]],
        "n_mha_win_size": [19, 19, 19, 19, 19, -1],
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    cfg = copy.deepcopy(GOOD)
    section, key = path.split(".")
    cfg.setdefault(section, {})[key] = value
    return cfg


def test_a_published_configuration_passes() -> None:
    validate_config(GOOD)
    assert not inspect_config(GOOD).warnings


@pytest.mark.parametrize(
    ("path", "value", "errors", "warnings"),
    [
        ("dataset.max_seq_len", 2300, 6, 0),
        ("model.regression_range", [[0, 4], [4, 4], [8]], 3, 0),
        ("model.fpn_start_level", 1, 1, 0),
        ("model.head_num_layers", 0, 1, 0),
        ("model.head_num_layers", 1, 0, 1),
        ("model.head_dim", 512, 0, 1),
        ("model.backbone", {"use_rope": True, "use_swiglu": True, "use_abs_pe": False}, 0, 2),
        ("train_cfg.loss_weight", -1, 1, 0),
        ("train_cfg.label_smoothing", 1.0, 1, 0),
        ("train_cfg.reg_loss_type", "l1", 0, 1),
        ("test_cfg.iou_threshold", 0, 1, 0),
        ("test_cfg.nms_sigma", 0, 1, 0),
        ("test_cfg.score_temperature", 0, 1, 0),
        ("test_cfg.nms_method", "greedy", 0, 1),
    ],
)
def test_every_fault_is_told(path: str, value: Any, errors: int, warnings: int) -> None:
    found = inspect_config(changed(path, value))
    assert (len(found.errors), len(found.warnings)) == (errors, warnings)
    assert all(path.split(".")[1] in sentence for sentence in found.errors + found.warnings)


def test_all_errors_come_at_once() -> None:
    with pytest.raises(ConfigurationError, match="max_seq_len") as caught:
        validate_config({"dataset": {}})
    assert len(caught.value.errors) == 6


def test_rotary_beside_absolute_positions_is_unlikely() -> None:
    cfg = changed("model.backbone_type", "convTransformerv2")
    cfg["model"]["backbone"] = {"use_rope": True, "use_rel_pe": True}
    assert len(inspect_config(cfg).warnings) == 2


def test_the_nested_form_says_levels_too() -> None:
    cfg = changed("model.backbone", {"arch": [2, 2, 5]})
    del cfg["model"]["backbone_arch"]
    validate_config(cfg)
    cfg["model"]["backbone"] = {"arch": [2, 2, 2]}
    with pytest.raises(ConfigurationError, match="backbone_arch"):
        validate_config(cfg)
