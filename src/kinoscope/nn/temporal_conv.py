"""Convolutions over time on channels-last sequences.

Everything here works on x_BTC, so that 1x1 convolutions are products with a matrix, norms read one row, and
wide convolutions reach the processor's channels-last kernels without a transposition.

Shape suffixes: B batch, T time, C channels in, D channels out, K kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _as_image(x_BTC: Tensor) -> Tensor:
    """x_BTC as a channels-last image [B, C, 1, T], without a copy."""
    return x_BTC.transpose(1, 2).unsqueeze(2)


def pointwise(x_BTC: Tensor, weight_DC: Tensor, bias_D: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias at every time step: [B, T, C] -> [B, T, D].

    On a CPU in float32 this is a 1x1 convolution: it runs in oneDNN, which uses the widest vectors on every
    make of processor, where `linear` runs in a BLAS library that halves them on some. The dilation, without
    effect on a kernel of one, keeps torch from choosing that library for convolutions too.
    """
    if x_BTC.device.type != "cpu" or x_BTC.dtype != torch.float32 or torch.compiler.is_compiling():
        return F.linear(x_BTC, weight_DC, bias_D)
    image = F.conv2d(_as_image(x_BTC.contiguous()), weight_DC[:, :, None, None], bias_D, dilation=2)
    return image.squeeze(2).transpose(1, 2)


class Pointwise(nn.Linear):
    """`nn.Linear` over the channels of x_BTC through `pointwise`; the bias starts at 0."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, bias=bias)
        if bias:
            nn.init.zeros_(self.bias)

    def forward(self, x_BTC: Tensor) -> Tensor:
        return pointwise(x_BTC, self.weight, self.bias)


def conv_over_time(
    x_BTC: Tensor, weight_DCK: Tensor, bias_D: Tensor | None, stride: int = 1, groups: int = 1
) -> Tensor:
    """Convolution with zero padding of half a kernel: [B, T, C] -> [B, ceil(T / stride), D]."""
    kernel = weight_DCK.shape[-1]
    if kernel == 1 and groups == 1:
        return pointwise(x_BTC[:, ::stride], weight_DCK[:, :, 0], bias_D)
    image = F.conv2d(
        _as_image(x_BTC),
        weight_DCK.unsqueeze(2),
        bias_D,
        stride=(1, stride),
        padding=(0, kernel // 2),
        groups=groups,
    )
    return image.squeeze(2).transpose(1, 2)


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
        mask_BT = mask_BT[:, :: self.stride]
        y_BTD = conv_over_time(x_BTC, self.weight, self.bias, self.stride, self.groups)
        return y_BTD * mask_BT.unsqueeze(-1), mask_BT
