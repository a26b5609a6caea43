"""The complete system of part 1: one step of stage 1, a rollout, stage 3."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from golden.adafocus.setup import adafocus, buffers, frames, gradients, numpy, tensors
from golden.kit import Case, Outputs, Runner
from kinoscope.recognition.models.adafocus import rollout, step_loss
from kinoscope.recognition.ppo import reward
from kinoscope.recognition.steps import set_stage_mode


def stage1_step(case: Case) -> Outputs:
    model, names = adafocus(case)
    set_stage_mode(model, 1)
    images, crops, target = tensors(case, "images", "crops", "target")
    clips = frames(images)
    features, _ = model.features(clips, crops.view(*clips.shape[:2], 2))
    out = model.classifier(features)
    if isinstance(out, tuple):
        logits, pred = out
        loss = F.nll_loss(logits, target)
    else:
        logits, pred = out.flatten(0, 1), out[:, -1]
        loss = step_loss(out, target)
    loss.backward()
    return {
        "logits": numpy(logits),
        "pred": numpy(pred),
        "loss/stage1": numpy(loss),
        **gradients(model, names),
        **buffers(model, {o: t for o, t in names.items() if o.startswith("local_cnn.")}),
    }


def stage2_rollout(case: Case) -> Outputs:
    model, _ = adafocus(case)
    images, crops, target = tensors(case, "images", "crops", "target")
    kind = case.hyperparameters.get("reward", "random")
    out = rollout(model, frames(images), target, crops if kind == "random" else None, explore=False)
    rewards = {
        f"reward_{k}": numpy(reward(k, out.confidence, out.baseline_confidence))
        for k in ("random", "padding", "prev", "conf")
    }
    return {
        "action": numpy(out.choice.actions),
        "logits": numpy(out.logits),
        "baseline_logits": numpy(out.baseline_logits),
        "confidence": numpy(out.confidence),
        "baseline_confidence": numpy(out.baseline_confidence),
        **rewards,
    }


def stage3_pass(case: Case) -> Outputs:
    model, names = adafocus(case)
    set_stage_mode(model, 3)
    with torch.no_grad():
        features, choice = model.features(frames(tensors(case, "images")[0]))
    assert choice is not None
    logits = model.classifier(features)
    out = {
        "action": numpy(choice.actions),
        "position": numpy(choice.positions),
        "corner": numpy(choice.corners),
        "feature": numpy(features),
        "logits": numpy(logits.flatten(0, 1)),
        "pred": numpy(logits[:, -1]),
    }
    if "target" in case.inputs:
        loss = step_loss(logits, tensors(case, "target")[0])
        loss.backward()
        out |= {"loss/stage3": numpy(loss), **gradients(model, names)}
    return out


RUNNERS: dict[str, Runner] = {
    "adafocus.stage1_step": stage1_step,
    "adafocus.stage2_rollout": stage2_rollout,
    "adafocus.stage3_pass": stage3_pass,
}
