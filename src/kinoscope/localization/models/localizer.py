"""The assembled localizers: ActionFormer (arXiv 2202.07925), SnapFormer and TBTFormer (its fork), TriDet (2303.07347).

Differences from the official code:
1. Batches at test time; masks are an argument, and padding is done outside (`points.padded_length`).
2. Features are channels-last inside.
3. Losses and decoding live in `localization.loss` and `localization.decode`.

Shape suffixes: B batch, C channels, T time, K classes, R bins of a distribution.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from kinoscope.localization.models.backbones import Backbone, backbone
from kinoscope.localization.models.config import ModelConfig
from kinoscope.localization.models.heads import (
    BoundaryDistributionHead,
    ClassificationHead,
    HeadShape,
    RegressionHead,
)
from kinoscope.localization.models.necks import IdentityNeck, PyramidNeck, neck
from kinoscope.localization.models.points import PointGenerator
from kinoscope.localization.models.trident import TridentHead


class LocalizerOutput(NamedTuple):
    """A level each, fine to coarse; points lie at multiples of the level's stride.

    logits [B, T_l, K] before the sigmoid; offsets [B, T_l, 2], >= 0, to start and end in strides of the level
    (none of SnapFormer); masks [B, T_l], True at real points; distributions [B, T_l, 2, reg_max + 1], logits
    (TBTFormer and TriDet).
    """

    logits: list[Tensor]
    offsets: list[Tensor]
    masks: list[Tensor]
    distributions: list[Tensor]


class Localizer(nn.Module):
    """Backbone, neck and heads. Without `reg_head` the logits are heat maps of instants (SnapFormer)."""

    def __init__(
        self,
        backbone: Backbone,
        neck: IdentityNeck | PyramidNeck,
        cls_head: ClassificationHead,
        reg_head: RegressionHead | BoundaryDistributionHead | TridentHead | None,
        point_generator: PointGenerator,
    ) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, neck
        self.cls_head, self.reg_head = cls_head, reg_head
        self.point_generator = point_generator

    def forward(self, x_BCT: Tensor, mask_B1T: Tensor) -> LocalizerOutput:
        """x_BCT: padded features, T divisible by the coarsest stride; mask_B1T: True at real steps."""
        features, masks = self.backbone(x_BCT.transpose(1, 2).contiguous(), mask_B1T[:, 0])
        return self.heads(features, masks)

    def heads(self, features: list[Tensor], masks: list[Tensor]) -> LocalizerOutput:
        """Neck and heads on the backbone's levels."""
        features, masks = self.neck(features, masks)
        logits = self.cls_head(features, masks)
        if self.reg_head is None:
            return LocalizerOutput(logits, [], masks, [])
        if isinstance(self.reg_head, BoundaryDistributionHead | TridentHead):
            offsets, distributions = self.reg_head(features, masks)
            return LocalizerOutput(logits, offsets, masks, distributions)
        return LocalizerOutput(logits, self.reg_head(features, masks), masks, [])


def localizer(config: ModelConfig) -> Localizer:
    """The model that `config` describes, with fresh weights."""
    shape = HeadShape(
        config.fpn_dim,
        config.head_dim,
        config.head_num_layers,
        config.head_kernel_size,
        config.head_with_ln,
        config.head_version,
    )
    levels = len(config.strides)
    reg_head: RegressionHead | BoundaryDistributionHead | TridentHead | None = None
    classes, empty = config.num_classes, config.head_empty_cls
    if config.model_name == "SnapFormer":
        classes, empty = (config.num_classes, empty) if config.heatmap_classes else (1, ())
    elif config.model_name == "TBTFormer":
        reg_head = BoundaryDistributionHead(shape, levels, config.reg_max)
    elif config.model_name == "TriDet":
        reg_head = TridentHead(shape, config.reg_max)
    else:
        reg_head = RegressionHead(shape, levels)
    return Localizer(
        backbone(config),
        neck(config),
        ClassificationHead(shape, classes, config.cls_prior_prob, empty),
        reg_head,
        PointGenerator(config.strides, config.regression_range, config.max_length),
    )
