"""AdaFocus-TSM as a whole."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from golden.adafocus.setup import frames, gradients, numpy, settings, tensors, weights
from golden.kit import Case, Outputs, Runner
from kinoscope.recognition.models import AdaFocusTsm
from kinoscope.recognition.models.tsm import optimizer_groups, rollout
from kinoscope.recognition.models.windows import corners
from kinoscope.recognition.official import load_named, model_names, policy_names
from kinoscope.recognition.steps import set_stage_mode

MODEL = {
    "num_segments_glancer", "num_segments_focuser", "patch_size", "input_size", "shift_div", "is_shift",
    "random_patch", "ppo_continuous", "actorcritic_with_bn", "action_std", "action_dim", "hidden_state_dim",
    "video_div", "with_glancer", "dropout",
}  # fmt: skip
AROUND = {
    "train_stage",
    "num_classes",
    "upsample",
    "backbone_lr",
    "fc_lr",
    "epochs",
    "batch_size",
    "weight_decay",
}


def build(case: Case) -> tuple[AdaFocusTsm, dict[str, str]]:
    model = AdaFocusTsm(case.hyperparameters["num_classes"], **settings(case, MODEL, AROUND))
    names = model_names(model)
    load_named(model, weights(case), names)
    if model.has_policy:
        for part in (model.policy, model.acting):
            load_named(part, weights(case, "policy_state", "policy_fill_exceptions"), policy_names(part))
    return model.eval(), names


def inference(case: Case) -> Outputs:
    model, _ = build(case)
    given, focused, positions, target = tensors(
        case, "images_glancer", "images_focuser", "positions", "target"
    )
    random = corners(positions, model.input_size, model.patch_size)
    random = random.view(1, *random.shape) if random.ndim == 2 else random
    random = random.expand(model.video_div, -1, -1)
    _, choice, logits, baseline, reward = rollout(
        model, frames(given), frames(focused), target, random, explore=False
    )
    with torch.no_grad():
        global_logits = model.glance(frames(given))[1]

    def single(value: torch.Tensor) -> np.ndarray:
        return numpy(value[0] if model.video_div == 1 else value)

    return {
        "action": single(choice.actions),
        "corner": single(choice.corners),
        "pred": numpy(logits),
        "baseline": numpy(baseline),
        "reward": numpy(reward),
        "global_logits": numpy(global_logits),
    }


def stage1_step(case: Case) -> Outputs:
    model, names = build(case)
    set_stage_mode(model, 1)
    given, focused, positions, target = tensors(
        case, "images_glancer", "images_focuser", "positions", "target"
    )
    where = corners(positions, model.input_size, model.patch_size)[None]
    pred = model(frames(given), frames(focused), where)
    loss = F.cross_entropy(pred, target)
    loss.backward()
    values = case.hyperparameters
    groups = optimizer_groups(
        model, values["backbone_lr"], values["fc_lr"], values.get("weight_decay", 1e-4), official_defect=True
    )
    return {
        "pred": numpy(pred),
        "loss/ce": numpy(loss),
        **gradients(model, names),
        "group_lr": np.array([g["lr"] for g in groups]),
        "group_size": np.array([len(g["params"]) for g in groups]),  # type: ignore[arg-type]
        "group_weight_decay": np.array([g["weight_decay"] for g in groups]),
    }


RUNNERS: dict[str, Runner] = {
    "adafocus.tsm_inference": inference,
    "adafocus.tsm_stage1_step": stage1_step,
}
