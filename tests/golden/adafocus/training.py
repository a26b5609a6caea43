"""Rates and trajectories."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from golden.adafocus.setup import adafocus, frames, numpy, parameter_norms, settings, tensors
from golden.kit import Case, Outputs, Runner
from kinoscope.recognition.schedule import base_rates, epoch_rate
from kinoscope.recognition.steps import set_stage_mode, stage_groups, stage_loss

RATES = {"lr_type", "lr_steps", "backbone_lr", "fc_lr", "epochs", "train_stage"}


def rates(given: dict[str, object], epoch: int) -> list[float]:
    bases = base_rates(given["train_stage"], given.get("backbone_lr", 0.01), given.get("fc_lr", 0.005))  # type: ignore[arg-type]
    kind, steps = given.get("lr_type", "cos"), given.get("lr_steps", "50-100")
    return [epoch_rate(base, epoch, given["epochs"], kind, steps) for base in bases]  # type: ignore[arg-type]


def lr_schedule(case: Case) -> Outputs:
    runs = settings(case, {"runs"})["runs"]
    out = {}
    for name, given in runs.items():
        if unknown := set(given) - RATES:
            raise ValueError(f"unknown: {unknown}")
        out[name] = np.array([rates(given, e) for e in range(given["epochs"] + 1)])
    return out


def trajectory(case: Case) -> Outputs:
    model, names = adafocus(case, *RATES, "momentum", "weight_decay", "steps", "batches")
    given = case.hyperparameters
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    stage, glancer = given["train_stage"], given.get("pretrain_glancer", True)
    set_stage_mode(model, stage)
    groups = [{"params": group, "lr": 0.0} for group in stage_groups(model, stage)]
    optimizer = torch.optim.SGD(groups, momentum=given["momentum"], weight_decay=given["weight_decay"])
    losses, used = [], []
    for step in range(given["steps"]):
        at = step % given["batches"]
        images, target = tensors(case, f"images_{at}", f"target_{at}")
        used.append(rates(given, step))
        for group, rate in zip(optimizer.param_groups, used[-1], strict=True):
            group["lr"] = rate
        clips = frames(images)
        corners = (
            torch.zeros(*clips.shape[:2], 2, dtype=torch.long)
            if model.patch_size == clips.shape[-1]
            else None
        )
        loss = stage_loss(model, stage, clips, target, corners, glancer)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(float(numpy(loss)))
    trained = {
        0: ["global_cnn." if glancer else "local_cnn."],
        1: ["local_cnn.", "classifier."],
        3: ["classifier."],
    }
    norms: Outputs = {}
    for prefix in trained[stage]:
        norms |= parameter_norms(model, names, prefix)
    return {"loss/step": np.array(losses), "lr": np.array(used), **norms}


RUNNERS: dict[str, Runner] = {"adafocus.lr_schedule": lr_schedule, "adafocus.trajectory": trajectory}
