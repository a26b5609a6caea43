"""ReLU of a layer norm, as one step that keeps two tensors for the gradient where single operations keep three.

Shape suffixes: B batch, T time, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def norm_relu(x_BTC: Tensor, norm: nn.Module, keep_T1: Tensor | None = None) -> Tensor:
    """relu(norm(x)), times keep_T1 (ones and zeros) where given."""
    if (
        isinstance(norm, nn.LayerNorm)
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled(x_BTC.device.type)
        and not torch.compiler.is_compiling()
    ):
        y_BTC: Tensor = _NormReLU.apply(x_BTC, norm.weight, norm.bias, norm.eps, keep_T1)
        return y_BTC
    y_BTC = F.relu(norm(x_BTC))
    return y_BTC if keep_T1 is None else y_BTC * keep_T1


class _NormReLU(torch.autograd.Function):
    """Where the result is zero, by ReLU or by `keep_T1`, no gradient flows: so the result tells both."""

    @staticmethod
    def forward(
        ctx: Any, x_BTC: Tensor, weight_C: Tensor, bias_C: Tensor, eps: float, keep_T1: Tensor | None
    ) -> Tensor:
        y_BTC, mean, rstd = torch.native_layer_norm(x_BTC, weight_C.shape, weight_C, bias_C, eps)
        y_BTC = y_BTC.relu_()
        if keep_T1 is not None:
            y_BTC = y_BTC.mul_(keep_T1)
        ctx.save_for_backward(x_BTC, weight_C, bias_C, mean, rstd, y_BTC)
        return y_BTC

    @staticmethod
    def backward(
        ctx: Any, grad_BTC: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x_BTC, weight_C, bias_C, mean, rstd, y_BTC = ctx.saved_tensors
        grad_BTC = torch.ops.aten.threshold_backward(grad_BTC, y_BTC, 0)
        gradients = torch.ops.aten.native_layer_norm_backward(
            grad_BTC, x_BTC, weight_C.shape, mean, rstd, weight_C, bias_C, list(ctx.needs_input_grad[:3])
        )
        return *gradients, None, None
