"""What each stage of AdaFocus trains: modes, parameter groups and loss (specification 6.1-6.5, 11.4-11.6).

What differs from the official code:
1. Parts that a stage does not train run without gradient.
2. Stage 0 runs only the network that it prepares.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.recognition.models.adafocus import AdaFocus, frame_loss, step_loss
from kinoscope.recognition.models.classifiers import GruClassifier
from kinoscope.recognition.models.tsm import AdaFocusTsm

Model = AdaFocus | AdaFocusTsm


def set_stage_mode(model: Model, stage: int) -> None:
    """0: everything trains. 1: all but the glancer. 2: eval, but the policies. 3: the classifier alone
    (part 2:
    the dropout alone, its normalisation staying in eval mode)."""
    model.train(stage in (0, 1))
    if stage == 1:
        model.global_cnn.eval()
    if stage == 2:
        model.policy.train()
        model.acting.train()
    if stage == 3:
        (model.dropout if isinstance(model, AdaFocusTsm) else model.classifier).train()


def stage_groups(model: AdaFocus, stage: int) -> list[list[nn.Parameter]]:
    """Parameters in the official groups, in the order of `schedule.base_rates`."""
    parts: dict[int, tuple[nn.Module, ...]] = {
        0: (model.global_cnn, model.local_cnn, model.classifier),
        1: (model.local_cnn, model.classifier),
        3: (model.classifier,),
    }
    return [list(part.parameters()) for part in parts[stage]]


def stage_loss(
    model: AdaFocus,
    stage: int,
    frames_BT3SS: Tensor,
    labels_B: Tensor,
    corners_BT2: Tensor | None = None,
    pretrain_glancer: bool = True,
    eyes: AdaFocus | None = None,
) -> Tensor:
    """Loss of stage 0, 1 (with the given windows) or 3 (with the policy's).

    eyes: the model with folded perception networks, for the parts that are frozen (`models/folding.py`).
    """
    if stage == 0:
        network = model.global_cnn if pretrain_glancer else model.local_cnn
        logits = network.predict(frames_BT3SS.flatten(0, 1))
        return frame_loss(logits.unflatten(0, frames_BT3SS.shape[:2]), labels_B)
    if stage == 3:
        with torch.no_grad():
            features, _ = (eyes or model).features(frames_BT3SS, corners_BT2)
    else:
        with torch.no_grad():
            _, vectors = (eyes or model).glance(frames_BT3SS)
        assert corners_BT2 is not None
        features = model.fuse(vectors, model.look(frames_BT3SS, corners_BT2))
    if isinstance(model.classifier, GruClassifier):
        return step_loss(model.classifier(features), labels_B)
    return F.nll_loss(model.classifier(features)[0], labels_B)
