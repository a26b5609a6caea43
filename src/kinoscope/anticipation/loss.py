"""Losses of S-GEAR: classification, semantics, regularisation and feature prediction.

S-GEAR (arXiv 2407.02309), section 3.4.

Every loss is returned without reduction; `total_loss` takes the mean of each over all its elements and adds them
with their weights. Kept from the official code: ignored labels (-1) count 0 but are part of the mean; a target of
-1 reads language row 1 and the last visual prototype.

Differences from the official code:
1. The distance to the own prototype is 2 - 2 cos, without building the difference.
2. Similarities between language prototypes are computed for the rows that a batch asks for.

Shapes: B batch, T frames, A classes, C width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from kinoscope.anticipation.models.prototypes import cosine

IGNORED = -1
PAST_SEMANTIC = "past_target_global_simContrast"


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (..., A) and labels (...), flat; 0 where the label is -1."""
    flat = logits.reshape(-1, logits.shape[-1])
    return F.cross_entropy(flat, labels.reshape(-1), ignore_index=IGNORED, reduction="none")


def semantic_loss(similarities: Tensor, language_similarities: Tensor) -> Tensor:
    """Sum over classes of the distance of two similarity profiles (..., A), each of L1 norm 1: (...)."""
    ours, theirs = (F.normalize(x, p=1.0, dim=-1) for x in (similarities, language_similarities))
    return (ours - theirs).abs().sum(dim=-1)


def prototype_distance(future_BC: Tensor, visual_AC: Tensor, labels_B: Tensor) -> Tensor:
    """Squared distance of the unit vectors of prediction and own (detached) prototype: (B,)."""
    own = F.normalize(visual_AC.detach()[labels_B], dim=-1)
    return ((F.normalize(future_BC, dim=-1) - own) ** 2).sum(dim=-1)


def language_rows(language_AC: Tensor, labels: Tensor) -> Tensor:
    """Cosines of language prototype |label| with all of them: labels (...) to (..., A)."""
    return cosine(language_AC[labels.abs()], language_AC)


def past_labels(subclip_labels_BTN: Tensor) -> Tensor:
    """Label of each past frame: the commonest of its sub-clip; (B, T)."""
    return subclip_labels_BTN.mode(dim=-1).values


def losses(
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    targets_past: Mapping[str, Tensor],
    visual_AC: Tensor,
    language_AC: Tensor | None,
) -> dict[str, Tensor]:
    """Every loss without reduction, by its published name.

    outputs: what the network returns. targets: (B,) by head, targets_past: (B, T) by head; the prototypes are those
    of the last head. Without language prototypes, or without past outputs, the losses that need them are left out.
    """
    out = {}
    for head, labels in targets.items():
        out[f"cls_{head}"] = classification_loss(outputs[f"logits/{head}"], labels)
    for head, labels in targets_past.items():
        if f"past_logits/{head}" in outputs:
            out[f"past_cls_{head}"] = classification_loss(outputs[f"past_logits/{head}"], labels)
    last = list(targets)[-1]
    labels = targets[last]
    if language_AC is not None:
        out["global_simContrast"] = semantic_loss(outputs["similarities"], language_rows(language_AC, labels))
        if last in targets_past and "similarities_past" in outputs:
            past = targets_past[last]
            each = semantic_loss(outputs["similarities_past"], language_rows(language_AC, past))
            out[PAST_SEMANTIC] = each * (past >= 0)
    out["target_distance"] = prototype_distance(outputs["future_z"], visual_AC, labels)
    if "aux/feat" in outputs:
        out["feat"] = outputs["aux/feat"]
    return out


def total_loss(each: Mapping[str, Tensor], weights: Mapping[str, float]) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of the means (weights above 0 only), and the means by name."""
    means = {name: value.mean() for name, value in each.items()}
    total = sum((weights[name] * value for name, value in means.items() if weights.get(name, 0.0) > 0))
    return torch.as_tensor(total), means


def batch_accuracy(logits_BA: Tensor, labels_B: Tensor, ks: tuple[int, ...] = (1, 5)) -> list[Tensor]:
    """Percent of samples whose label is among the k best, for each k; samples without label count as wrong."""
    if bool((labels_B < 0).all()):
        return [logits_BA.new_zeros(()) for _ in ks]
    best = logits_BA.topk(min(max(ks), logits_BA.shape[1]), dim=1).indices
    hit = best == labels_B[:, None]
    return [100.0 * hit[:, :k].any(dim=1).float().mean() for k in ks]
