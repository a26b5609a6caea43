"""Runners of training: targets, losses, steps, groups and schedule."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from golden.actionformer.setup import (
    checked,
    config_of,
    gradient_norms,
    loss_settings_of,
    model_of,
    padded,
)
from golden.kit import Case, Outputs, Runner
from kinoscope.engine.schedules import Position, learning_rate
from kinoscope.engine.settings import Schedule, WarmupCosine, WarmupSteps
from kinoscope.localization import losses
from kinoscope.localization.models import Localizer, LocalizerOutput, PointGenerator, padded_length
from kinoscope.localization.official import official_name
from kinoscope.localization.parameter_groups import parameter_groups


class Step:
    """Forward pass and losses of one batch of a case's videos."""

    def __init__(self, case: Case, model: Localizer) -> None:
        self.case, self.model, self.config = case, model, config_of(case)
        train = case.hyperparameters["merged"]["train_cfg"]
        self.centers = {key: train[key] for key in ("center_sample", "center_sample_radius")}
        self.normaliser = losses.LossNormaliser(train["init_loss_norm"])
        self.settings = loss_settings_of(case)
        self.targets: Any = None

    def __call__(self, videos: range) -> tuple[losses.total.Losses, LocalizerOutput]:
        inputs = self.case.inputs
        feats = [inputs[f"feats{i}"] for i in videos]
        segments = [torch.from_numpy(inputs[f"segments{i}"]) for i in videos]
        labels = [torch.from_numpy(inputs[f"labels{i}"]) for i in videos]
        length = padded_length(max(f.shape[1] for f in feats), self.config, training=True)
        output = self.model(*padded(feats, length))
        lengths = [mask.shape[1] for mask in output.masks]
        if self.config.model_name == "SnapFormer":
            self.targets = losses.heatmap_targets(lengths, self.config.strides, segments)
            return losses.heatmap_loss(output, self.targets), output
        points = torch.cat(self.model.point_generator(lengths))
        self.targets = losses.assign_batch(points, segments, labels, self.config.num_classes, **self.centers)
        if self.config.model_name == "TBTFormer":
            return losses.boundary_loss(output, *self.targets, self.settings), output
        loss = losses.localization_loss(output, *self.targets, self.normaliser, self.settings)
        return loss, output


def model_train(case: Case) -> Outputs:
    model = model_of(case, training=True)
    step = Step(case, model)
    loss, output = step(range(case.hyperparameters["batch"]))
    loss["final_loss"].backward()
    outputs = {f"loss/{name}": value.detach().numpy() for name, value in loss.items() if name != "num_pos"}
    outputs |= {"loss_normalizer": np.float64(step.normaliser.value), "num_pos": loss["num_pos"].numpy()}
    if case.hyperparameters.get("targets"):
        if step.config.model_name == "SnapFormer":
            outputs["targets"] = torch.cat(step.targets, 1)[..., 0].numpy()
        else:
            classes, offsets = step.targets
            positive = losses.positive_points(torch.cat(output.masks, 1), classes)
            outputs["positives"] = positive.nonzero().numpy()
            outputs["target_classes"] = classes[positive].numpy()
            outputs["target_offsets"] = offsets[positive].numpy()
    return outputs | gradient_norms(model)


def trajectory(case: Case) -> Outputs:
    hyper = case.hyperparameters
    opt, train = hyper["merged"]["opt"], hyper["merged"]["train_cfg"]
    model = model_of(case, training=True)
    parameters = dict(model.named_parameters())
    decayed, rest = parameter_groups(model)
    groups = [
        {"params": [parameters[n] for n in decayed], "weight_decay": opt["weight_decay"]},
        {"params": [parameters[n] for n in rest], "weight_decay": 0.0},
    ]
    optimizer: torch.optim.Optimizer
    if opt["type"] == "AdamW":
        optimizer = torch.optim.AdamW(groups, lr=opt["learning_rate"])
    else:
        optimizer = torch.optim.SGD(groups, lr=opt["learning_rate"], momentum=opt["momentum"])
    averages = {name: p.detach().clone() for name, p in parameters.items()}
    step, batch, log = Step(case, model), hyper["batch"], []
    for n in range(hyper["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = _rate(n, opt["learning_rate"], hyper["iters_per_epoch"], opt)
        first = n % hyper["num_batches"] * batch
        optimizer.zero_grad()
        loss, _ = step(range(first, first + batch))
        loss["final_loss"].backward()
        limit = train["clip_grad_l2norm"]
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit if limit > 0 else float("inf"))
        optimizer.step()
        for name, p in parameters.items():
            averages[name].mul_(0.999).add_(p.detach(), alpha=0.001)
        log.append(
            {f"loss/{key}": float(value.detach()) for key, value in loss.items() if key != "num_pos"}
            | {"lr": optimizer.param_groups[0]["lr"], "loss_normalizer": step.normaliser.value}
            | {"grad_norm_before_clip": float(norm)}
        )
    outputs = {key: np.array([entry[key] for entry in log]) for key in log[0]}
    for kind, values in (("param_norm", parameters), ("ema_norm", averages)):
        for name, value in values.items():
            outputs[f"{kind}/{official_name(name, model)}"] = np.float64(value.detach().norm())
    return outputs


def _rate(n: int, base: float, iterations: int, opt: dict[str, Any]) -> float:
    warm = opt["warmup_epochs"] if opt["warmup"] else 0
    shape: Schedule
    if opt["schedule_type"] == "multistep":
        steps = tuple(opt["schedule_steps"])
        shape = WarmupSteps(warmup_epochs=warm, steps=steps, gamma=opt["schedule_gamma"])
    else:
        shape = WarmupCosine(warmup_epochs=warm, final_rate=1e-8 if warm else 0.0)
    position = Position(step=n, steps_per_epoch=iterations, total_epochs=opt["epochs"] + warm)
    return learning_rate(shape, base, position)


def schedule(case: Case) -> Outputs:
    outputs = {}
    known = {"warmup", "warmup_epochs", "epochs", "learning_rate", "schedule_type", "schedule_steps"}
    known |= {"schedule_gamma", "iters_per_epoch", "iterations"}
    for j, opt in enumerate(checked(case.hyperparameters, {"settings"})["settings"]):
        checked(opt, known)
        base = opt["learning_rate"]
        outputs[f"{j}/lr"] = np.array(
            [
                [_rate(n, base * factor, opt["iters_per_epoch"], opt) for factor in (1.0, 0.5)]
                for n in range(opt["iterations"])
            ]
        )
    return outputs


def optim_groups(case: Case) -> Outputs:
    model = model_of(case, training=True)
    decayed, rest = parameter_groups(model)
    parameters = dict(model.named_parameters())
    ours = {official_name(name, model): name for name in parameters}
    order = [name for name in case.spec["state"] if name in ours]
    decay = case.hyperparameters["merged"]["opt"]["weight_decay"]
    return {
        "decayed": np.array([int(ours[name] in decayed) for name in order]),
        "num_elements": np.array([parameters[ours[name]].numel() for name in order]),
        "group_sizes": np.array([len(decayed), len(rest)]),
        "group_weight_decay": np.array([decay, 0.0]),
    }


def label_points(case: Case) -> Outputs:
    hyper = checked(
        case.hyperparameters,
        {"max_seq_len", "fpn_strides", "regression_range", "length", "num_classes", "settings"},
    )
    generator = PointGenerator(hyper["fpn_strides"], hyper["regression_range"], hyper["max_seq_len"])
    points = torch.cat(generator([hyper["length"] // stride for stride in hyper["fpn_strides"]]))
    segments, labels = (torch.from_numpy(case.inputs[name]) for name in ("segments", "labels"))
    outputs = {"points": points.numpy()}
    for j, setting in enumerate(hyper["settings"]):
        classes, offsets = losses.assign_points(points, segments, labels, hyper["num_classes"], **setting)
        positive = classes.sum(-1) > 0
        outputs[f"{j}/classes"] = classes.numpy()
        outputs[f"{j}/positive_index"] = positive.nonzero()[:, 0].numpy()
        outputs[f"{j}/offsets_at_positives"] = offsets[positive].numpy()
    empty = losses.assign_points(
        points, segments[:0], labels[:0], hyper["num_classes"], **hyper["settings"][0]
    )
    outputs["empty/sum"] = (empty[0].sum() + empty[1].sum()).numpy()
    outputs["empty/shape"] = np.array([*empty[0].shape, *empty[1].shape])
    return outputs


OFFSETS = {
    "ctr_giou_loss_1d": losses.iou_loss,
    "ctr_diou_loss_1d": losses.diou_loss,
    "ctr_eiou_loss_1d": losses.eiou_loss,
}


def elementary_losses(case: Case) -> Outputs:
    hyper = checked(case.hyperparameters, {"focal", "regression", "fork", "reg_max", "diou_matrix"})
    given = {name: torch.from_numpy(value) for name, value in case.inputs.items()}
    outputs: Outputs = {}

    def add(name: str, loss: Any, first: Tensor) -> None:
        first = first.clone().requires_grad_()
        value = loss(first)
        value.sum().backward()
        outputs[name], outputs[f"grad/{name}"] = value.detach().numpy(), first.grad.numpy()

    logits, targets = given["logits"], given["targets"]
    pred, true = given["pred_offsets"], given["target_offsets"]
    for alpha, gamma in hyper.get("focal", ()):
        add(f"focal_{alpha}_{gamma}", lambda x, a=alpha, g=gamma: losses.focal_loss(x, targets, a, g), logits)
    whole = losses.focal_loss(logits, targets)
    outputs |= {f"focal_{how}": losses.reduced(whole, how).numpy() for how in ("sum", "mean")}
    for name in hyper["regression"]:
        function = OFFSETS[name]
        add(name, lambda x, f=function: f(x, true), pred)
        value = function(pred, true)
        outputs |= {f"{name}_{how}": losses.reduced(value, how).numpy() for how in ("sum", "mean")}
        outputs[f"{name}_mean_empty"] = losses.reduced(function(pred[:0], true[:0]), "mean").numpy()
    if hyper.get("fork"):
        iou, heat_logits, heat = given["iou"], given["heat_logits"], given["heat_targets"]
        add("quality_focal", lambda x: losses.quality_focal_loss(x, targets, iou), logits)
        outputs["quality_focal_sum"] = losses.quality_focal_loss(logits, targets, iou).sum().numpy()
        for gamma in (1.0, 2.0):
            add(
                f"focal_regression_{gamma}", lambda x, g=gamma: losses.focal_regression_loss(x, true, g), pred
            )
        for base in ("iou", "diou", "eiou"):
            add(f"iou_weighted_{base}", lambda x, b=base: losses.iou_weighted_loss(x, true, b), pred)
        outputs["iou"] = losses.offset_iou(pred, true).numpy()
        add("gaussian_focal", lambda x: losses.gaussian_focal_loss(x, heat), heat_logits)
        add("gaussian_focal_nopos", lambda x: losses.gaussian_focal_loss(x, heat * 0.9), heat_logits)
    for bins in hyper.get("reg_max", ()):
        dist, target = given[f"dist{bins}"], given[f"dist_target{bins}"]
        add(f"dfl_{bins}", lambda x, t=target: losses.distribution_focal_loss(x, t), dist)
        outputs[f"decode_{bins}"] = _expected_bin(dist).numpy()
    if hyper.get("diou_matrix"):
        outputs["diou_matrix"] = losses.pairwise_diou(given["segs_a"], given["segs_b"]).numpy()
    return outputs


def _expected_bin(dist: Tensor) -> Tensor:
    from kinoscope.localization.models.heads import expected_bin

    return expected_bin(dist)


def loss_method(case: Case) -> Outputs:
    hyper = case.hyperparameters
    normaliser = losses.LossNormaliser(hyper["merged"]["train_cfg"]["init_loss_norm"])
    settings, levels = loss_settings_of(case), range(hyper["levels"])
    given = {name: torch.from_numpy(value) for name, value in case.inputs.items()}
    masks = [given[f"mask{level}"].bool() for level in levels]
    outputs: Outputs = {}
    for call in range(hyper["calls"]):
        logits = [given[f"logits{call}_{level}"].clone().requires_grad_() for level in levels]
        offsets = [given[f"offsets{call}_{level}"].abs().requires_grad_() for level in levels]
        output = LocalizerOutput(logits, offsets, masks, [])
        loss = losses.localization_loss(
            output, given[f"gt_cls{call}"], given[f"gt_off{call}"], normaliser, settings
        )
        loss["final_loss"].backward()
        for name in ("final_loss", "cls_loss", "reg_loss"):
            outputs[f"{call}/loss/{name}"] = loss[name].detach().numpy()
        outputs[f"{call}/loss_normalizer"] = np.float64(normaliser.value)
        outputs[f"{call}/grad_logits"] = torch.cat([x.grad for x in logits], 1).numpy()
        outputs[f"{call}/grad_offsets"] = torch.cat([x.grad for x in offsets], 1).numpy()
    return outputs


RUNNERS: dict[str, Runner] = {
    "actionformer.model_train": model_train,
    "actionformer.tbt_train": model_train,
    "actionformer.trajectory": trajectory,
    "actionformer.schedule": schedule,
    "actionformer.optim_groups": optim_groups,
    "actionformer.label_points": label_points,
    "actionformer.losses": elementary_losses,
    "actionformer.loss_method": loss_method,
}
