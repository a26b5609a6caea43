"""Models and settings of a case."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from golden.kit import Case, Outputs
from kinoscope.media.layouts import layout_named
from kinoscope.skeleton.models import AimCLR, Classifier, CrosSCLR, Encoder, EncoderConfig, SkeletonCLR
from kinoscope.skeleton.official import load, official_name

MODEL_ARGS = {"pretrain", "feature_dim", "queue_size", "momentum", "Temperature", "mlp", "in_channels"}
MODEL_ARGS |= {
    "hidden_channels",
    "hidden_dim",
    "num_class",
    "dropout",
    "graph_args",
    "edge_importance_weighting",
}
MODEL_ARGS |= {"base_encoder"}
CONTRASTIVE = {"AimCLR": AimCLR, "SkeletonCLR": SkeletonCLR, "CrosSCLR": CrosSCLR}


def checked(given: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """`given`, after making sure that every hyper-parameter in it is known."""
    if unknown := set(given) - set(known):
        raise KeyError(f"unknown hyper-parameters: {sorted(unknown)}")
    return given


def encoder_config(args: dict[str, Any]) -> EncoderConfig:
    graph = checked(args.get("graph_args", {}), {"layout", "strategy", "max_hop", "dilation"})
    return EncoderConfig(
        in_channels=args.get("in_channels", 3),
        hidden_channels=args.get("hidden_channels", 64),
        hidden_dim=args.get("hidden_dim", 256),
        dropout=args.get("dropout", 0.5),
        layout=layout_named(graph.get("layout", "openpose")),
        strategy=graph.get("strategy", "uniform"),
        max_hop=graph.get("max_hop", 1),
        dilation=graph.get("dilation", 1),
        edge_importance=args.get("edge_importance_weighting", True),
    )


def build(name: str, args: dict[str, Any]) -> nn.Module:
    config = encoder_config(checked(args, MODEL_ARGS))
    if name == "ST-GCN":
        return Encoder(config, args.get("num_class", 60))
    if not args.get("pretrain", True):
        classes = args.get("num_class", 60)
        return CrosSCLR(config, classes=classes) if name == "CrosSCLR" else Classifier(config, classes)
    return CONTRASTIVE[name](
        config,
        args.get("feature_dim", 128),
        args.get("queue_size", 32768),
        args.get("momentum", 0.999),
        args.get("Temperature", 0.07),
        args.get("mlp", True),
    )


def state_of(case: Case) -> dict[str, Tensor]:
    """The case's official tensors with the exceptions of its system, as float32 (pointers int64)."""
    exceptions = case.spec["fill_exceptions"]
    state = case.weights()
    out: dict[str, Tensor] = {}
    from vectors import vectorkit

    for name, shape in case.spec["state"].items():
        rule = exceptions.get(name)
        if rule is None:
            if name not in state:
                continue
            value = state[name]
        else:
            value = vectorkit.rng(name).standard_normal(tuple(shape)).astype(np.float32)
            if rule.startswith("same tensor as "):
                continue
            if rule == "0":
                value = np.zeros(shape, np.int64)
            elif rule == "1 + 0.1 * x":
                value = 1 + 0.1 * value
            elif rule == "x / norm(x, axis=0)":
                value = value / np.linalg.norm(value, axis=0)
            else:
                raise KeyError(f"unknown fill rule: {rule}")
        out[name] = torch.from_numpy(np.asarray(value))
        if out[name].is_floating_point():
            out[name] = out[name].float()
    for name, rule in exceptions.items():
        if rule.startswith("same tensor as "):
            out[name] = out[rule.removeprefix("same tensor as ")]
    return out


def model_of(case: Case) -> nn.Module:
    model = build(case.hyperparameters["model"], case.hyperparameters["model_args"])
    own = {official_name(name): value for name, value in model.state_dict().items()}
    assert list(own) == list(case.spec["state"]), "official names or order differ"
    state = state_of(case)
    load(model, {name: state.get(name, value) for name, value in own.items()})
    return model


def tensors(case: Case) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in case.inputs.items()}


def gradient_norms(model: nn.Module) -> Outputs:
    return {
        f"grad_norm/{official_name(n)}": p.grad.norm().numpy()
        for n, p in model.named_parameters()
        if p.grad is not None
    }


def state_norms(model: nn.Module, prefix: str) -> Outputs:
    return {
        f"{prefix}/{official_name(n)}": np.float64(v.detach().double().norm())
        for n, v in model.state_dict().items()
    }


def state_values(model: nn.Module) -> Outputs:
    return {f"after/{official_name(n)}": v.detach().numpy() for n, v in model.state_dict().items()}


def text(lines: str) -> np.ndarray:
    return np.frombuffer(lines.encode(), np.uint8)
