"""From a case to our modules: fill rules, weights by official name, inputs, norms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from vectors import vectorkit

from golden.kit import Case, Outputs
from kinoscope.recognition.models import AdaFocus
from kinoscope.recognition.official import load_named, model_names


def settings(case: Case, known: Iterable[str], ignored: Iterable[str] = ()) -> dict[str, Any]:
    """The case's hyper-parameters among `known`; unknown ones are an error, `ignored` ones are left out."""
    given = case.hyperparameters
    if unknown := set(given) - set(known) - set(ignored):
        raise ValueError(f"unknown hyper-parameters: {sorted(unknown)}")
    return {name: value for name, value in given.items() if name in set(known)}


def _rule(name: str, rules: Mapping[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    for pattern, rule in rules.items():
        if fnmatchcase(name, pattern + "*") if "*" in pattern else name.startswith(pattern):
            return pattern, rule
    return "", {}


def _value(name: str, shape: tuple[int, ...], rules: Mapping[str, dict[str, Any]]) -> np.ndarray:
    pattern, rule = _rule(name, rules)
    if unknown := set(rule) - {"copy_of", "scale", "scale_matrices"}:
        raise ValueError(f"unknown fill rule {unknown}")
    if "copy_of" in rule:
        return _value(rule["copy_of"] + name.removeprefix(pattern), shape, rules)
    value = vectorkit.fill(name, shape)
    if "scale" in rule:
        value = (value * np.float32(rule["scale"])).astype(value.dtype)
    if "scale_matrices" in rule and sum(n > 1 for n in shape) > 1:
        value = (value * np.float32(rule["scale_matrices"])).astype(value.dtype)
    return value


def weights(case: Case, section: str = "state", rules: str = "fill_exceptions") -> dict[str, Tensor]:
    """Every official entry with the case's fill rules applied."""
    given = case.weights(section)
    exceptions = case.spec.get(rules) or {}
    out = {}
    for name, value in given.items():
        stored = f"state/{name}" in case.expected
        out[name] = value if stored else _value(name, value.shape, exceptions)
    return {name: torch.from_numpy(np.array(value)) for name, value in out.items()}


def tensors(case: Case, *names: str) -> list[Tensor]:
    """Inputs; those whose name starts with `images` enlarged by `upsample`."""
    factor = case.hyperparameters.get("upsample", 1)
    out = []
    for name in names:
        value = case.inputs[name]
        if name.startswith("images") and factor > 1:
            value = np.repeat(np.repeat(value, factor, -2), factor, -1)
        out.append(torch.from_numpy(np.array(value)))
    return out


def frames(images: Tensor) -> Tensor:
    """[B, T * 3, S, S] -> [B, T, 3, S, S]."""
    return images.unflatten(1, (-1, 3))


def norm(value: Tensor | None) -> np.ndarray:
    return np.float64(0 if value is None else value.detach().double().norm())  # type: ignore[return-value]


def gradients(module: nn.Module, names: Mapping[str, str]) -> Outputs:
    """grad_norm/<official name> of every parameter that has a gradient."""
    return {f"grad_norm/{names[n]}": norm(p.grad) for n, p in module.named_parameters() if p.grad is not None}


def buffers(module: nn.Module, names: Mapping[str, str]) -> Outputs:
    """buffer_norm/<official name> of the running statistics."""
    return {
        f"buffer_norm/{names[n]}": norm(b)
        for n, b in module.named_buffers()
        if n in names and b.is_floating_point()
    }


def parameter_norms(module: nn.Module, names: Mapping[str, str], prefix: str = "") -> Outputs:
    """param_norm/<official name> of every floating-point entry whose own name starts with `prefix`."""
    return {
        f"param_norm/{names[n]}": norm(v)
        for n, v in module.state_dict().items()
        if n.startswith(prefix) and v.is_floating_point()
    }


def numpy(value: Tensor) -> np.ndarray:
    return value.detach().numpy()


MODEL = {"patch_size", "input_size", "glance_size", "hidden_state_dim", "feature_map_channels", "policy_conv"}
MODEL |= {"consensus", "hidden_dim", "dropout", "with_glancer"}
AROUND = {"upsample", "dataset", "train_stage", "num_segments", "num_classes", "random_patch", "batch_size"}
AROUND |= {"action_dim", "reward", "pretrain_glancer"}


def adafocus(case: Case, *around: str) -> tuple[AdaFocus, dict[str, str]]:
    """The complete model with the case's weights, in eval mode, and our name -> official name."""
    values = settings(case, MODEL, AROUND | set(around))
    given = case.hyperparameters
    action_dim = None if given.get("random_patch", False) else given.get("action_dim", 49)
    values.setdefault("patch_size", 96)
    model = AdaFocus(given.get("num_classes", 200), action_dim=action_dim, **values)
    names = model_names(model)
    load_named(model, weights(case), names)
    return model.eval(), names
