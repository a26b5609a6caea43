"""What looking costs: multiply-accumulates of convolution, linear and GRU layers that really ran (spec 10.3).

Normalisation and activation layers are not counted (the papers' figures include normalisation).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from kinoscope.recognition.models.classifiers import StatisticsClassifier
from kinoscope.recognition.models.policy import MotionPolicy
from kinoscope.recognition.models.tsm import AdaFocusTsm


def macs(work: Callable[[], object], model: nn.Module) -> int:
    """Multiply-accumulates of the layers of `model` that `work` runs."""
    total = 0

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal total
        total += layer_macs(module, inputs[0], output)

    hooks = [
        m.register_forward_hook(count)
        for m in model.modules()
        if isinstance(m, nn.modules.conv._ConvNd | nn.Linear | nn.GRU)
    ]
    try:
        with torch.no_grad():
            work()
    finally:
        for hook in hooks:
            hook.remove()
    return total


def layer_macs(module: nn.Module, x: Tensor, output: Any) -> int:
    """Multiply-accumulates of one call of one layer."""
    if isinstance(module, nn.GRU):
        steps = x.shape[0] * x.shape[1]
        return steps * 3 * module.hidden_size * (module.input_size + module.hidden_size)
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    if isinstance(module, nn.modules.conv._ConvNd):
        return output.numel() * module.in_channels // module.groups * math.prod(module.kernel_size)
    return 0


def part_costs(model: nn.Module, frames: int = 16) -> dict[str, float]:
    """G multiply-accumulates a frame of the four parts of an AdaFocus (or V2), and `total` of a clip.

    Of AdaFocus-TSM: a frame of each network, the policy a clip.
    """
    model.eval()
    if isinstance(model, AdaFocusTsm):
        return _tsm_costs(model)
    size, patch_size = cast(int, model.input_size), cast(int, model.patch_size)
    images = torch.zeros(1, frames, 3, size, size)
    maps, _ = model.glance(images)  # type: ignore[operator]
    patch = torch.zeros(1, 3, patch_size, patch_size)
    features = torch.zeros(1, frames, _width(model))
    policy = getattr(model, "acting", None)
    run_policy = (
        (lambda: policy.act(maps.transpose(0, 1), False))
        if policy is not None
        else lambda: model.policy(maps)  # type: ignore[operator]
    )
    parts = {
        "global": macs(lambda: model.glance(images[:, :1]), model),  # type: ignore[operator]
        "local": macs(lambda: model.local_cnn(patch), model),  # type: ignore[operator]
        "policy": macs(run_policy, model) / frames,
        "classifier": macs(lambda: model.classifier(features), model) / frames,  # type: ignore[operator]
    }
    out = {name: float(value) / 1e9 for name, value in parts.items()}
    return out | {"total": sum(out.values()) * frames}


def step_costs(model: nn.Module, parts: dict[str, float], frames: int) -> list[float]:
    """G multiply-accumulates of leaving after 1, 2, ... frames. A policy of movement glances at all frames first."""
    each = {name: value for name, value in parts.items() if name != "total"}
    first = 0.0
    if isinstance(getattr(model, "policy", None), MotionPolicy):
        first = frames * (each.pop("global") + each.pop("policy"))
    return [first + (k + 1) * sum(each.values()) for k in range(frames)]


def _tsm_costs(model: AdaFocusTsm) -> dict[str, float]:
    glanced = torch.zeros(1, model.glancer_frames, 3, model.input_size, model.input_size)
    looked = torch.zeros(model.focuser_frames, 3, model.patch_size, model.patch_size)
    with torch.no_grad():
        states, _ = model.glance(glanced)
        vectors = model.local_cnn(looked)
    work: dict[str, tuple[Callable[[], object], int]] = {
        "global": (lambda: model.glance(glanced), model.glancer_frames),
        "local": (lambda: model.local_cnn(looked), model.focuser_frames),
        "policy": (lambda: model.choose(states), 1),
        "classifier": (lambda: model.classifier(vectors), model.focuser_frames),
    }
    counts = {name: (macs(run, model) / 1e9, frames) for name, (run, frames) in work.items()}
    out = {name: count / frames for name, (count, frames) in counts.items()}
    return out | {"total": sum(count for count, _ in counts.values())}


def everything_cost(model: nn.Module, frames: int) -> float:
    """G multiply-accumulates of the focuser on whole frames: what looking at everything would cost."""
    size = cast(int, model.input_size)
    if isinstance(model, AdaFocusTsm):  # its shifts want whole clips
        frames = model.focuser_frames
        clip = torch.zeros(frames, 3, size, size)
        return macs(lambda: model.local_cnn(clip), model.eval()) / 1e9
    images = torch.zeros(1, 3, size, size)
    return macs(lambda: model.local_cnn(images), model.eval()) / 1e9 * frames  # type: ignore[operator]


def _width(model: nn.Module) -> int:
    classifier = model.get_submodule("classifier")
    if isinstance(classifier, StatisticsClassifier):
        return cast(int, model.local_cnn.width)  # type: ignore[union-attr]
    first = next(m for m in classifier.modules() if isinstance(m, nn.Linear | nn.GRU))
    return first.input_size if isinstance(first, nn.GRU) else first.in_features
