"""Heads, shared over the levels of the pyramid (specification 5, 11.3-11.5).

Input lists of x_BTC and mask_BT; output a list of [B, T_l, ...]. Masked steps give logits and offsets of 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.localization.models.blocks import channel_norm
from kinoscope.nn.temporal_conv import MaskedConv

Levels = list[Tensor]
EMPTY_PRIOR = 1e-6  # starting probability of a class without training data


@dataclass(frozen=True)
class HeadShape:
    """layers: convolutions with the output's; version 2: projection first, and skips around odd layers."""

    in_channels: int
    channels: int
    layers: int = 3
    kernel: int = 3
    norm: bool = True
    version: int = 1


class Tower(nn.Module):
    """The hidden layers of a head: convolution, norm, ReLU."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        second = shape.version == 2

        def norm() -> nn.Module:
            return channel_norm(shape.channels) if shape.norm else nn.Identity()

        self.projection = (
            MaskedConv(shape.in_channels, shape.channels, 1, bias=not shape.norm) if second else None
        )
        self.projection_norm = norm() if second else None
        self.convs, self.norms, self.skips = nn.ModuleList(), nn.ModuleList(), second
        for layer in range(shape.layers - 1):
            inputs = shape.in_channels if layer == 0 and not second else shape.channels
            self.convs.append(MaskedConv(inputs, shape.channels, shape.kernel, bias=not shape.norm))
            self.norms.append(norm())

    def forward(self, x_BTC: Tensor, mask_BT: Tensor) -> Tensor:
        if self.projection is not None and self.projection_norm is not None:
            x_BTC = F.relu(self.projection_norm(self.projection(x_BTC, mask_BT)[0]))
        for layer, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y_BTC = F.relu(norm(conv(x_BTC, mask_BT)[0]))
            x_BTC = y_BTC + x_BTC if self.skips and layer % 2 else y_BTC
        return x_BTC


def output_conv(shape: HeadShape, channels: int) -> MaskedConv:
    width = shape.in_channels if shape.layers == 1 and shape.version == 1 else shape.channels
    return MaskedConv(width, channels, shape.kernel)


def prior_bias(probability: float) -> float:
    """Logit of the starting probability of a class."""
    return -math.log((1 - probability) / probability)


class ClassificationHead(nn.Module):
    """Logits [B, T_l, K] of every class by itself (sigmoid, no background); also SnapFormer's heat maps."""

    def __init__(
        self, shape: HeadShape, classes: int, prior: float = 0.01, empty_classes: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.tower, self.output = Tower(shape), output_conv(shape, classes)
        assert self.output.bias is not None
        nn.init.constant_(self.output.bias, prior_bias(prior) if prior > 0 else 0.0)
        with torch.no_grad():
            self.output.bias[list(empty_classes)] = prior_bias(EMPTY_PRIOR)

    def forward(self, features: Levels, masks: Levels) -> Levels:
        return [self.output(self.tower(x, m), m)[0] for x, m in zip(features, masks, strict=True)]


class RegressionHead(nn.Module):
    """Distances [B, T_l, 2] to start and end, in strides of the level, >= 0; one learned scale a level."""

    def __init__(self, shape: HeadShape, levels: int) -> None:
        super().__init__()
        self.tower, self.output = Tower(shape), output_conv(shape, 2)
        self.scales = nn.ParameterList(torch.ones(()) for _ in range(levels))

    def forward(self, features: Levels, masks: Levels) -> Levels:
        return [
            F.relu(self.output(self.tower(x, m), m)[0] * scale)
            for x, m, scale in zip(features, masks, self.scales, strict=True)
        ]


class BoundaryDistributionHead(nn.Module):
    """Distances as expectations of a distribution over 0..reg_max strides (TBTFormer, specification 11.5).

    Masked steps have flat distributions, so distances of reg_max / 2.
    """

    def __init__(self, shape: HeadShape, levels: int, reg_max: int = 16) -> None:
        super().__init__()
        self.reg_max = reg_max
        self.tower, self.output = Tower(shape), output_conv(shape, 2 * (reg_max + 1))
        self.scales = nn.ParameterList(torch.ones(()) for _ in range(levels))

    def forward(self, features: Levels, masks: Levels) -> tuple[Levels, Levels]:
        """Distances [B, T_l, 2] and the logits of their distributions [B, T_l, 2, reg_max + 1]."""
        offsets, logits = [], []
        for x_BTC, mask_BT, scale in zip(features, masks, self.scales, strict=True):
            dist_BT2R = self.output(self.tower(x_BTC, mask_BT), mask_BT)[0].unflatten(-1, (2, -1))
            logits.append(dist_BT2R)
            offsets.append(F.relu(expected_bin(dist_BT2R) * scale))
        return offsets, logits


def expected_bin(logits: Tensor) -> Tensor:
    """Expectation of softmax(logits) [..., R + 1] over the bins 0..R: [...]."""
    bins = torch.arange(logits.shape[-1], device=logits.device, dtype=logits.dtype)
    return logits.softmax(-1) @ bins
