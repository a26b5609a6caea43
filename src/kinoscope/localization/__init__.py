"""Temporal action localization: ActionFormer (arXiv 2202.07925) and its enhanced fork.

The fork's utilities are here under its names; each loads its module when it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinoscope.localization.loss_logger import LossLogger, compute_iou_stats, compute_loss_breakdown
    from kinoscope.localization.postprocess import (
        TemporalConstraints,
        enforce_class_constraints,
        merge_close_detections,
    )
    from kinoscope.localization.ranges import compute_adaptive_ranges, suggest_config_ranges
    from kinoscope.localization.validate import ConfigurationError, validate_config

_MODULES = {
    "loss_logger": ("LossLogger", "compute_iou_stats", "compute_loss_breakdown"),
    "postprocess": ("TemporalConstraints", "enforce_class_constraints", "merge_close_detections"),
    "ranges": ("compute_adaptive_ranges", "suggest_config_ranges"),
    "validate": ("ConfigurationError", "validate_config"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ConfigurationError",
    "LossLogger",
    "TemporalConstraints",
    "compute_adaptive_ranges",
    "compute_iou_stats",
    "compute_loss_breakdown",
    "enforce_class_constraints",
    "merge_close_detections",
    "suggest_config_ranges",
    "validate_config",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
