"""Runners of the training loops: pre-training, linear evaluation and fine-tuning."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from golden.aimclr.setup import checked, gradient_norms, model_of, state_norms, state_values, tensors
from golden.kit import Case, Outputs, Runner
from kinoscope.skeleton.loss import aimclr_loss
from kinoscope.skeleton.metrics import percent, top_k
from kinoscope.skeleton.schedule import learning_rate
from kinoscope.skeleton.streams import stream

TRAIN_ARGS = {"stream", "optimizer", "base_lr", "step", "nesterov", "weight_decay", "topk", "mining_epoch"}


def _optimizer(parameters: Any, args: dict[str, Any]) -> torch.optim.Optimizer:
    lr, decay = args.get("base_lr", 0.01), args.get("weight_decay", 1e-4)
    if args.get("optimizer", "SGD") == "SGD":
        return torch.optim.SGD(
            parameters, lr=lr, momentum=0.9, nesterov=args.get("nesterov", True), weight_decay=decay
        )
    assert args["optimizer"] == "Adam"
    return torch.optim.Adam(parameters, lr=lr, weight_decay=decay)


def _rate(optimizer: torch.optim.Optimizer, args: dict[str, Any], epoch: int) -> float:
    lr = learning_rate(args.get("base_lr", 0.01), args.get("step", []), epoch, args.get("optimizer", "SGD"))
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr


def trajectory(case: Case) -> Outputs:
    hyper = checked(
        case.hyperparameters,
        {"model", "model_args", "epochs", "batches_per_epoch", "batch_size", "train_args"},
    )
    args, size = checked(hyper["train_args"], TRAIN_ARGS), hyper["batch_size"]
    model: Any = model_of(case).train()
    optimizer = _optimizer([p for p in model.parameters() if p.requires_grad], args)
    views = {name: stream(x, args.get("stream", "joint")) for name, x in tensors(case).items()}
    losses, rates, means = [], [], []
    for epoch in range(1, hyper["epochs"] + 1):
        rates.append(_rate(optimizer, args, epoch))
        mine = args.get("topk", 1) if epoch > args.get("mining_epoch", 1e6) else 0
        for i in range(hyper["batches_per_epoch"]):
            rows = slice(i * size, (i + 1) * size)
            out = model(views["extreme"][rows], views["query"][rows], views["key"][rows], mine)
            loss = aimclr_loss(out)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            model.enqueue(out.keys)
            losses.append(loss.item())
        means.append(np.mean(losses[-hyper["batches_per_epoch"] :]))
    outputs = {"loss/step": np.array(losses), "lr": np.array(rates), "loss/epoch_mean": np.array(means)}
    return outputs | state_values(model) | state_norms(model, "final_norm")


def downstream(case: Case) -> Outputs:
    hyper = checked(
        case.hyperparameters,
        {"model", "processor", "model_args", "epochs", "batches_per_epoch", "batch_size", "test_batch_size"}
        | {"train_args"},
    )
    args = checked(hyper["train_args"], TRAIN_ARGS)
    linear = hyper["processor"] == "linear_evaluation"
    assert linear or hyper["processor"] == "finetune_evaluation"
    model: Any = model_of(case).eval()
    given = tensors(case)
    train_x, test_x = (stream(given[f"{part}_x"], args.get("stream", "joint")) for part in ("train", "test"))
    if linear:
        with torch.no_grad():
            train_x, test_x = model.query.features(train_x), model.query.features(test_x)
    network = model.query.head if linear else model
    optimizer = _optimizer(network.parameters(), args)
    losses, eval_means, tops, best = [], [], [], 0.0
    scores = torch.zeros(0)
    labels = given["test_y"].numpy()
    for epoch in range(1, hyper["epochs"] + 1):
        _rate(optimizer, args, epoch)
        for i in range(hyper["batches_per_epoch"]):
            rows = slice(i * hyper["batch_size"], (i + 1) * hyper["batch_size"])
            loss = F.cross_entropy(network(train_x[rows]), given["train_y"][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            parts = [network(x) for x in test_x.split(hyper["test_batch_size"])]
        truths = given["test_y"].split(hyper["test_batch_size"])
        eval_means.append(np.mean([F.cross_entropy(p, t).item() for p, t in zip(parts, truths, strict=True)]))
        scores = torch.cat(parts)
        tops.append(percent(top_k(scores.numpy(), labels, 1)))
        best = max(best, tops[-1])
    outputs = {
        "loss/step": np.array(losses),
        "loss/eval_mean": np.array(eval_means),
        "top1": np.array(tops),
        "best_top1": np.array(best),
        "test_logits": scores.numpy(),
        "top5": np.array(percent(top_k(scores.numpy(), labels, 5))),
    }
    return outputs | gradient_norms(model) | state_values(model) | state_norms(model, "final_norm")


RUNNERS: dict[str, Runner] = {"aimclr.trajectory": trajectory, "aimclr.downstream": downstream}
