"""From a case's published settings to our modules; unknown names are errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from golden.kit import Case
from kinoscope.anticipation.models import Anticipator, AnticipatorConfig, DecoderConfig
from kinoscope.anticipation.official import from_official, load_exactly, official_names

DECODER = {
    "inter_dim",
    "n_head",
    "n_layer",
    "output_len",
    "output_len_eval",
    "avg_last_n",
    "return_past_too",
    "drop_last_n",
}
MODEL = {
    "dropout",
    "prot_attn",
    "backbone",
    "backbone_dim",
    "intermediate_featdim",
    "tca_blocks",
    "num_frames",
    "mean_representation",
    "transform_features",
}
# what a case says beside the model: sizes that follow from its state, and what is trained
BESIDE = {
    "decoder_dropouts",
    "num_classes",
    "class_mapping_sizes",
    "prototype_dim",
    "freeze_prototypes",
    "freeze_weights",
    "freeze_future_predictor",
}


def checked(given: dict[str, Any], known: set[str]) -> dict[str, Any]:
    if unknown := set(given) - known:
        raise ValueError(f"unknown settings: {sorted(unknown)}")
    return given


def tensors(values: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in values.items()}


def model_of(case: Case, also: set[str] = frozenset()) -> Anticipator:  # type: ignore[assignment]
    """The case's network with the case's weights; parts frozen as it says."""
    given = checked(case.hyperparameters, DECODER | MODEL | BESIDE | set(also))
    decoder = DecoderConfig(
        **{key: given[key] for key in DECODER if key in given}, dropout=given.get("decoder_dropouts", 0.0)
    )
    classes = given["num_classes"]
    config = AnticipatorConfig(
        num_classes=classes if isinstance(classes, dict) else {"action": classes},
        decoder=decoder,
        **{key: given[key] for key in MODEL if key in given},
    )
    weights = tensors(case.weights())
    width = given.get("prototype_dim", given.get("intermediate_featdim", 768))
    start = torch.zeros(config.prototypes, width)
    if "vis_prototypes" not in weights:
        from vectors import vectorkit

        start = torch.from_numpy(vectorkit.fill("vis_prototypes", (config.prototypes, width)))
    with torch.device("meta"):
        model = Anticipator(config, torch.empty(config.prototypes, config.intermediate_featdim))
    model.to_empty(device="cpu")
    if "vis_prototypes" not in weights:
        from kinoscope.anticipation.models.anticipator import resize_prototypes

        weights["vis_prototypes"] = resize_prototypes(start, config.intermediate_featdim)
    load_exactly(model, weights)
    model.prototypes.requires_grad_(not given.get("freeze_prototypes", False))
    if config.pixels:
        model.backbone.requires_grad_(not given.get("freeze_weights", False))
    model.decoder.requires_grad_(not given.get("freeze_future_predictor", False))
    return model


def fill_part(case: Case, module: nn.Module, theirs: str, ours: str) -> Callable[[str], str]:
    """Fills a part whose official names lack the prefix `theirs`; gives ours -> official name."""
    named = {theirs + name: value for name, value in tensors(case.weights()).items()}
    module.load_state_dict({name.removeprefix(ours): v for name, v in from_official(named).items()})
    names = {
        mine.removeprefix(ours): name.removeprefix(theirs) for mine, name in official_names(named).items()
    }
    return lambda name: names[name]


def gradient_norms(model: nn.Module, name_of: Callable[[str], str]) -> dict[str, np.ndarray]:
    return {
        f"grad_norm/{name_of(name)}": np.float64(0 if p.grad is None else float(p.grad.norm()))
        for name, p in model.named_parameters()
    }


def arrays(outputs: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in outputs.items()}
