"""The losses of the localizers (specification 6.4, 11.2, 11.4, 11.5).

Differences from the official code:
1. The running normaliser is an object whose value can be saved and resumed.
2. Where several processes share a batch, counts are summed over them, so that their losses add up to those
   of one process: engines that average gradients over processes multiply the loss by their number.
3. Quality focal, focal and IoU-weighted regression are choices; SnapFormer has a `final_loss`; TBTFormer's
   loss is the one that its code intends (specification 11.5).
4. TriDet's loss (arXiv 2303.07347, equation 7) is ActionFormer's with `iou_focal` and `giou`: positives weigh by
   their IoU. One running normaliser divides positives and negatives, where the paper counts them apart.

Shape suffixes: B videos, P points of all levels, T points of one, K classes, R + 1 bins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kinoscope.localization.losses.assignment import heatmap
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
    quality_focal_loss,
)
from kinoscope.localization.models.localizer import LocalizerOutput

Losses = dict[str, Tensor]
SumOverProcesses = Callable[[Tensor], Tensor]
OffsetLoss = Callable[[Tensor, Tensor], Tensor]

CLASS_LOSSES = ("focal", "quality_focal", "iou_focal")
OFFSET_LOSSES: dict[str, OffsetLoss] = {
    "diou": diou_loss,
    "eiou": eiou_loss,
    "giou": iou_loss,
    "iou": iou_loss,
    "focal": focal_regression_loss,
    "iou_weighted": iou_weighted_loss,
}


@dataclass
class LossNormaliser:
    """Running average of the number of positive points; official checkpoints do not hold it.

    value: starts at `init_loss_norm`. Every training forward updates it before it divides the losses.
    """

    value: float
    momentum: float = 0.9

    def update(self, num_pos: float) -> float:
        self.value = self.momentum * self.value + (1 - self.momentum) * max(num_pos, 1.0)
        return self.value

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = float(state["value"])


@dataclass(frozen=True)
class LossSettings:
    """The part of `train_cfg` that the losses read, under the published names."""

    loss_weight: float = 1.0  # of the regression loss; <= 0: automatic balance
    label_smoothing: float = 0.0
    cls_loss_type: str = "focal"  # or quality_focal, iou_focal
    reg_loss_type: str = "diou"  # of OFFSET_LOSSES
    dfl_weight: float = 0.25  # TBTFormer
    iou_weight_power: float = 1.0  # iou_focal: positives weigh IoU to this power

    def __post_init__(self) -> None:
        if self.reg_loss_type not in OFFSET_LOSSES or self.cls_loss_type not in CLASS_LOSSES:
            raise ValueError(f"unknown loss {self.cls_loss_type} or {self.reg_loss_type}")


def positive_points(mask_BP: Tensor, classes_BPK: Tensor) -> Tensor:
    """Unmasked points with any class: [B, P]."""
    return mask_BP & (classes_BPK.sum(-1) > 0)


def localization_loss(
    output: LocalizerOutput,
    classes_BPK: Tensor,
    offsets_BP2: Tensor,
    normaliser: LossNormaliser,
    settings: LossSettings,
    sum_over_processes: SumOverProcesses | None = None,
) -> Losses:
    """ActionFormer's loss: {final_loss, cls_loss, reg_loss, num_pos}; targets as `assign_batch` gives them.

    final = cls + w * reg, both sums over points divided by the normaliser, which this call updates with the
    number of positives (over all processes).
    """
    mask_BP = torch.cat(output.masks, dim=1)
    pos_BP = positive_points(mask_BP, classes_BPK)
    num_pos = pos_BP.sum()
    total_pos = sum_over_processes(num_pos) if sum_over_processes else num_pos
    norm = normaliser.update(float(total_pos))
    pred_N2, true_N2 = torch.cat(output.offsets, dim=1)[pos_BP], offsets_BP2[pos_BP]
    cls_loss = _class_loss(output, mask_BP, pos_BP, classes_BPK, (pred_N2, true_N2), settings) / norm
    reg_loss = OFFSET_LOSSES[settings.reg_loss_type](pred_N2, true_N2).sum() / norm
    weight: float | Tensor = settings.loss_weight
    if settings.loss_weight <= 0:
        weight = cls_loss.detach() / max(float(reg_loss.detach()), 0.01)
    return {
        "final_loss": cls_loss + weight * reg_loss,
        "cls_loss": cls_loss,
        "reg_loss": reg_loss,
        "num_pos": num_pos,
    }


def _class_loss(
    output: LocalizerOutput,
    mask_BP: Tensor,
    pos_BP: Tensor,
    classes_BPK: Tensor,
    offsets: tuple[Tensor, Tensor],
    settings: LossSettings,
) -> Tensor:
    """Sum of the classification loss over unmasked points."""
    logits_BPK = torch.cat(output.logits, dim=1)
    if settings.cls_loss_type == "quality_focal":
        iou_BP = torch.zeros_like(mask_BP, dtype=torch.float32)
        iou_BP[pos_BP] = offset_iou(*offsets).detach()
        loss_BPK = quality_focal_loss(logits_BPK, classes_BPK, iou_BP)
    else:
        smooth = settings.label_smoothing
        targets_BPK = classes_BPK * (1 - smooth) + smooth / (classes_BPK.shape[-1] + 1)
        loss_BPK = focal_loss(logits_BPK, targets_BPK)
    if settings.cls_loss_type == "iou_focal":
        weight_BP = torch.ones_like(mask_BP, dtype=torch.float32)
        weight_BP[pos_BP] = offset_iou(*offsets).detach() ** settings.iou_weight_power
        loss_BPK = loss_BPK * torch.where(classes_BPK > 0, weight_BP.unsqueeze(-1), 1.0)
    return (loss_BPK * mask_BP.unsqueeze(-1)).sum()


def boundary_loss(
    output: LocalizerOutput,
    classes_BPK: Tensor,
    offsets_BP2: Tensor,
    settings: LossSettings,
    sum_over_processes: SumOverProcesses | None = None,
) -> Losses:
    """TBTFormer's loss: {final_loss, cls_loss, reg_loss, dfl_loss, num_pos}.

    final = cls + reg + dfl, divided by the positives of this batch (no running average, no smoothing). The
    distributions learn the targets before the level's scale, which the IoU sees after it.
    """
    mask_BP = torch.cat(output.masks, dim=1)
    pos_BP = positive_points(mask_BP, classes_BPK)
    num_pos = pos_BP.sum()
    count = (sum_over_processes(num_pos) if sum_over_processes else num_pos).clamp(min=1)
    loss_BPK = focal_loss(torch.cat(output.logits, dim=1), classes_BPK)
    cls_loss = (loss_BPK * mask_BP.unsqueeze(-1)).sum() / count
    pred_N2, true_N2 = torch.cat(output.offsets, dim=1)[pos_BP], offsets_BP2[pos_BP]
    reg_loss = OFFSET_LOSSES[settings.reg_loss_type](pred_N2, true_N2).sum() / count
    dist_N2R = torch.cat(output.distributions, dim=1)[pos_BP]
    reg_max = dist_N2R.shape[-1] - 1
    dfl_loss = distribution_focal_loss(dist_N2R, true_N2.clamp(0, reg_max)).sum() / count
    dfl_loss = settings.dfl_weight * dfl_loss
    return {
        "final_loss": cls_loss + reg_loss + dfl_loss,
        "cls_loss": cls_loss,
        "reg_loss": reg_loss,
        "dfl_loss": dfl_loss,
        "num_pos": num_pos,
    }


def heatmap_targets(
    lengths: Sequence[int],
    strides: Sequence[int],
    segments: Sequence[Tensor],
    labels: Sequence[Tensor] | None = None,
    num_classes: int = 1,
) -> list[Tensor]:
    """Gaussian targets [B, T_l, K] of every level; labels None: one heat map for all classes."""
    return [
        torch.stack(
            [
                heatmap(length, stride, s, None if labels is None else labels[i], num_classes)
                for i, s in enumerate(segments)
            ]
        )
        for length, stride in zip(lengths, strides, strict=True)
    ]


def heatmap_loss(
    output: LocalizerOutput, targets: Sequence[Tensor], sum_over_processes: SumOverProcesses | None = None
) -> Losses:
    """SnapFormer's loss: {final_loss, heatmap_loss, num_pos}; a level is divided by its own peaks."""
    device = output.logits[0].device
    total, peaks = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device)
    for logits_BTK, mask_BT, target_BTK in zip(output.logits, output.masks, targets, strict=True):
        logits_NK, target_NK = logits_BTK[mask_BT], target_BTK[mask_BT]
        found = (target_NK == 1).sum()
        count = sum_over_processes(found) if sum_over_processes else found
        total = total + gaussian_focal_loss(logits_NK, target_NK, count)
        peaks = peaks + found
    return {"final_loss": total, "heatmap_loss": total, "num_pos": peaks}
