"""From a recipe's settings to the plain values that networks and losses are built from."""

from __future__ import annotations

from typing import Protocol

from kinoscope.localization.losses import LossSettings
from kinoscope.localization.models import ModelConfig
from kinoscope.localization.settings import LocalizationSettings, Model

NAMES = {
    "actionformer": "LocPointTransformer",
    "snapformer": "SnapFormer",
    "tbtformer": "TBTFormer",
    "tridet": "TriDet",
}


class DataShape(Protocol):
    """What a network must know of its data."""

    input_dim: int | tuple[int, ...]
    num_classes: int
    max_seq_len: int


def model_config(model: Model, data: DataShape) -> ModelConfig:
    """The network that `model` describes, on data of that shape."""
    return ModelConfig(
        **model.published(),
        model_name=NAMES[model.kind],
        input_dim=data.input_dim,
        num_classes=data.num_classes,
        max_seq_len=data.max_seq_len,
        heatmap_classes=model.kind == "snapformer" and data.num_classes > 1,
    )


def loss_settings(settings: LocalizationSettings) -> LossSettings:
    """The part of `train` that the losses read."""
    train = settings.train
    return LossSettings(
        loss_weight=train.loss_weight,
        label_smoothing=train.label_smoothing,
        cls_loss_type=train.cls_loss_type,
        reg_loss_type=train.reg_loss_type,
        dfl_weight=train.dfl_weight,
        iou_weight_power=train.iou_weight_power,
    )
