"""Runners of the schedule, trajectory and evaluation cases."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

from golden.kit import Case, Outputs, Runner
from golden.sgear.data import text
from golden.sgear.setup import checked, model_of, tensors
from kinoscope.anticipation.evaluate import challenge, evaluate, fuse, marginalise, membership, summary
from kinoscope.anticipation.loss import batch_accuracy, losses, past_labels, total_loss
from kinoscope.anticipation.official import official_names
from kinoscope.anticipation.schedule import cosine_rate, moves, multi_step_rate, parameter_groups
from kinoscope.metrics.recall import class_mean_accuracy, class_mean_recall, top_k_accuracy


def lr_schedules(case: Case) -> Outputs:
    out = {}
    for name, schedule in checked(case.hyperparameters, {"schedules"})["schedules"].items():
        given = dict(schedule)
        kind, base, each, steps = (given.pop(key) for key in ("kind", "lr", "iters_per_epoch", "steps"))
        if kind == "multistep":
            given.pop("eta_min", None), given.pop("world_size", None)
            rates = [multi_step_rate(i, base, each, **given) for i in range(steps)]
        elif kind == "cosine":
            rates = [cosine_rate(i, base, each, **given) for i in range(steps)]
        else:
            raise ValueError(kind)
        out[f"lr/{name}"] = np.array(rates)
    return out


TRAINING = {
    "lr",
    "weight_decay",
    "bias_bn_wd_scale",
    "momentum",
    "nesterov",
    "warmup_epochs",
    "cosine_epochs",
    "eta_min",
    "init_lr_ratio",
    "accumulate",
    "epochs",
    "clip",
    "loss_wts",
}


def trajectory(case: Case) -> Outputs:
    given = case.hyperparameters
    model = model_of(case, TRAINING).train()
    inputs = tensors(case.inputs)
    groups = parameter_groups(model, given["weight_decay"], given.get("bias_bn_wd_scale", 1.0))
    optimizer = torch.optim.SGD(
        groups, given["lr"], momentum=given["momentum"], nesterov=given.get("nesterov", False)
    )
    batches = len(inputs["video"])
    found, rates = [], []
    for epoch in range(given["epochs"]):
        for i, (first, move) in enumerate(moves(batches, given["accumulate"], epoch * batches)):
            if first:
                optimizer.zero_grad()
            rate = cosine_rate(
                epoch * batches + i,
                given["lr"],
                batches,
                given["cosine_epochs"],
                given["warmup_epochs"],
                given.get("init_lr_ratio", 0.0),
                given["eta_min"],
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            target, past = inputs["target"][i], past_labels(inputs["target_subclips"][i])
            outputs = model(inputs["video"][i])
            language = inputs["language_prototypes"]
            each = losses(outputs, {"action": target}, {"action": past}, model.prototypes, language)
            total, _ = total_loss(each, given["loss_wts"])
            total.backward()
            if given.get("clip"):
                torch.nn.utils.clip_grad_norm_(model.parameters(), given["clip"])
            if move:
                optimizer.step()
                optimizer.zero_grad()
            found.append(float(total.detach()))
            rates.append(rate)
    names = official_names(case.spec["state"])
    norms = {f"param_norm/{names[k]}": np.float32(p.detach().norm()) for k, p in model.named_parameters()}
    return {"loss_per_step": np.array(found), "lr_per_step": np.array(rates)} | norms


METRICS = {
    "version",
    "action_pairs",
    "num_verbs",
    "num_nouns",
    "manyshot",
    "num_runs",
    "weights",
    "normalize_before_combine",
    "submission",
    "sls",
    "subset_ids",
}


def metrics(case: Case) -> Outputs:
    given = checked(case.hyperparameters, METRICS)
    pairs = [tuple(pair) for pair in given["action_pairs"]]
    verb = membership([v for v, _ in pairs], given["num_verbs"])
    noun = membership([n for _, n in pairs], given["num_nouns"])
    runs = given.get("num_runs", 1)
    logits = [case.inputs["action_logits" if i == 0 else f"action_logits_{i}"] for i in range(runs)]
    tables = [marginalise(x, verb, noun) for x in logits]
    action = case.inputs["action"]
    of = np.array([*pairs, (-1, -1)])
    labels = {"verb": of[action, 0], "noun": of[action, 1], "action": action}
    ids = given.get("subset_ids") or {}
    subsets: dict[str, Any] = {}
    if ids:
        unseen = ids["validation_unseen_participants_ids.csv"]
        spaces = ("verb", "noun", "action")
        subsets["tail"] = {space: ids[f"validation_tail_{space}s_ids.csv"] for space in spaces}
        subsets["unseen"] = dict.fromkeys(spaces, unseen)
    shots = given.get("manyshot") or {}
    fused = fuse(tables, given.get("weights", 1.0), given.get("normalize_before_combine"))
    single, both = (evaluate(table, labels, shots, subsets) for table in (tables[0], fused))
    out: dict[str, Any] = {f"single/{k}": v for k, v in single.items()} | {
        f"fused/{k}": v for k, v in both.items()
    }
    out |= {"scores/verb": tables[0].verb, "scores/noun": tables[0].noun}
    out |= {f"fused_scores/{space}": getattr(fused, space) for space in ("verb", "noun", "action")}
    out["printed_json"] = text(summary(both))
    top1, top5 = top_k_accuracy(logits[0], action)
    ms = class_mean_recall(logits[0], action, classes=shots["action"]) if "action" in shots else np.nan
    recall, mean = class_mean_recall(logits[0], action), class_mean_accuracy(logits[0], action)
    out["train_eval/action"] = np.array([top1, top5, recall, mean, ms])
    meter = batch_accuracy(torch.from_numpy(logits[0]), torch.from_numpy(action))
    out["batch_accuracy"] = np.array([float(x) for x in meter])
    if given.get("submission"):
        out |= _submission(given, fused, pairs)
    return out


def _submission(given: dict[str, Any], fused: Any, pairs: Any) -> dict[str, Any]:
    uids = [f"P01_01_{i}" for i in range(len(fused.action))]
    sls = tuple(given["sls"]) if given.get("sls") else None
    file = challenge(fused, uids, pairs, str(given["version"]), ["P01_01_1000"], sls)
    file = json.loads(json.dumps(file))
    results = file["results"]
    first, gone = results[uids[0]], results["P01_01_1000"]
    actions = list(first["action"])
    head = [
        sorted(key for key in file if key != "results"),
        file["version"],
        file["challenge"],
        len(results),
        len(actions),
        actions[:5],
        list(gone["action"])[:3],
        len(first["verb"]),
    ]
    return {
        "submission/keys_json": text(head),
        "submission/action_values": np.array(list(first["action"].values())),
        "submission/action_keys": np.array([[int(x) for x in key.split(",")] for key in actions]),
    }


RUNNERS: dict[str, Runner] = {
    "sgear.lr_schedules": lr_schedules,
    "sgear.trajectory": trajectory,
    "sgear.metrics": metrics,
}
