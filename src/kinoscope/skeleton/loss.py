"""Losses of contrastive pre-training (AimCLR sections 3.2 to 3.4), means over the batch.

1. Mined neighbours: the mean of their log-probabilities, as the code has it (the paper: log of the sum).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kinoscope.skeleton.models.contrast import Contrast
from kinoscope.skeleton.models.crossclr import CrossContrast
from kinoscope.skeleton.streams import STREAMS


def info_nce(logits: Tensor) -> Tensor:
    """- log softmax(logits)[:, 0], averaged; (N, 1+K)."""
    return -F.log_softmax(logits, 1)[:, 0].mean()


def neighbour_loss(logits: Tensor, positives: Tensor) -> Tensor:
    """- mean over the marked positives of log softmax(logits), averaged over rows; both (N, 1+K)."""
    return -((F.log_softmax(logits, 1) * positives).sum(1) / positives.sum(1)).mean()


def distribution_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of softmax(logits) to the distribution `target`, both (N, 1+K)."""
    return -(F.log_softmax(logits, 1) * target).sum(1).mean()


def aimclr_loss(out: Contrast) -> dict[str, Tensor]:
    """loss = (InfoNCE or neighbours) + (distribution of the extreme view + of its dropped twin) / 2."""
    assert out.extreme is not None
    assert out.dropped is not None
    target = torch.softmax(out.logits.detach(), 1)
    extreme, dropped = distribution_loss(out.extreme, target), distribution_loss(out.dropped, target)
    main = info_nce(out.logits) if out.positives is None else neighbour_loss(out.logits, out.positives)
    total = main + (extreme + dropped) / 2
    return {"loss": total, "contrast": main, "extreme": extreme, "dropped": dropped}


def crossclr_loss(out: CrossContrast) -> dict[str, Tensor]:
    """Sum of the three streams' losses; in the second stage a stream's is the mean of its two pairs."""
    parts: dict[str, Tensor] = {}
    for name in STREAMS:
        if out.positives:
            pairs = [key for key in out.logits if key.startswith(f"{name}-")]
            parts[name] = sum(  # type: ignore[assignment]
                neighbour_loss(out.logits[key], out.positives[key]) for key in pairs
            ) / len(pairs)
        else:
            parts[name] = info_nce(out.logits[name])
    return {"loss": torch.stack(list(parts.values())).sum(), **parts}
