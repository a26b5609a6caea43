"""TriDet's head: a boundary is looked for among the steps around a point (arXiv 2303.07347, section 3.3).

Three towers give, at every step, how much it looks like a start, how much like an end, and, seen from the step as the
centre of an action, where in the 0..reg_max strides at either side the bounds may lie. The distance to the start is the
expectation of softmax_b(start[t - b] + centre[t, b]) over b = 0..reg_max; to the end alike with t + b.

Differences from the authors' code: starts and ends are scored for all classes together, as the paper writes it, not one
score a class. Steps beyond the ends of the video count 0, as masked steps do.

Shape suffixes: B batch, T steps of a level, R bins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.localization.models.heads import HeadShape, Levels, Tower, expected_bin


class TridentHead(nn.Module):
    """Distances [B, T_l, 2] to start and end, in strides of the level, and the logits of their distributions."""

    def __init__(self, shape: HeadShape, reg_max: int = 16) -> None:
        super().__init__()
        self.reg_max = reg_max
        self.start, self.end = Tower(shape, 1), Tower(shape, 1)
        self.centre = Tower(shape, 2 * (reg_max + 1))

    def forward(self, features: Levels, masks: Levels) -> tuple[Levels, Levels]:
        """Distances [B, T_l, 2] and logits [B, T_l, 2, reg_max + 1]."""
        towers = (tower(features, masks) for tower in (self.start, self.end, self.centre))
        logits = [self._around(*level) for level in zip(*towers, strict=True)]
        return [expected_bin(level) for level in logits], logits

    def _around(self, start_BT1: Tensor, end_BT1: Tensor, centre_BTR: Tensor) -> Tensor:
        length, reach = start_BT1.shape[1], self.reg_max
        before_BT, after_BT = F.pad(start_BT1[..., 0], (reach, 0)), F.pad(end_BT1[..., 0], (0, reach))
        bins = range(reach + 1)
        start_BTR = torch.stack([before_BT[:, reach - b : reach - b + length] for b in bins], dim=-1)
        end_BTR = torch.stack([after_BT[:, b : b + length] for b in bins], dim=-1)
        return torch.stack([start_BTR, end_BTR], dim=2) + centre_BTR.unflatten(-1, (2, -1))
