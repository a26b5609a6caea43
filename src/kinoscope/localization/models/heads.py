"""Heads, shared over the levels of the pyramid (specification 5, 11.3-11.5).

Input lists of x_BTC and mask_BT; output a list of [B, T_l, ...]. Masked steps give logits and offsets of 0.

The levels run as one sequence, with gaps of zeros between them as wide as a kernel reaches: small levels cost
what their steps cost, and a weight is read and its gradient written once.

Shape suffixes: B batch, S steps of all levels and gaps, T of a level, C channels, R bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.localization.models.blocks import channel_norm
from kinoscope.nn.norm_relu import norm_relu
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


class JoinedLevels:
    """Levels end to end: x_BSC, its mask_BS (False in gaps) and keep_S1 (0 in gaps, 1 elsewhere)."""

    def __init__(self, features: Levels, masks: Levels, gap: int) -> None:
        self.lengths, self.gap = [x.shape[1] for x in features], gap
        self.x_BSC = torch.cat([F.pad(x, (0, 0, 0, gap)) for x in features], dim=1)
        self.mask_BS = torch.cat([F.pad(mask, (0, gap)) for mask in masks], dim=1)
        steps = [torch.cat([x.new_ones(x.shape[1]), x.new_zeros(gap)]) for x in features]
        self.keep_S1 = torch.cat(steps).unsqueeze(-1)

    def split(self, y_BSD: Tensor) -> Levels:
        """The levels of an output, without the gaps."""
        pieces = y_BSD.split([length + self.gap for length in self.lengths], dim=1)
        return [piece[:, :length] for piece, length in zip(pieces, self.lengths, strict=True)]


class Tower(nn.Module):
    """Hidden layers (convolution, norm, ReLU) and the output convolution."""

    def __init__(self, shape: HeadShape, outputs: int) -> None:
        super().__init__()
        second = shape.version == 2
        self.gap, self.skips = shape.kernel // 2, second

        def norm() -> nn.Module:
            return channel_norm(shape.channels) if shape.norm else nn.Identity()

        self.projection = (
            MaskedConv(shape.in_channels, shape.channels, 1, bias=not shape.norm) if second else None
        )
        self.projection_norm = norm() if second else None
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        channels = shape.channels if second else shape.in_channels
        for _ in range(shape.layers - 1):
            self.convs.append(MaskedConv(channels, shape.channels, shape.kernel, bias=not shape.norm))
            self.norms.append(norm())
            channels = shape.channels
        self.output = MaskedConv(channels, outputs, shape.kernel)

    def forward(self, features: Levels, masks: Levels) -> Levels:
        """Masked outputs [B, T_l, outputs] of every level."""
        joined = JoinedLevels(features, masks, self.gap)
        x_BSC, mask_BS, keep_S1 = joined.x_BSC, joined.mask_BS, joined.keep_S1
        if self.projection is not None and self.projection_norm is not None:
            x_BSC = norm_relu(self.projection(x_BSC, mask_BS)[0], self.projection_norm, keep_S1)
        for layer, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y_BSC = norm_relu(conv(x_BSC, mask_BS)[0], norm, keep_S1)
            x_BSC = y_BSC + x_BSC if self.skips and layer % 2 else y_BSC
        return joined.split(self.output(x_BSC, mask_BS)[0])


def prior_bias(probability: float) -> float:
    """Logit of the starting probability of a class."""
    return -math.log((1 - probability) / probability)


class ClassificationHead(nn.Module):
    """Logits [B, T_l, K] of every class by itself (sigmoid, no background); also SnapFormer's heat maps."""

    def __init__(
        self, shape: HeadShape, classes: int, prior: float = 0.01, empty_classes: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.tower = Tower(shape, classes)
        bias = self.tower.output.bias
        assert bias is not None
        nn.init.constant_(bias, prior_bias(prior) if prior > 0 else 0.0)
        with torch.no_grad():
            bias[list(empty_classes)] = prior_bias(EMPTY_PRIOR)

    def forward(self, features: Levels, masks: Levels) -> Levels:
        return self.tower(features, masks)


class RegressionHead(nn.Module):
    """Distances [B, T_l, 2] to start and end, in strides of the level, >= 0; one learned scale a level."""

    def __init__(self, shape: HeadShape, levels: int) -> None:
        super().__init__()
        self.tower = Tower(shape, 2)
        self.scales = nn.ParameterList(torch.ones(()) for _ in range(levels))

    def forward(self, features: Levels, masks: Levels) -> Levels:
        outputs = self.tower(features, masks)
        return [F.relu(out_BT2 * scale) for out_BT2, scale in zip(outputs, self.scales, strict=True)]


class BoundaryDistributionHead(nn.Module):
    """Distances as expectations of a distribution over 0..reg_max strides (TBTFormer, specification 11.5).

    Masked steps have flat distributions, so distances of reg_max / 2.
    """

    def __init__(self, shape: HeadShape, levels: int, reg_max: int = 16) -> None:
        super().__init__()
        self.reg_max = reg_max
        self.tower = Tower(shape, 2 * (reg_max + 1))
        self.scales = nn.ParameterList(torch.ones(()) for _ in range(levels))

    def forward(self, features: Levels, masks: Levels) -> tuple[Levels, Levels]:
        """Distances [B, T_l, 2] and the logits of their distributions [B, T_l, 2, reg_max + 1]."""
        logits = [out.unflatten(-1, (2, -1)) for out in self.tower(features, masks)]
        offsets = [
            F.relu(expected_bin(dist_BT2R) * scale)
            for dist_BT2R, scale in zip(logits, self.scales, strict=True)
        ]
        return offsets, logits


def expected_bin(logits: Tensor) -> Tensor:
    """Expectation of softmax(logits) [..., R + 1] over the bins 0..R: [...]."""
    bins = torch.arange(logits.shape[-1], device=logits.device, dtype=logits.dtype)
    return logits.softmax(-1) @ bins
