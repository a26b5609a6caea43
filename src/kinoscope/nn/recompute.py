"""Activation checkpointing of cheap steps: memory for a few percent of time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(function: Callable[[Tensor], Tensor], x: Tensor, again: bool) -> Tensor:
    """function(x); where `again`, what it keeps for the gradient is x alone, and the rest is computed once more.

    In the second computation nothing runs behind the last tensor that a gradient needs: a function that ends in a
    product with a matrix repeats what comes before the product, not the product.
    """
    if again and torch.is_grad_enabled():
        result: Tensor = checkpoint(function, x, use_reentrant=False)
        return result
    return function(x)


def set_recompute(model: nn.Module, again: bool) -> None:
    """Tells every module of `model` that can (those with an attribute `recompute`) whether to save memory."""
    for module in model.modules():
        if hasattr(module, "recompute"):
            module.recompute = again  # type: ignore[assignment]
