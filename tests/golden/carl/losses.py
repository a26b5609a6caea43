"""Losses alone, with gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from golden.carl.models import known
from golden.kit import Case, Outputs
from kinoscope.representation import loss, official


def differentiated(
    case: Case, variant: str, function: Callable[[Tensor], dict[str, Tensor]]
) -> tuple[dict[str, Tensor], Outputs]:
    embs = torch.as_tensor(case.inputs["embs"]).clone().requires_grad_()
    losses = function(embs)
    if losses["loss"].requires_grad:
        losses["loss"].backward()
    grad = torch.zeros_like(embs) if embs.grad is None else embs.grad
    return losses, {f"grad/{variant}": grad.numpy(), f"grad_norm/{variant}": grad.norm().numpy()}


def scl_loss(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "cfg", "variants")
    steps, lengths = (torch.as_tensor(case.inputs[name]) for name in ("steps", "seq_lens"))
    mask = torch.as_tensor(case.inputs["masks"]).view(steps.shape)
    base = settings["cfg"].get("SCL") or settings["cfg"]["SIMCLR"]
    out: Outputs = {}
    for variant in settings["variants"]:
        known(variant, "name", *base)
        options = official.scl_options(base | {k: v for k, v in variant.items() if k != "name"})

        def run(embs: Tensor, options: dict = options) -> dict[str, Tensor]:
            z = torch.nn.functional.normalize(embs, dim=-1)
            return {"loss": loss.scl_loss(z, steps, lengths, mask, **options)}

        losses, grads = differentiated(case, variant["name"], run)
        out |= grads | {f"loss/{variant['name']}": losses["loss"].detach().numpy()}
    return out


def tcc_loss(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "cfg", "variants")
    steps, lengths = (torch.as_tensor(case.inputs[name]) for name in ("steps", "seq_lens"))
    base = settings["cfg"]["TCC"]
    out: Outputs = {}
    options: dict = {}
    for variant in settings["variants"]:
        known(variant, "name", *base)
        options = official.tcc_options(base | {k: v for k, v in variant.items() if k != "name"})

        def run(embs: Tensor, options: dict = options) -> dict[str, Tensor]:
            return loss.tcc_loss(embs, steps, lengths, **options)

        losses, grads = differentiated(case, variant["name"], run)
        out |= grads | {f"loss/{variant['name']}/{k}": v.detach().numpy() for k, v in losses.items()}
    embs = torch.as_tensor(case.inputs["embs"])
    logits, labels = loss.cycle(
        embs[0], embs[1], options["similarity"], options["temperature"], options["smoothing"]
    )
    return out | {"pair01/logits": logits.numpy(), "pair01/labels": labels.numpy()}


def tcn_loss(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "cfg")
    known(settings["cfg"]["TCN"], "POSITIVE_WINDOW", "REG_LAMBDA")
    parts: dict[str, Tensor] = {}

    def run(embs: Tensor) -> dict[str, Tensor]:
        parts["per"] = loss.tcn_loss(embs, settings["cfg"]["TCN"]["REG_LAMBDA"])
        return {"loss": parts["per"].mean()}

    losses, grads = differentiated(case, "embs", run)
    return grads | {
        "loss/per_sequence": parts["per"].detach().numpy(),
        "loss/loss": losses["loss"].detach().numpy(),
    }


RUNNERS = {"carl.scl_loss": scl_loss, "carl.tcc_loss": tcc_loss, "carl.tcn_loss": tcn_loss}
