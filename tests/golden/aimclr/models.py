"""Runners of encoder, attention drop, contrastive models and checkpoints."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from golden.aimclr.setup import (
    build,
    checked,
    gradient_norms,
    model_of,
    state_norms,
    state_of,
    state_values,
    tensors,
    text,
)
from golden.kit import Case, Outputs, Runner
from kinoscope.media.layouts import layout_named
from kinoscope.skeleton import official
from kinoscope.skeleton.graph import adjacency, hop_distances
from kinoscope.skeleton.loss import aimclr_loss, crossclr_loss, info_nce
from kinoscope.skeleton.models import CrosSCLR, Encoder, attention_drop
from kinoscope.skeleton.streams import STREAMS, stream


def graph(case: Case) -> Outputs:
    outputs = {}
    for i, options in enumerate(checked(case.hyperparameters, {"graphs"})["graphs"]):
        checked(options, {"layout", "strategy", "max_hop", "dilation"})
        layout = layout_named(options.get("layout", "openpose"))
        hops = hop_distances(layout, options.get("max_hop", 1))
        outputs[f"A/{i}"] = adjacency(
            layout, options.get("strategy", "uniform"), options.get("max_hop", 1), options.get("dilation", 1)
        )
        outputs[f"hop_dis/{i}"] = np.where(np.isinf(hops), -1, hops)
    return outputs


def streams(case: Case) -> Outputs:
    hyper = checked(case.hyperparameters, {"layout", "streams"})
    layout = layout_named(hyper.get("layout", "ntu-rgb+d"))
    x = tensors(case)["x"]
    return {name: stream(x, name, layout).numpy() for name in hyper.get("streams", STREAMS)}


def eadm(case: Case) -> Outputs:
    hyper = checked(case.hyperparameters, {"num_point", "e_lambda", "keep_prob"})
    given = tensors(case)
    x = given["x"].requires_grad_()
    assert x.shape[-1] == hyper.get("num_point", 25)
    out = attention_drop(x, hyper.get("keep_prob", 0.9), hyper.get("e_lambda", 1e-4))
    (out.features * given["w"]).sum().backward()
    return {
        "y": out.features.detach().numpy(),
        "grad_x": x.grad.numpy(),
        "energy": out.attention.numpy(),
        "joint_keep": out.joints.numpy(),
        "element_keep_count": out.elements.sum().numpy(),
    }


def encoder(case: Case) -> Outputs:
    hyper = checked(case.hyperparameters, {"model", "mode", "drop", "model_args", "view"})
    model = model_of(case).train(hyper["mode"] == "train")
    given = tensors(case)
    if isinstance(model, CrosSCLR):
        return {"logits": model.classify(given["x"], hyper.get("view", "all")).detach().numpy()}
    net: Any = model if isinstance(model, Encoder) else model.query
    seen: list[np.ndarray] = []

    def keep(block: nn.Module, given: tuple[Any, ...], out: Tensor) -> None:
        published = given[2]
        seen.append((out if published else out.permute(2, 3, 1, 0)).detach().numpy())

    for block in net.blocks:
        block.register_forward_hook(keep)
    outputs: Outputs = {}
    if hyper.get("drop"):
        logits, dropped = net.forward_dropped(given["x"])
        outputs["logits_drop"] = dropped.detach().numpy()
    else:
        logits = model(given["x"])
    outputs["logits"] = logits.detach().numpy()
    outputs |= {f"block/{i}": value for i, value in enumerate(seen)}
    if "label" in given:
        loss = F.cross_entropy(logits, given["label"])
        loss.backward()
        outputs["loss/cross_entropy"] = loss.detach().numpy()
        outputs |= gradient_norms(model)
    return outputs | state_values(model)


def pretrain(case: Case) -> Outputs:
    hyper = checked(case.hyperparameters, {"model", "model_args", "train_args", "epoch", "eval_mode"})
    args = checked(hyper["train_args"], {"stream", "topk", "mining_epoch"})
    model: Any = model_of(case).train(not hyper.get("eval_mode", False))
    mine = args.get("topk", 1) if hyper["epoch"] > args.get("mining_epoch", 1e6) else 0
    given = {name: stream(x, args.get("stream", "joint")) for name, x in tensors(case).items()}
    out = model(given["extreme"], given["query"], given["key"], mine)
    losses = aimclr_loss(out)
    losses["loss"].backward()
    model.enqueue(out.keys)
    outputs: Outputs = {
        "logits": out.logits.detach().numpy(),
        "p_extreme": out.extreme.softmax(1).detach().numpy(),
        "p_dropped": out.dropped.softmax(1).detach().numpy(),
        "q_target": out.logits.softmax(1).detach().numpy(),
        "loss/total": losses["loss"].detach().numpy(),
        "loss/ddm_extreme": losses["extreme"].detach().numpy(),
        "loss/ddm_dropped": losses["dropped"].detach().numpy(),
        "loss/info_or_nnm": losses["contrast"].detach().numpy(),
    }
    if mine:
        outputs["pos_mask"] = out.positives.numpy()
    else:
        outputs["target"] = np.zeros(len(out.logits), np.int64)
    return outputs | gradient_norms(model) | state_norms(model, "after_norm") | state_values(model)


def skeletonclr(case: Case) -> Outputs:
    hyper = checked(case.hyperparameters, {"model", "mode", "model_args"})
    model: Any = model_of(case).train(hyper["mode"] == "train")
    given = tensors(case)
    out = model(given["query"], given["key"])
    loss = info_nce(out.logits)
    loss.backward()
    model.enqueue(out.keys)
    outputs = {"logits": out.logits.detach().numpy(), "loss/info_nce": loss.detach().numpy()}
    return outputs | gradient_norms(model) | state_norms(model, "after_norm") | state_values(model)


def crossclr(case: Case) -> Outputs:
    hyper = checked(case.hyperparameters, {"model", "mode", "stage", "topk", "context", "model_args"})
    assert hyper["stage"] in ("single", "cross")
    model: Any = model_of(case).train(hyper["mode"] == "train")
    given = tensors(case)
    mine = hyper.get("topk", 1) if hyper["stage"] == "cross" else 0
    out = model(given["query"], given["key"], mine, hyper.get("context", True))
    losses = crossclr_loss(out)
    losses["loss"].backward()
    model.enqueue(out.keys)

    def short(key: str) -> str:
        return "".join(part[0] for part in key.split("-")) if "-" in key else key

    outputs = {f"logits/{short(k)}": v.detach().numpy() for k, v in out.logits.items()}
    outputs |= {f"pos_mask/{short(k)}": v.numpy() for k, v in out.positives.items()}
    outputs |= {f"loss/{name}": losses[name].detach().numpy() for name in STREAMS}
    return outputs | gradient_norms(model) | state_norms(model, "after_norm") | state_values(model)


def checkpoint(case: Case) -> Outputs:
    hyper = checked(case.hyperparameters, {"pretrain", "downstream", "ignore_weights", "prefix"})
    start = checked(hyper["pretrain"], {"model", "model_args"})
    after = checked(hyper["downstream"], {"model", "model_args"})
    source: nn.Module = build(start["model"], start["model_args"])
    own = official.official_state(source)
    state = state_of(case)
    official.load(source, {name: state.get(name, value) for name, value in own.items()})
    prefix = "module." if hyper.get("prefix") is True else hyper.get("prefix") or ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "epoch1_model.pt"
        saved = official.official_state(source)
        torch.save({f"{prefix}{name}": value for name, value in saved.items()}, path)
        read = official.read(path)
    target = build(after["model"], after["model_args"])
    ignored = hyper["ignore_weights"]
    with torch.no_grad():
        from vectors import vectorkit

        for name, value in target.named_parameters():
            if official.official_name(name).startswith("encoder_q.fc"):
                value.copy_(
                    torch.from_numpy(vectorkit.fill(official.official_name(name), tuple(value.shape)))
                )
    missing = official.load(target, read, ignored, fresh=("encoder_q.fc",))
    left = official.drop(read, ignored)[1]
    target.eval()
    with torch.no_grad():
        logits = target(tensors(case)["x"])
    return {
        "saved_keys": text("\n".join(saved)),
        "filtered": text("\n".join(f"Filter [{p}] remove weights [{name}]." for p, name in left)),
        "missing": text("\n".join(f"Can not find weights [{name}]." for name in missing)),
        "logits": logits.numpy(),
    }


RUNNERS: dict[str, Runner] = {
    "aimclr.graph": graph,
    "aimclr.streams": streams,
    "aimclr.eadm": eadm,
    "aimclr.encoder": encoder,
    "aimclr.pretrain": pretrain,
    "aimclr.skeletonclr": skeletonclr,
    "aimclr.crossclr": crossclr,
    "aimclr.checkpoint": checkpoint,
}
