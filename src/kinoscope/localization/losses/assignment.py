"""Which points learn which action (specification 6.2), and heat maps of instants (11.4). No gradients.

Shape suffixes: P points of all levels, N actions of a video, K classes, B videos, T steps of a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

CenterSample = Literal["radius", "none"]
TIE = 1e-3  # steps by which a candidate may be longer than the shortest and still label the point


@torch.no_grad()
def assign_points(
    points_P4: Tensor,
    segments_N2: Tensor,
    labels_N: Tensor,
    num_classes: int,
    center_sample: CenterSample = "radius",
    center_sample_radius: float = 1.5,
) -> tuple[Tensor, Tensor]:
    """Multi-hot class targets [P, K] and offset targets [P, 2] in strides, of one video.

    A point is a candidate of an action that it lies in (near its centre: within `center_sample_radius` of the
    point's own strides) and whose farther end lies within the level's range. The shortest candidate is
    regressed; all that are about as short label the point. Points and segments in steps.
    """
    time_P, stride_P = points_P4[:, 0], points_P4[:, 3]
    if not len(segments_N2):
        return points_P4.new_zeros(len(points_P4), num_classes), points_P4.new_zeros(len(points_P4), 2)
    start_N, end_N = segments_N2.to(points_P4).unbind(-1)
    sides_PN2 = torch.stack([time_P[:, None] - start_N, end_N - time_P[:, None]], dim=-1)
    if center_sample == "radius":
        reach_P = (stride_P * center_sample_radius)[:, None]
        center_N = 0.5 * (start_N + end_N)
        left_PN = time_P[:, None] - torch.max(center_N - reach_P, start_N)
        right_PN = torch.min(center_N + reach_P, end_N) - time_P[:, None]
        inside_PN = torch.min(left_PN, right_PN) > 0
    else:
        inside_PN = sides_PN2.amin(-1) > 0
    farther_PN = sides_PN2.amax(-1)
    candidate_PN = inside_PN & (farther_PN >= points_P4[:, 1, None]) & (farther_PN <= points_P4[:, 2, None])
    length_PN = (end_N - start_N).expand_as(candidate_PN).masked_fill(~candidate_PN, torch.inf)
    shortest_P, index_P = length_PN.min(dim=1)
    labelling_PN = (length_PN <= shortest_P[:, None] + TIE) & candidate_PN
    one_hot_NK = F.one_hot(labels_N.long(), num_classes).to(points_P4)
    classes_PK = (labelling_PN.to(points_P4) @ one_hot_NK).clamp(0, 1)
    offsets_P2 = sides_PN2.gather(1, index_P[:, None, None].expand(-1, 1, 2))[:, 0] / stride_P[:, None]
    return classes_PK, offsets_P2


def assign_batch(
    points_P4: Tensor,
    segments: Sequence[Tensor],
    labels: Sequence[Tensor],
    num_classes: int,
    center_sample: CenterSample = "radius",
    center_sample_radius: float = 1.5,
) -> tuple[Tensor, Tensor]:
    """`assign_points` of every video: [B, P, K] and [B, P, 2]."""
    targets = [
        assign_points(points_P4, s, y, num_classes, center_sample, center_sample_radius)
        for s, y in zip(segments, labels, strict=True)
    ]
    return torch.stack([c for c, _ in targets]), torch.stack([o for _, o in targets])


@torch.no_grad()
def heatmap(
    length: int, stride: int, segments_N2: Tensor, labels_N: Tensor | None = None, num_classes: int = 1
) -> Tensor:
    """Gaussian peaks [T, K] at the centres of the segments (steps) of one video, on a level of `stride`.

    sigma = max(duration / 6, 1) on the level's grid, cut at three sigma; the step nearest to the centre (half
    to even) is set to 1. labels_N None: one heat map for all classes.
    """
    target_TK = torch.zeros(length, num_classes, device=segments_N2.device)
    classes = [0] * len(segments_N2) if labels_N is None else labels_N.tolist()
    for (start, end), label in zip(segments_N2.tolist(), classes, strict=True):
        center, sigma = (start + end) / 2 / stride, max((end - start) / stride / 6, 1.0)
        first, last = int(max(0, center - 3 * sigma)), int(min(length, center + 3 * sigma + 1))
        if first >= last:
            continue
        time = torch.arange(first, last, device=target_TK.device, dtype=torch.float32)
        bell = torch.exp(-((time - center) ** 2) / (2 * sigma**2))
        target_TK[first:last, label] = torch.maximum(target_TK[first:last, label], bell)
        if 0 <= (peak := round(center)) < length:
            target_TK[peak, label] = 1.0
    return target_TK
