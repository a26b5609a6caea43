"""Convolutions over time on channels-last sequences.

Everything here works on x_BTC, so that 1x1 convolutions are products with a matrix, norms read one row, and
wide convolutions reach the processor's channels-last kernels without a transposition.

Shape suffixes: B batch, T time, C channels in, D channels out, K kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALL = 20480  # elements of one sequence up to which torch has only a slow kernel for convolutions


def _as_image(x_BTC: Tensor) -> Tensor:
    """x_BTC as a channels-last image [B, C, 1, T], without a copy."""
    return x_BTC.transpose(1, 2).unsqueeze(2)


def _through_onednn(x_BTC: Tensor) -> bool:
    """Whether a convolution of x runs in oneDNN and nothing is being traced for export."""
    return (
        x_BTC.device.type == "cpu"
        and x_BTC.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and (x_BTC.shape[0] > 1 or x_BTC.numel() > SMALL)
    )


def pointwise(
    x_BTC: Tensor, weight_DC: Tensor, bias_D: Tensor | None = None, mask_BT: Tensor | None = None
) -> Tensor:
    """x @ weight.T + bias at every time step, zero at masked ones: [B, T, C] -> [B, T, D].

    On a CPU in float32 this is a 1x1 convolution: it runs in oneDNN, which uses the widest vectors on every
    make of processor, where `linear` runs in a BLAS library that halves them on some. The dilation, without
    effect on a kernel of one, keeps torch from choosing that library for convolutions too.
    """
    if not _through_onednn(x_BTC):
        y_BTD = F.linear(x_BTC, weight_DC, bias_D)
        return y_BTD if mask_BT is None else y_BTD * mask_BT.unsqueeze(-1)
    image = F.conv2d(_as_image(x_BTC.contiguous()), weight_DC[:, :, None, None], bias_D, dilation=2)
    return _as_sequence(image, mask_BT)


def _as_sequence(image: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """A fresh image [B, C, 1, T], masked in place, as x_BTC."""
    if mask_BT is not None:
        image = image.mul_(mask_BT[:, None, None])
    return image.squeeze(2).transpose(1, 2)


class Pointwise(nn.Linear):
    """`nn.Linear` over the channels of x_BTC through `pointwise`; the bias starts at 0."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, bias=bias)
        if bias:
            nn.init.zeros_(self.bias)

    def forward(self, x_BTC: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        return pointwise(x_BTC, self.weight, self.bias, mask_BT)


def conv_over_time(
    x_BTC: Tensor,
    weight_DCK: Tensor,
    bias_D: Tensor | None,
    stride: int = 1,
    groups: int = 1,
    mask_BT: Tensor | None = None,
) -> Tensor:
    """Convolution with zero padding of half a kernel: [B, T, C] -> [B, ceil(T / stride), D].

    mask_BT: of the output, which is zero where it is False.
    """
    if weight_DCK.shape[-1] == 1 and groups == 1:
        return pointwise(x_BTC[:, ::stride], weight_DCK[:, :, 0], bias_D, mask_BT)
    if groups == 1 and stride == 1 and torch.is_grad_enabled() and _through_onednn(x_BTC):
        image: Tensor = _WideConv.apply(x_BTC, weight_DCK, bias_D)
        return _as_sequence(image, mask_BT)
    return _as_sequence(_convolve(x_BTC, weight_DCK, bias_D, stride, groups), mask_BT)


def _convolve(
    x_BTC: Tensor, weight_DCK: Tensor, bias_D: Tensor | None, stride: int = 1, groups: int = 1
) -> Tensor:
    pad = (0, weight_DCK.shape[-1] // 2)
    return F.conv2d(_as_image(x_BTC), weight_DCK.unsqueeze(2), bias_D, (1, stride), pad, groups=groups)


class _WideConv(torch.autograd.Function):
    """Convolution at stride 1, as an image [B, D, 1, T], whose weight gradient is one 1x1 gradient a tap.

    oneDNN's gradient for wide kernels in channels-last layout runs at half the speed of that for 1x1 kernels.
    Sequences are joined end to end with padding between them, so that a tap is a shift without a copy.
    """

    @staticmethod
    def forward(ctx: Any, x_BTC: Tensor, weight_DCK: Tensor, bias_D: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_BTC, weight_DCK)
        return _convolve(x_BTC, weight_DCK, bias_D)

    @staticmethod
    def backward(ctx: Any, grad_image: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x_BTC, weight_DCK = ctx.saved_tensors
        grad_BTD = _as_sequence(grad_image)
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_x = _as_sequence(_gradients(grad_BTD, x_BTC, weight_DCK, data=True))
        if ctx.needs_input_grad[1]:
            kernel = weight_DCK.shape[-1]
            pad = (0, 0, kernel // 2, kernel // 2)
            x_1NC, grad_1ND = (F.pad(t, pad).flatten(0, 1).unsqueeze(0) for t in (x_BTC, grad_BTD))
            steps = x_1NC.shape[1] - 2 * (kernel // 2)
            middle_1ND = grad_1ND[:, kernel // 2 : kernel // 2 + steps]
            one_tap_DC1 = weight_DCK[:, :, :1]  # its values do not matter
            taps = [
                _gradients(middle_1ND, x_1NC[:, tap : tap + steps], one_tap_DC1, data=False)[:, :, 0, 0]
                for tap in range(kernel)
            ]
            grad_weight = torch.stack(taps, dim=2)
        if ctx.needs_input_grad[2]:
            grad_bias = grad_BTD.sum((0, 1))
        return grad_x, grad_weight, grad_bias


def _gradients(grad_BTD: Tensor, x_BTC: Tensor, weight_DCK: Tensor, data: bool) -> Tensor:
    """Gradient of a convolution at stride 1: of its input as an image, or of its weight [D, C, 1, K]."""
    kernel = weight_DCK.shape[-1]
    dilation = [2, 2] if kernel == 1 else [1, 1]  # as in `pointwise`
    images = (_as_image(grad_BTD.contiguous()), _as_image(x_BTC), weight_DCK.unsqueeze(2))
    geometry = ([0], [1, 1], [0, kernel // 2], dilation, False, [0, 0], 1)
    gradients = torch.ops.aten.convolution_backward(*images, *geometry, [data, not data, False])
    return gradients[0] if data else gradients[1]


class MaskedConv(nn.Module):
    """Convolution over time whose output is zero at masked steps.

    The output mask is every `stride`-th step of the input mask. Weight [D, C / groups, K]; the bias starts at
    0. Input x_BTC and mask_BT (True: real data); returns the output [B, T / stride, D] and its mask.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"a masked convolution needs an odd kernel, not {kernel}")
        source = nn.Conv1d(in_channels, out_channels, kernel, groups=groups)  # for its initial weights
        self.weight = source.weight
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.stride, self.groups = stride, groups

    def forward(self, x_BTC: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        mask_BT = self.out_mask(mask_BT)
        y_BTD = conv_over_time(x_BTC, self.weight, self.bias, self.stride, self.groups, mask_BT)
        return y_BTD, mask_BT

    def out_mask(self, mask_BT: Tensor) -> Tensor:
        """The mask of the output: every `stride`-th step."""
        return mask_BT[:, :: self.stride]
