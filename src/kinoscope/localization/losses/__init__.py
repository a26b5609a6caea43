"""Losses and label assignment of the localizers; functions with their formula."""

from kinoscope.localization.losses.assignment import assign_batch, assign_points, heatmap
from kinoscope.localization.losses.elementary import (
    diou_loss,
    distribution_focal_loss,
    eiou_loss,
    focal_loss,
    focal_regression_loss,
    gaussian_focal_loss,
    iou_loss,
    iou_weighted_loss,
    offset_iou,
    pairwise_diou,
    quality_focal_loss,
    reduced,
)
from kinoscope.localization.losses.total import (
    OFFSET_LOSSES,
    LossNormaliser,
    LossSettings,
    boundary_loss,
    heatmap_loss,
    heatmap_targets,
    localization_loss,
    positive_points,
)

__all__ = [
    "OFFSET_LOSSES",
    "LossNormaliser",
    "LossSettings",
    "assign_batch",
    "assign_points",
    "boundary_loss",
    "diou_loss",
    "distribution_focal_loss",
    "eiou_loss",
    "focal_loss",
    "focal_regression_loss",
    "gaussian_focal_loss",
    "heatmap",
    "heatmap_loss",
    "heatmap_targets",
    "iou_loss",
    "iou_weighted_loss",
    "localization_loss",
    "offset_iou",
    "pairwise_diou",
    "positive_points",
    "quality_focal_loss",
    "reduced",
]
