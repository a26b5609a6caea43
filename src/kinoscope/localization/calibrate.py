"""Temperature scaling (Guo et al., arXiv 1706.04599): one number that makes scores probabilities, fitted afterwards.

Logits are divided by the temperature before the sigmoid (`decode.score_temperature`). It minimises the mean binary
cross entropy of all real points and classes of the validation videos, whose labels are those of training; order within
a level stays, but not what lies above fixed thresholds.

Shape suffixes: N points of all levels and videos, K classes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kinoscope.errors import KinoscopeError
from kinoscope.localization.inference import pad
from kinoscope.localization.losses import assign_batch
from kinoscope.localization.models import padded_length
from kinoscope.localization.predict import LocalizationModel
from kinoscope.localization.sources import open_source

RANGE = (0.05, 20.0)  # of the temperature
BINS = 15  # of the calibration error
Scores = tuple[Tensor, Tensor]  # logits [N, K], targets [N, K]


def calibrate(model: LocalizationModel) -> dict[str, Any]:
    """{score_temperature, points, and before and after: cross_entropy, calibration_error} on the validation videos.

    Raises KinoscopeError for SnapFormer, whose peaks are not divided by a temperature, or without annotated videos.
    """
    if model.config.model_name == "SnapFormer":
        raise KinoscopeError("heat maps have no temperature", field="model.kind", value="snapformer")
    logits_NK, targets_NK = validation_points(model)
    temperature = fit_temperature(logits_NK, targets_NK)
    before, after = (quality(logits_NK / t, targets_NK) for t in (1.0, temperature))
    return {"score_temperature": temperature, "points": len(logits_NK), "before": before, "after": after}


@torch.no_grad()
def validation_points(model: LocalizationModel) -> Scores:
    """Logits and training targets of every real point of the validation videos."""
    source = open_source(model.settings.data, model.settings.model)
    train, parts, skipped = model.settings.train, list[Scores](), dict[str, str]()
    for item in source.test_items(range(len(source.test_ids)), skipped):
        length = padded_length(item.feats.shape[1], model.config, exact=False)
        output = model.network(*pad([item.feats], length, model.device))
        points = torch.cat(model.network.point_generator([m.shape[1] for m in output.masks], model.device))
        classes_1PK, _ = assign_batch(
            points,
            [item.segments.to(model.device)],
            [item.labels.to(model.device)],
            model.config.num_classes,
            train.center_sample,
            train.center_sample_radius,
        )
        real_P = torch.cat(output.masks, dim=1)[0]
        logits_PK = torch.cat(output.logits, dim=1)[0]
        parts.append((logits_PK[real_P].float().cpu(), classes_1PK[0][real_P].cpu()))
    if not parts or not any(bool(targets.any()) for _, targets in parts):
        raise KinoscopeError(
            "no validation video has annotations", field="data", remedy="name a split with annotations"
        )
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


def fit_temperature(logits_NK: Tensor, targets_NK: Tensor) -> float:
    """The temperature in RANGE with the least mean cross entropy, to 1e-4 relative (golden section on its log)."""
    low, high = (math.log(t) for t in RANGE)
    ratio = (math.sqrt(5) - 1) / 2

    def loss(log_t: float) -> float:
        return float(F.binary_cross_entropy_with_logits(logits_NK / math.exp(log_t), targets_NK))

    a, b = high - ratio * (high - low), low + ratio * (high - low)
    loss_a, loss_b = loss(a), loss(b)
    while high - low > 1e-4:
        if loss_a < loss_b:
            high, b, loss_b = b, a, loss_a
            a = high - ratio * (high - low)
            loss_a = loss(a)
        else:
            low, a, loss_a = a, b, loss_b
            b = low + ratio * (high - low)
            loss_b = loss(b)
    return math.exp((low + high) / 2)


def quality(logits_NK: Tensor, targets_NK: Tensor) -> dict[str, float]:
    """{cross_entropy, calibration_error}: the latter over BINS of equally many points, |score - share of positives|."""
    p, y = logits_NK.sigmoid().flatten().numpy(), targets_NK.flatten().numpy()
    order = np.argsort(p, kind="stable")
    bins = [rows for rows in np.array_split(order, BINS) if len(rows)]
    error = sum(len(rows) * abs(p[rows].mean() - y[rows].mean()) for rows in bins) / len(p)
    entropy = float(F.binary_cross_entropy_with_logits(logits_NK, targets_NK))
    return {"cross_entropy": entropy, "calibration_error": float(error)}
