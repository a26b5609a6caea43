"""Moving averages of losses, and statistics of a training step (the fork's `LossLogger`, specification 11.6)."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Number = float | Tensor
CORE = ("final_loss", "cls_loss", "reg_loss")  # come first in a summary
DIGITS = {"num_pos": 0, "num_neg": 0, "mean_iou": 3, "mean_score": 3}  # others: 4

logger = logging.getLogger(__name__)


class LossLogger:
    """Means over the last `window_size` values of everything that `update` is given.

    >>> log = LossLogger(window_size=2)
    >>> for step in range(3):
    ...     log.update({"final_loss": float(step)}, {"num_pos": 4})
    >>> log.log_summary(3)
    'Step 3: | final_loss=1.5000 | num_pos=4'
    """

    def __init__(self, window_size: int = 100) -> None:
        self.window_size, self.step_count = window_size, 0
        self.history: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=window_size))

    def update(self, losses: Mapping[str, Number], extra_info: Mapping[str, Number] | None = None) -> None:
        """Takes the values of one step; tensors of one element are read."""
        self.step_count += 1
        for name, value in (*losses.items(), *(extra_info or {}).items()):
            self.history[name].append(float(value.detach() if isinstance(value, Tensor) else value))

    def get_averages(self) -> dict[str, float]:
        """Mean of the remembered values of every name."""
        return {name: sum(values) / len(values) for name, values in self.history.items()}

    def log_summary(self, step: int, prefix: str = "") -> str:
        """Logs the averages as one line and returns it; '' before the first update."""
        means = self.get_averages()
        if not means:
            return ""
        names = [name for name in CORE if name in means] + sorted(means.keys() - set(CORE))
        cells = [f"{name}={means[name]:.{DIGITS.get(name, 4)}f}" for name in names]
        line = prefix + " | ".join([f"Step {step}:", *cells])
        logger.info(line)
        return line

    def get_tensorboard_dict(self, prefix: str = "train/") -> dict[str, float]:
        """The averages under prefixed names."""
        return {prefix + name: value for name, value in self.get_averages().items()}

    def reset(self) -> None:
        """Forgets everything."""
        self.history.clear()
        self.step_count = 0


def compute_loss_breakdown(
    cls_logits_list: Sequence[Tensor],
    offsets_list: Sequence[Tensor],
    gt_cls_labels: Sequence[Tensor],
    gt_offsets: Sequence[Tensor],
    fpn_masks: Sequence[Tensor],
) -> dict[str, int]:
    """{level_l_pos, level_l_total}: positive and valid points of every level.

    fpn_masks: [B, T_l] a level, fine to coarse; gt_cls_labels: [FT, K] a video. The other arguments are those of
    the official call and not read.
    """
    positive_BP = torch.stack(list(gt_cls_labels)).sum(dim=-1) > 0
    counts: dict[str, int] = {}
    first = 0
    for level, mask_BT in enumerate(fpn_masks):
        here_BT = positive_BP[:, first : first + mask_BT.shape[1]] & mask_BT
        counts[f"level_{level}_pos"], counts[f"level_{level}_total"] = int(here_BT.sum()), int(mask_BT.sum())
        first += mask_BT.shape[1]
    return counts


def compute_iou_stats(pred_offsets: Tensor, gt_offsets: Tensor, eps: float = 1e-8) -> dict[str, float]:
    """{mean_iou, min_iou, max_iou} of (N, 2) offsets, predicted and true; zeros where there are none.

    >>> compute_iou_stats(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 3.0]]))["mean_iou"]
    0.5
    """
    if not len(pred_offsets):
        return {"mean_iou": 0.0, "min_iou": 0.0, "max_iou": 0.0}
    inter_N = torch.minimum(pred_offsets, gt_offsets).sum(dim=1).clamp(min=0)
    union_N = pred_offsets.sum(dim=1) + gt_offsets.sum(dim=1) - inter_N
    iou_N = inter_N / union_N.clamp(min=eps)
    return {"mean_iou": float(iou_N.mean()), "min_iou": float(iou_N.min()), "max_iou": float(iou_N.max())}
