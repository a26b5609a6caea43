"""Elementary losses (specification 6.3, 11.2): one value an element, in float32, reduced by `reduced`.

Offsets are (distance to start, distance to end) >= 0 of one point, so two segments around it always meet:
inter = min(lp, lg) + min(rp, rg), union = lp + rp + lg + rg - inter.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-8


def reduced(loss: Tensor, reduction: Literal["none", "sum", "mean"]) -> Tensor:
    """The loss as it is, its sum, or its mean (0, with a graph, over an empty set)."""
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" or not loss.numel() else loss.mean()


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """ce * (1 - p_t)^gamma * alpha_t, elementwise (arXiv 1708.02002); soft targets; alpha < 0: no alpha."""
    logits, targets = logits.float(), targets.float()
    p = logits.sigmoid()
    ce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    loss = ce * (1 - (p * targets + (1 - p) * (1 - targets))) ** gamma
    return loss if alpha < 0 else loss * (alpha * targets + (1 - alpha) * (1 - targets))


def quality_focal_loss(
    logits: Tensor, targets: Tensor, iou: Tensor, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """Quality focal loss (arXiv 2006.04388): [N, K] logits and binary targets, iou [N] of the row.

    q = target * clamp(iou, 0, 1); BCE(logit, q) * |q - p|^gamma * alpha_t, alpha_t by the binary target.
    """
    logits, targets = logits.float(), targets.float()
    quality = targets * iou.float().clamp(0, 1).unsqueeze(-1)
    loss = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    loss = loss * (quality - logits.sigmoid()).abs() ** gamma
    return loss if alpha < 0 else loss * (alpha * targets + (1 - alpha) * (1 - targets))


def _parts(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(iou, distance of centres, enclosing length, difference of lengths) of offsets [..., 2]."""
    pred, target = pred.float(), target.float()
    (lp, rp), (lg, rg) = pred.unbind(-1), target.unbind(-1)
    inter = torch.min(lp, lg) + torch.min(rp, rg)
    iou = inter / (lp + rp + lg + rg - inter).clamp(min=EPS)
    enclosing = torch.max(lp, lg) + torch.max(rp, rg)
    return iou, 0.5 * (rp - lp - rg + lg), enclosing, (lp + rp) - (lg + rg)


def offset_iou(pred: Tensor, target: Tensor) -> Tensor:
    """IoU of the segments that offsets [..., 2] span: [...]."""
    return _parts(pred, target)[0]


def iou_loss(pred: Tensor, target: Tensor) -> Tensor:
    """1 - iou (equal to GIoU, as two segments around one point enclose nothing else)."""
    return 1 - _parts(pred, target)[0]


def diou_loss(pred: Tensor, target: Tensor) -> Tensor:
    """1 - iou + (distance of centres / enclosing length)^2."""
    iou, rho, enclosing, _ = _parts(pred, target)
    return 1 - iou + (rho / enclosing.clamp(min=EPS)) ** 2


def eiou_loss(pred: Tensor, target: Tensor) -> Tensor:
    """1 - iou + rho^2 / len^2 + (difference of lengths)^2 / len^2, len the enclosing length."""
    iou, rho, enclosing, width = _parts(pred, target)
    area = (enclosing**2).clamp(min=EPS)
    return 1 - iou + rho**2 / area + width**2 / area


def focal_regression_loss(pred: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """(1 - iou)^gamma * (1 - iou)."""
    loss = iou_loss(pred, target)
    return loss**gamma * loss


def iou_weighted_loss(pred: Tensor, target: Tensor, base: Literal["iou", "diou", "eiou"] = "diou") -> Tensor:
    """(2 - iou) * base loss: segments that overlap little weigh up to twice as much."""
    iou, rho, enclosing, width = _parts(pred, target)
    area = (enclosing**2).clamp(min=EPS)
    loss = 1 - iou
    if base != "iou":
        loss = loss + rho**2 / area
    if base == "eiou":
        loss = loss + width**2 / area
    return (2 - iou) * loss


def distribution_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Distribution focal loss (arXiv 2006.04388): logits [N, R + 1] over bins 0..R, targets [N] in bins: [N].

    Cross entropies of the two bins around the target, weighted by nearness; targets are cut to [0, R - 0.01].
    """
    target = target.float().clamp(0, logits.shape[-1] - 1 - 0.01)
    left = target.long()
    share = target - left
    log_p = logits.float().log_softmax(-1)
    near = log_p.gather(-1, left[..., None])[..., 0]
    far = log_p.gather(-1, left[..., None] + 1)[..., 0]
    return -near * (1 - share) - far * share


def gaussian_focal_loss(logits: Tensor, targets: Tensor, positives: Tensor | None = None) -> Tensor:
    """CornerNet's loss of heat maps (arXiv 1808.01244): the sum divided by the number of targets of 1.

    Positive (target 1): -log(p) * (1 - p)^2; else -log(1 - p) * p^2 * (1 - target)^4. Without a positive the
    sum stands undivided. `positives`: the number over all processes, where they share one batch.
    """
    p, targets = logits.float().sigmoid(), targets.float()
    positive = targets == 1
    at_peaks = -p.clamp(min=1e-12).log() * (1 - p) ** 2
    elsewhere = -(1 - p).clamp(min=1e-12).log() * p**2 * (1 - targets) ** 4
    count = positive.sum() if positives is None else positives
    return torch.where(positive, at_peaks, elsewhere).sum() / count.clamp(min=1)


def pairwise_diou(a_N2: Tensor, b_M2: Tensor) -> Tensor:
    """iou - (distance of centres)^2 / (enclosing length)^2 of all pairs of segments (start, end): [N, M]."""
    a, b = a_N2[:, None], b_M2[None]
    inter = (torch.min(a[..., 1], b[..., 1]) - torch.max(a[..., 0], b[..., 0])).clamp(min=0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - inter
    enclosing = torch.max(a[..., 1], b[..., 1]) - torch.min(a[..., 0], b[..., 0])
    rho = 0.5 * (a.sum(-1) - b.sum(-1))
    return inter / union.clamp(min=EPS) - rho**2 / (enclosing**2).clamp(min=EPS)
