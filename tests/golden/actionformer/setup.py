"""From a case's published settings to our models and settings; unknown names are errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from golden.kit import Case
from kinoscope.localization.losses import LossSettings
from kinoscope.localization.models import Localizer, ModelConfig, localizer
from kinoscope.localization.official import from_official, official_name, our_name
from kinoscope.nn.drop_path import AffineDropPath

IN_MODEL = {"dropout", "droppath", "cls_prior_prob", "head_empty_cls"}
IN_LOSS = {"loss_weight", "label_smoothing", "reg_loss_type", "cls_loss_type"}
ELSEWHERE = {"init_loss_norm", "clip_grad_l2norm", "center_sample", "center_sample_radius"}


def config_of(case: Case) -> ModelConfig:
    merged = case.hyperparameters["merged"]
    values = dict(merged["model"])
    values.pop("dfl_weight", None)
    train = merged["train_cfg"]
    if unknown := set(train) - IN_MODEL - IN_LOSS - ELSEWHERE:
        raise ValueError(f"unknown train_cfg settings: {unknown}")
    values |= {key: train[key] for key in IN_MODEL if key in train}
    kind = "TBTFormer" if case.spec["operation"].endswith("tbt_train") else "LocPointTransformer"
    return ModelConfig(model_name=case.hyperparameters.get("model_name", kind), **values)


def loss_settings_of(case: Case) -> LossSettings:
    merged = case.hyperparameters["merged"]
    values = {key: merged["train_cfg"][key] for key in IN_LOSS if key in merged["train_cfg"]}
    if "dfl_weight" in merged["model"]:
        values["dfl_weight"] = merged["model"]["dfl_weight"]
    return LossSettings(**values)


def model_of(case: Case, training: bool) -> Localizer:
    """The case's model with the case's weights; stochastic depth off."""
    model = localizer(config_of(case))
    weights = {name: torch.from_numpy(np.array(value)) for name, value in case.weights().items()}
    model.load_state_dict(from_official(weights, model))
    return without_depth_drops(model).train(training)


def without_depth_drops(model: nn.Module) -> Any:
    for module in model.modules():
        if isinstance(module, AffineDropPath):
            module.probability = 0.0
    return model


def padded(videos: list[np.ndarray], length: int) -> tuple[Tensor, Tensor]:
    """Features [B, C, length] and mask [B, 1, length]."""
    x = torch.zeros(len(videos), videos[0].shape[0], length)
    mask = torch.zeros(len(videos), 1, length, dtype=torch.bool)
    for i, video in enumerate(videos):
        x[i, :, : video.shape[1]] = torch.from_numpy(video)
        mask[i, :, : video.shape[1]] = True
    return x, mask


def fill_part(case: Case, module: nn.Module, theirs: str, ours: str) -> Callable[[str], str]:
    """Fills a part of a model whose official names lack the prefix `theirs`; gives ours -> official name."""
    own = module.state_dict()
    filled: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    for name, value in case.weights().items():
        mine = our_name(theirs + name)
        if mine is None:
            if name.endswith("inv_freq") or name == "bins":
                continue
            raise ValueError(f"no counterpart of {name}")
        mine = mine.removeprefix(ours)
        names[mine] = name
        filled[mine] = torch.from_numpy(np.array(value)).reshape(own[mine].shape)
    module.load_state_dict(filled)
    return lambda name: names[name]


def gradient_norms(model: nn.Module, name_of: Callable[[str], str] | None = None) -> dict[str, np.ndarray]:
    name_of = name_of or (lambda name: official_name(name, model))
    return {
        f"grad_norm/{name_of(name)}": np.float64(0 if p.grad is None else p.grad.double().norm())
        for name, p in model.named_parameters()
    }


def checked(args: dict[str, Any], known: set[str]) -> dict[str, Any]:
    if unknown := set(args) - known:
        raise ValueError(f"unknown settings: {unknown}")
    return args
