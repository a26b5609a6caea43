"""Metrics that two or more tasks share: plain arrays in, numbers out."""

from kinoscope.metrics.detection import Segments, average_precision, interpolated_ap, match, recall_at
from kinoscope.metrics.nms import batched_nms, hard_nms, soft_nms
from kinoscope.metrics.tiou import diou, tiou, tiou_matrix

__all__ = [
    "Segments",
    "average_precision",
    "batched_nms",
    "diou",
    "hard_nms",
    "interpolated_ap",
    "match",
    "recall_at",
    "soft_nms",
    "tiou",
    "tiou_matrix",
]
