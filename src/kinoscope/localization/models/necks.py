"""Necks between pyramid and heads (specification 4.6, 11.4), on lists of x_BTC and mask_BT.

Each drops the levels below `start_level`. Between the stages nothing is masked again: so the numbers are.
"""

from __future__ import annotations

from torch import Tensor, nn

from kinoscope.localization.models.blocks import channel_norm
from kinoscope.localization.models.config import ModelConfig
from kinoscope.nn.temporal_conv import MaskedConv

Levels = list[Tensor]


class IdentityNeck(nn.Module):
    """A layer norm a level."""

    def __init__(self, levels: int, width: int, start_level: int = 0, norm: bool = True) -> None:
        super().__init__()
        self.start_level = start_level
        kept = range(levels - start_level)
        self.norms = nn.ModuleList(channel_norm(width) if norm else nn.Identity() for _ in kept)

    def forward(self, features: Levels, masks: Levels) -> tuple[Levels, Levels]:
        features, masks = features[self.start_level :], masks[self.start_level :]
        return [norm(x_BTC) for norm, x_BTC in zip(self.norms, features, strict=True)], masks


class PyramidNeck(nn.Module):
    """Feature pyramid: lateral projections, top-down sums, a depth-wise convolution and a norm a level.

    cross_scale: then also bottom-up, each level adding a strided convolution of the finer one's result.
    """

    def __init__(
        self,
        levels: int,
        in_channels: int,
        out_channels: int,
        scale_factor: int = 2,
        start_level: int = 0,
        norm: bool = True,
        cross_scale: bool = False,
    ) -> None:
        super().__init__()
        self.start_level, self.scale_factor, kept = start_level, scale_factor, levels - start_level

        def conv(in_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> MaskedConv:
            return MaskedConv(in_channels, out_channels, kernel, stride, groups, bias=not norm)

        self.laterals = nn.ModuleList(conv(in_channels, 1) for _ in range(kept))
        self.convs = nn.ModuleList(conv(out_channels, 3, groups=out_channels) for _ in range(kept))
        self.norms = nn.ModuleList(channel_norm(out_channels) if norm else nn.Identity() for _ in range(kept))
        ups = kept - 1 if cross_scale else 0
        self.downsamples = nn.ModuleList(conv(out_channels, 3, stride=scale_factor) for _ in range(ups))

    def forward(self, features: Levels, masks: Levels) -> tuple[Levels, Levels]:
        features, masks = features[self.start_level :], masks[self.start_level :]
        levels = [lateral(x, m)[0] for lateral, x, m in zip(self.laterals, features, masks, strict=True)]
        for level in range(len(levels) - 1, 0, -1):
            finer = levels[level].repeat_interleave(self.scale_factor, dim=1)
            levels[level - 1] = levels[level - 1] + finer
        for level, downsample in enumerate(self.downsamples, start=1):
            levels[level] = levels[level] + downsample(levels[level - 1], masks[level - 1])[0]
        outputs = [
            norm(conv(x, m)[0])
            for norm, conv, x, m in zip(self.norms, self.convs, levels, masks, strict=True)
        ]
        return outputs, masks


def neck(config: ModelConfig) -> IdentityNeck | PyramidNeck:
    """The neck that `config.fpn_type` names."""
    levels = 1 + config.backbone_arch[2]
    if config.fpn_type == "identity":
        return IdentityNeck(levels, config.width, config.fpn_start_level, config.fpn_with_ln)
    return PyramidNeck(
        levels,
        config.width,
        config.fpn_dim,
        config.scale_factor,
        config.fpn_start_level,
        config.fpn_with_ln,
        cross_scale=config.fpn_type == "cs_fpn",
    )
