"""Parameter groups and learning rates of CARL (section 9)."""

from __future__ import annotations

import math

import numpy as np
from torch import nn

from kinoscope.errors import KinoscopeError


def parameter_groups(model: nn.Module, train_trunk: str = "frozen") -> list[list[nn.Parameter]]:
    """[batch-norm parameters, all others], in module order.

    train_trunk: `frozen` leaves the trunk out, `only_bn` takes its batch norms, `train_all` takes all of it.
    """
    norms: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        left_out = train_trunk == "frozen" or (train_trunk == "only_bn" and not is_norm)
        if "trunk" in name.split(".") and left_out:
            continue
        (norms if is_norm else others).extend(own)
    return [norms, others]


def epoch_rates(
    kind: str,
    epochs: int,
    rate: float,
    warmup_rate: float = 1e-4,
    warmup_epochs: int = 1,
    final_rate: float = 0.0,
) -> np.ndarray:
    """Learning rate of each epoch, (epochs,) float64. kind: fixed, cosine or cosinewarmup."""
    e = np.arange(epochs, dtype=np.float64)
    if kind == "fixed":
        return np.full(epochs, rate)
    if kind == "cosine":
        return rate * (1 + np.cos(math.pi * e / (epochs + 1))) / 2
    if kind == "cosinewarmup":
        rest = epochs + 1 - warmup_epochs
        t, f = np.arange(rest), final_rate / rate
        down = f + 0.5 * (1 - f) * (1 + np.cos(math.pi * t / rest))
        factors = np.concatenate([np.linspace(warmup_rate / rate, 1, warmup_epochs), down])
        return rate * factors[:epochs]
    raise KinoscopeError(
        "there is no such schedule", field="decay", value=kind, remedy="one of fixed, cosine, cosinewarmup"
    )
