"""Losses on frame embeddings: SCL, TCC, TCN and classification (CARL, section 4).

Shapes: B videos, T frames of a view or clip, D embedding width. Numerics are the official ones. Different:
1. SCL goes through the rows of one view at a time, so that no (2BT)^2 target or mask is built.
2. TCC's `classification` can take the log-softmax that its official form forgot (`corrected`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kinoscope.errors import KinoscopeError


def scl_loss(
    z_BVTD: Tensor,
    steps_BVT: Tensor,
    lengths_BV: Tensor,
    mask_BVT: Tensor,
    temperature: float = 0.1,
    variance: float = 10.0,
    positive: str = "gauss",
    negative: str = "single_noself",
    window: float = 5,
) -> Tensor:
    """Sequence contrastive loss: KL divergence between a Gaussian over time and the similarity, a scalar.

    For frame i of one view and j of the other, `P_ij ~ exp(-d_ij^2 / (2 variance))` normalised over j, with
    `d_ij = |s_i / n_i * n_j - s_j|` in frames; `Q_ij = exp(z_i z_j / t) / sum_k w_ik exp(z_i z_k / t)`; the
    loss is `sum P (log P - log(Q + 1e-6))` averaged over valid frames.

    z: two views' embeddings of length one. steps: frame numbers. lengths: frames of the whole videos. mask: 1 on
    valid frames. negative: contains `single` for frames of the same video only, and `noself` for frames of the
    other view (and other videos) only. positive: `gauss`, or `nn` of the first release, whose target is the
    nearest frame of the other view within `window`; every other name has no positives in the official code.
    """
    B, V, T, D = z_BVTD.shape
    z_ND = z_BVTD.reshape(-1, D)
    mask_N = mask_BVT.reshape(-1).float()
    place = (steps_BVT / lengths_BV.float()[..., None]).float()
    n_B, s_BVT = lengths_BV.float(), steps_BVT.float()
    total = z_ND.new_zeros(())
    for b in range(B):
        for view in range(V):
            rows = slice((b * V + view) * T, (b * V + view + 1) * T)
            other = slice((b * V + 1 - view) * T, (b * V + 2 - view) * T)
            weight_N = torch.ones_like(mask_N)
            if "single" in negative:
                weight_N.zero_()
                weight_N[b * V * T : (b + 1) * V * T] = 1
            if "noself" in negative:
                weight_N[rows] = 0
            valid_TN = mask_N[rows, None] * mask_N[None]
            weight_TN = torch.where(valid_TN == 0, torch.full_like(valid_TN, 1e-6), weight_N)
            likeness_TN = torch.exp(z_ND[rows] @ z_ND.T / temperature)
            q_TT = likeness_TN[:, other] / (weight_TN * likeness_TN).sum(1, keepdim=True)
            q_TT = torch.where(q_TT.isnan(), torch.zeros_like(q_TT), q_TT)
            valid_TT = valid_TN[:, other]
            d_TT = (place[b, view][:, None] * n_B[b, 1 - view] - s_BVT[b, 1 - view][None]).abs()
            d_TT = torch.where(valid_TT == 0, torch.full_like(d_TT, 1e6), d_TT)
            p_TT = _target(d_TT, q_TT.dtype, positive, variance, window)
            divergence = torch.xlogy(p_TT, p_TT) - p_TT * (q_TT + 1e-6).log()
            total = total + (divergence * valid_TT).sum()
    return total / mask_N.sum()


def _target(d_TT: Tensor, dtype: torch.dtype, positive: str, variance: float, window: float) -> Tensor:
    """Distances float32; the exponential too, as officially, but its sums are of the embeddings' precision."""
    if positive == "gauss":
        p = torch.exp(-(d_TT**2) / (2 * variance)).to(dtype)
        p = p / p.sum(1, keepdim=True)
        return torch.where(p.isnan(), torch.zeros_like(p), p)
    p = torch.zeros_like(d_TT, dtype=dtype)
    if positive == "nn":
        nearest, index = d_TT.min(1)
        p[torch.arange(len(p)), index] = (nearest <= window).to(p.dtype)
    return p


def cycle(
    a_TD: Tensor, b_TD: Tensor, similarity: str, temperature: float, smoothing: float
) -> tuple[Tensor, Tensor]:
    """From a to its soft neighbours in b and back: logits and smoothed identity labels, both (T, T)."""

    def likeness(x: Tensor, y: Tensor) -> Tensor:
        inner = x @ y.T
        if similarity == "l2":
            inner = -((x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * inner)
        return inner / x.shape[1] / temperature

    T = len(a_TD)
    neighbours = likeness(a_TD, b_TD).softmax(1) @ b_TD
    labels = torch.eye(T, dtype=a_TD.dtype, device=a_TD.device)
    if smoothing:
        labels = (1 - T * smoothing / (T - 1)) * labels + smoothing / (T - 1)
    return likeness(neighbours, a_TD), labels


def tcc_loss(
    x_BTD: Tensor,
    steps_BT: Tensor,
    lengths_B: Tensor,
    kind: str = "regression_mse_var",
    similarity: str = "l2",
    temperature: float = 0.1,
    smoothing: float = 0.1,
    variance_weight: float = 0.001,
    normalize_indices: bool = True,
    corrected: bool = False,
) -> dict[str, Tensor]:
    """Temporal cycle consistency over all ordered pairs of clips: `loss`, and for `regression_mse_var` its parts.

    steps: frame numbers; lengths: frames of the whole videos. kind: regression_mse_var, regression_mse,
    regression_huber or classification. corrected: `classification` on log-probabilities; without it, on raw
    logits as the official code has it. Raises KinoscopeError for a single clip, which has no pair.
    """
    B = len(x_BTD)
    if B < 2:
        raise KinoscopeError(
            "temporal cycle consistency needs two videos in a batch",
            value=B,
            remedy="set batch_size to 2 or more",
        )
    pairs = [(a, b) for a in range(B) for b in range(B) if a != b]
    cycles = [cycle(x_BTD[a], x_BTD[b], similarity, temperature, smoothing) for a, b in pairs]
    logits = torch.cat([logits for logits, _ in cycles])
    labels = torch.cat([labels for _, labels in cycles])
    if kind == "classification":
        return {"loss": F.kl_div(logits.log_softmax(1) if corrected else logits, labels)}
    T = x_BTD.shape[1]
    first = torch.tensor([a for a, _ in pairs for _ in range(T)], device=x_BTD.device)
    time = steps_BT.to(x_BTD.dtype)[first]
    if normalize_indices:
        time = time / lengths_B.to(x_BTD.dtype)[first, None]
    beta = logits.softmax(1)
    true, found = (time * labels).sum(1), (time * beta).sum(1)
    if kind == "regression_mse":
        return {"loss": F.mse_loss(found, true)}
    if kind == "regression_huber":
        return {"loss": F.smooth_l1_loss(found, true)}
    if kind != "regression_mse_var":
        raise KinoscopeError(
            "there is no such cycle loss",
            field="kind",
            value=kind,
            remedy="one of regression_mse_var, regression_mse, regression_huber, classification",
        )
    log_variance = ((time - found[:, None]) ** 2 * beta).sum(1).log()
    error = (true - found) ** 2
    loss = (torch.exp(-log_variance) * error + variance_weight * log_variance).mean()
    return {"loss": loss, "squared_error": error.mean(), "pred_time_log_var": log_variance.mean()}


def tcn_loss(x_BTD: Tensor, regularization: float = 0.002) -> Tensor:
    """Time-contrastive n-pairs loss of each clip, (B,): even frames are anchors, odd ones their positives."""
    anchor, positive = x_BTD[:, 0::2], x_BTD[:, 1::2]
    size = (anchor**2).sum(-1).mean(1) + (positive**2).sum(-1).mean(1)
    scores = anchor @ positive.transpose(1, 2)
    targets = torch.arange(scores.shape[1], device=scores.device).expand(len(scores), -1)
    contrast = F.cross_entropy(scores.transpose(1, 2), targets, reduction="none").mean(1)
    return 0.25 * regularization * size + contrast


def classification_loss(scores_BTK: Tensor, labels_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Cross-entropy averaged over valid frames with a label >= 0."""
    scores, labels, mask = _labelled(scores_BTK, labels_BT, mask_BT)
    return (F.cross_entropy(scores, labels, reduction="none") * mask).sum() / mask.sum()


def classification_accuracy(scores_BTK: Tensor, labels_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Share of valid labelled frames whose class is right."""
    scores, labels, mask = _labelled(scores_BTK, labels_BT, mask_BT)
    return ((scores.argmax(1) == labels) * mask).sum() / mask.sum()


def _labelled(scores_BTK: Tensor, labels_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    scores, labels, mask = scores_BTK.flatten(0, 1), labels_BT.flatten(), mask_BT.flatten()
    known = labels >= 0
    return scores[known], labels[known].long(), mask[known]
