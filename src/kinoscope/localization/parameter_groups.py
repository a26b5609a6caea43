"""Which parameters decay (specification 9.1)."""

from __future__ import annotations

from torch import nn

from kinoscope.nn.temporal_conv import MaskedConv


def decayed_names(model: nn.Module) -> set[str]:
    """Names of the parameters with weight decay: weights of convolutions and linear layers, nothing else."""
    return {
        f"{name}.weight" if name else "weight"
        for name, module in model.named_modules()
        if isinstance(module, MaskedConv | nn.Linear)
    }


def parameter_groups(model: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the decayed parameters, and of the rest, in alphabetical order."""
    decayed = decayed_names(model)
    names = sorted(name for name, _ in model.named_parameters())
    return [n for n in names if n in decayed], [n for n in names if n not in decayed]
