"""Conditional exit: stop looking as soon as the scores are sure enough (AdaFocus V2, section 3.5; spec 12.1).

Needs per-step logits alone, so it serves every model of the room. Shapes: N clips, K steps, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

NEVER, ALWAYS = 1e8, -1e8
Criterion = Literal["confidence", "entropy"]
BUDGETS = tuple(round(0.5 + 0.1 * i, 1) for i in range(35))  # the published range of q


def curve(
    train_NKC: Tensor,
    test_NKC: Tensor,
    costs_K: Sequence[float],
    score: Callable[[Tensor], dict[str, float]],
    criterion: Criterion = "confidence",
) -> list[dict[str, object]]:
    """Accuracy against cost: for every published budget parameter q its thresholds, mean cost and scores."""
    points: list[dict[str, object]] = []
    for q in BUDGETS:
        limits = thresholds(train_NKC, q, criterion)
        left = leave(test_NKC, limits, costs_K, criterion)
        points.append({"q": q, "cost": left.cost, "thresholds": limits.tolist(), **score(left.logits)})
    return points


def certainty(logits_NKC: Tensor, criterion: Criterion) -> Tensor:
    """Certainty [N, K] of every step: the largest logit, or the negative entropy of the softmax."""
    if criterion == "confidence":
        return logits_NKC.amax(-1)
    if criterion == "entropy":
        return (logits_NKC.softmax(-1) * logits_NKC.log_softmax(-1)).sum(-1)
    raise ValueError(f"no criterion {criterion!r}; there are confidence and entropy")


def thresholds(train_NKC: Tensor, q: float, criterion: Criterion = "confidence") -> Tensor:
    """Threshold of every step [K] for the budget parameter q, from the training clips' logits.

    The share that leaves at step k = 1..K is proportional to q^k. Going through the steps, the threshold
    is the
    certainty of the last of the floor(N * share) most certain clips that are still there.
    """
    sure = certainty(train_NKC, criterion)
    clips, steps = sure.shape
    share = q ** torch.arange(1, steps + 1, dtype=torch.float32)
    leaving = torch.floor(clips * share / share.sum()).long().tolist()
    out = torch.full((steps,), NEVER)
    there = torch.ones(clips, dtype=torch.bool)
    for k in range(steps - 1):
        candidates = torch.where(there)[0]
        count = min(leaving[k], len(candidates))
        if count == 0:
            continue
        order = candidates[sure[candidates, k].argsort(descending=True, stable=True)]
        out[k] = sure[order[count - 1], k]
        there[order[:count]] = False
    out[-1] = ALWAYS
    return out


@dataclass(frozen=True)
class Exits:
    """step [N] (0-based) at which each clip leaves, leaving [K] clips a step, their logits [N, C], mean
    cost."""

    step: Tensor
    leaving: Tensor
    logits: Tensor
    cost: float


def leave(
    logits_NKC: Tensor,
    thresholds_K: Tensor,
    costs_K: Sequence[float],
    criterion: Criterion = "confidence",
) -> Exits:
    """Every clip leaves at the first step whose certainty reaches its threshold. costs: of leaving at step
    k."""
    passed = certainty(logits_NKC, criterion) >= thresholds_K
    passed[:, -1] = True
    step = passed.float().argmax(1)
    leaving = torch.bincount(step, minlength=logits_NKC.shape[1]).float()
    cost = float((leaving * torch.tensor(costs_K)).sum() / len(step))
    return Exits(step, leaving, logits_NKC[torch.arange(len(step)), step], cost)
