"""Forward passes, training steps and trajectories."""

from __future__ import annotations

import numpy as np
import torch

from golden.kit import Case, Outputs
from kinoscope.representation import official
from kinoscope.representation.models import FrameEncoder
from kinoscope.representation.objectives import Batch
from kinoscope.representation.optimization import epoch_rates, parameter_groups

OPTIMIZERS = {
    "AdamOptimizer": lambda groups, lr, decay: torch.optim.Adam(groups, lr, weight_decay=decay),
    "AdamWOptimizer": lambda groups, lr, decay: torch.optim.AdamW(groups, lr, weight_decay=decay),
    "MomentumOptimizer": lambda groups, lr, decay: torch.optim.SGD(groups, lr, 0.9, weight_decay=decay),
}


def known(settings: dict, *names: str) -> None:
    """Refuse hyper-parameters that the runner does not hand on."""
    unknown = set(settings) - set(names) - {"runner"}
    if unknown:
        raise ValueError(f"unknown hyper-parameters {sorted(unknown)}")


def model_of(case: Case, channels_last: bool = False) -> FrameEncoder:
    """The network with its weights; training compares sums of float32, so the layout is the official one."""
    model = official.build_model(case.hyperparameters["cfg"], channels_last=channels_last)
    official.load_state(model, {name: torch.as_tensor(value) for name, value in case.weights().items()})
    return model


def forward(case: Case) -> Outputs:
    known(case.hyperparameters, "cfg", "num_frames", "calls")
    model = model_of(case, channels_last=True).eval()
    video = torch.as_tensor(case.inputs["video"])
    masks = case.inputs.get("video_masks")
    out: Outputs = {}
    with torch.no_grad():
        features = model.frame_features(video)
        for call in case.hyperparameters["calls"]:
            known(call, "name", "kwargs", "mask")
            options = dict(call.get("kwargs", {}))
            known(options, "project", "classification")
            mask = torch.as_tensor(masks).view(len(video), -1) if call.get("mask") else None
            x = model.embedder(features, mask)
            out[call["name"]] = model.head(
                x, options.get("project", False), options.get("classification", False)
            ).numpy()
        out["backbone"] = torch.cat(
            [model.trunk_features(part) for part in video.flatten(0, 1).split(40)]
        ).numpy()
        if model.use_tail:
            out["pooled"] = features.flatten(0, 1).amax((2, 3)).numpy()
    return out


def batch_of(
    inputs: dict[str, np.ndarray], index: int | None = None, dtype: torch.dtype = torch.float32
) -> Batch:
    def entry(name: str) -> torch.Tensor:
        value = inputs[name]
        return torch.as_tensor(value if index is None else value[index])

    labels = entry("labels") if "labels" in inputs else None
    return Batch(
        entry("videos").to(dtype), entry("seq_lens"), entry("chosen_steps"), entry("video_masks"), labels
    )


def algo_step(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "cfg", "buffers", "eval_metric")
    model = model_of(case).train()
    objective, batch = official.build_objective(settings["cfg"]), batch_of(case.inputs)
    losses = objective(model, batch)
    losses["loss"].backward()
    out: Outputs = {f"loss/{name}": value.detach().numpy() for name, value in losses.items()}
    names = official.official_names(model, case.spec["state"])
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            out[f"grad_norm/{names[name]}"] = parameter.grad.norm().numpy()
    clip = settings["cfg"]["OPTIMIZER"]["GRAD_CLIP"]
    out["grad_total_norm"] = torch.nn.utils.clip_grad_norm_(model.parameters(), clip).numpy()
    out |= buffers(case, model)
    if settings.get("eval_metric"):
        with torch.no_grad():
            out["eval/loss"] = objective(model.eval(), batch)["loss"].numpy()
    return out


def buffers(case: Case, model: FrameEncoder) -> Outputs:
    state = model.state_dict()
    return {
        f"buffer/{name}": state[official.our_name(name)].numpy().copy()
        for name in case.hyperparameters["buffers"]
    }


def trajectory(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "cfg", "steps", "steps_per_epoch", "buffers", "optimizer_param_order", "dtype")
    dtype = torch.float64 if settings.get("dtype") == "float64" else torch.float32
    cfg = settings["cfg"]
    optimizer_cfg, lr_cfg = cfg["OPTIMIZER"], cfg["OPTIMIZER"]["LR"]
    model = model_of(case).to(dtype).train()
    objective = official.build_objective(cfg)
    groups = parameter_groups(model, cfg["MODEL"]["TRAIN_BASE"])
    names = official.official_names(model, case.spec["state"])
    by_id = {id(parameter): names[name] for name, parameter in model.named_parameters()}
    assert [[by_id[id(p)] for p in group] for group in groups] == settings["optimizer_param_order"]
    optimizer = OPTIMIZERS[optimizer_cfg["TYPE"]](
        [{"params": group} for group in groups], lr_cfg["INITIAL_LR"], optimizer_cfg["WEIGHT_DECAY"]
    )
    rates = epoch_rates(
        lr_cfg["DECAY_TYPE"],
        cfg["TRAIN"]["MAX_EPOCHS"],
        lr_cfg["INITIAL_LR"],
        lr_cfg["WARMUP_LR"],
        lr_cfg["NUM_WARMUP_STEPS"],
        lr_cfg["FINAL_LR"],
    )
    batches = len(case.inputs["videos"])
    logs: dict[str, list[float]] = {"loss/steps": [], "grad_total_norm": [], "lr": []}
    for step in range(settings["steps"]):
        rate = float(rates[min(step // settings["steps_per_epoch"], len(rates) - 1)])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = objective(model, batch_of(case.inputs, step % batches, dtype))["loss"]
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), optimizer_cfg["GRAD_CLIP"])
        optimizer.step()
        for name, value in zip(logs, (loss.item(), norm.item(), rate), strict=True):
            logs[name].append(value)
    out: Outputs = {name: np.array(values) for name, values in logs.items()}
    out["group_sizes"] = np.array([len(group) for group in groups])
    for group in groups:
        for parameter in group:
            out[f"param_norm/{by_id[id(parameter)]}"] = parameter.detach().norm().numpy()
    return out | buffers(case, model)


RUNNERS = {"carl.forward": forward, "carl.algo_step": algo_step, "carl.trajectory": trajectory}
