"""Runners of the network cases."""

from __future__ import annotations

import numpy as np
import torch

from golden.kit import Case, Outputs, Runner
from golden.sgear.setup import arrays, checked, fill_part, gradient_norms, model_of, tensors
from kinoscope.anticipation.loss import batch_accuracy, losses, past_labels, total_loss
from kinoscope.anticipation.models import (
    CausalDecoder,
    DecoderConfig,
    PrototypeAttention,
    TemporalContextBlock,
    select_prototypes,
)
from kinoscope.anticipation.official import official_names


def temporal_causal_decoder(case: Case) -> Outputs:
    given = dict(case.hyperparameters)
    mode, width, shape = given.pop("mode"), given.pop("in_features"), given.pop("target_shape", ())
    decoder = CausalDecoder(width, DecoderConfig(**given)).train(mode == "train")
    name_of = fill_part(case, decoder, "future_predictor.", "decoder.")
    inputs = tensors(case.inputs)
    features = inputs["features"].requires_grad_()
    decoded = decoder(features, tuple(shape or ()))
    feat = decoded.feature_error_BTC.mean()
    ((decoded.future * inputs["cotangent"]).sum() + feat).backward()
    out = {
        "past": decoded.past_BTC,
        "future": decoded.future,
        "feat_each": decoded.feature_error_BTC,
        "loss/feat": feat,
        "grad_features": features.grad,
    }
    return arrays(out) | gradient_norms(decoder, name_of)


def tca_block(case: Case) -> Outputs:
    given = checked(case.hyperparameters, {"dim", "num_frames", "batch", "blocks"})
    blocks = torch.nn.Sequential(
        *(TemporalContextBlock(given["dim"], given["num_frames"]) for _ in range(given["blocks"]))
    )
    name_of = fill_part(case, blocks, "TCA.", "temporal_context.")
    inputs = tensors(case.inputs)
    tokens = inputs["tokens"].requires_grad_()
    out = blocks(tokens)
    (out * inputs["cotangent"]).sum().backward()
    return arrays({"tokens_out": out, "grad_input": tokens.grad}) | gradient_norms(blocks, name_of)


def prototype_attention(case: Case) -> Outputs:
    given = checked(case.hyperparameters, {"dim", "num_frames", "mean_representation"})
    attention = PrototypeAttention(given["dim"], given["num_frames"])
    name_of = fill_part(case, attention, "ProtAttn.", "prototype_attention.")
    inputs = tensors(case.inputs)
    features = inputs["features"].requires_grad_()
    chosen = select_prototypes(features, inputs["prototypes"], given.get("mean_representation", True))
    out = attention(chosen, features)
    (out * inputs["cotangent"]).sum().backward()
    prior = attention.toeplitz()
    result = {
        "selected_tokens": chosen,
        "attended": out,
        "toeplitz": prior,
        "cyclic_toeplitz": attention.cyclic(prior),
        "grad_features": features.grad,
    }
    return arrays(result) | gradient_norms(attention, name_of)


def model_forward(case: Case) -> Outputs:
    model = model_of(case, {"target_shape"}).eval()
    shape = tuple(case.hyperparameters.get("target_shape") or ())
    tokens = any(name.startswith("backbone") for name in case.expected)
    with torch.inference_mode():
        return arrays(model(tensors(case.inputs)["video"], with_tokens=tokens, target_shape=shape))


def _losses(outputs, inputs, visual, weights):  # type: ignore[no-untyped-def]
    past = past_labels(inputs["target_subclips"])
    each = losses(
        outputs, {"action": inputs["target"]}, {"action": past}, visual, inputs["language_prototypes"]
    )
    return each, *total_loss(each, weights)


def _report(each, total, means, logits, target) -> Outputs:  # type: ignore[no-untyped-def]
    top1, top5 = batch_accuracy(logits, target)
    found = {f"loss_each/{name}": value for name, value in each.items()}
    found |= {f"loss/{name}": value for name, value in means.items()}
    found |= {"loss/total": total, "accuracy/acc1/action": top1, "accuracy/acc5/action": top5}
    return arrays(found)


def losses_and_grads(case: Case) -> Outputs:
    model = model_of(case, {"loss_wts"}).train()
    inputs = tensors(case.inputs)
    outputs = model(inputs["video"])
    each, total, means = _losses(outputs, inputs, model.prototypes, case.hyperparameters["loss_wts"])
    total.backward()
    names = official_names(case.spec["state"])
    found = _report(each, total, means, outputs["logits/action"], inputs["target"])
    found |= arrays({name: outputs[name] for name in ("logits/action", "past_logits/action")})
    return found | gradient_norms(model, lambda name: names[name])


def loss_only(case: Case) -> Outputs:
    weights = checked(case.hyperparameters, {"loss_wts"})["loss_wts"]
    inputs = tensors(case.inputs)
    given = ("logits", "past_logits", "similarities", "similarities_past", "future_z")
    leaves = {name: inputs[name].requires_grad_() for name in given}
    outputs = {
        {"logits": "logits/action", "past_logits": "past_logits/action"}.get(k, k): v
        for k, v in leaves.items()
    }
    each, total, means = _losses(outputs, inputs, inputs["visual_prototypes"], weights)
    total.backward()
    norms = {
        f"grad_norm/{k}": np.float64(0 if v.grad is None else float(v.grad.norm())) for k, v in leaves.items()
    }
    return _report(each, total, means, leaves["logits"], inputs["target"]) | norms


RUNNERS: dict[str, Runner] = {
    "sgear.temporal_causal_decoder": temporal_causal_decoder,
    "sgear.tca_block": tca_block,
    "sgear.prototype_attention": prototype_attention,
    "sgear.model_forward": model_forward,
    "sgear.losses_and_grads": losses_and_grads,
    "sgear.loss_only": loss_only,
}
