"""Runners of networks: whole models in evaluation, blocks, backbones, necks and heads."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from golden.actionformer.setup import (
    checked,
    config_of,
    fill_part,
    gradient_norms,
    model_of,
    padded,
    without_depth_drops,
)
from golden.kit import Case, Outputs, Runner
from kinoscope.localization.models import ModelConfig, padded_length
from kinoscope.localization.models.attention import ConvAttention, PlainAttention
from kinoscope.localization.models.backbones import backbone
from kinoscope.localization.models.blocks import ConvBlock, TransformerBlock
from kinoscope.localization.models.heads import (
    BoundaryDistributionHead,
    ClassificationHead,
    HeadShape,
    RegressionHead,
)
from kinoscope.localization.models.necks import IdentityNeck, PyramidNeck


def model_eval(case: Case) -> Outputs:
    config, model = config_of(case), model_of(case, training=False)
    video = case.inputs["feats0"]
    length = padded_length(video.shape[1], config)
    x_BCT, mask_B1T = padded([video], length)
    with torch.inference_mode():
        features, masks = model.backbone(x_BCT.transpose(1, 2).contiguous(), mask_B1T[:, 0])
        output = model.heads(features, masks)
    outputs: Outputs = {"padded_length": torch.tensor(length).numpy()}
    outputs |= {f"backbone/{i}": x_BTC[0].T.numpy() for i, x_BTC in enumerate(features)}
    outputs["mask"] = torch.cat(output.masks, 1)[0].numpy()
    logits = torch.cat(output.logits, 1)[0]
    if config.model_name == "SnapFormer":
        outputs["heatmap_logits"] = logits[:, 0].numpy()
    else:
        outputs["logits"] = logits.numpy()
        outputs["offsets"] = torch.cat(output.offsets, 1)[0].numpy()
    if output.distributions:
        outputs["dist_logits"] = torch.cat(output.distributions, 1)[0].numpy()
    if case.hyperparameters.get("results"):
        from golden.actionformer.results import complete_inference

        outputs |= complete_inference(case, config, output, video.shape[1])
    return outputs


def _attention(name: str, args: dict[str, Any]) -> nn.Module:
    if name in ("AttentionV2", "MaskedMHAv2", "Attentionv2"):
        checked(args, {"n_embd", "n_head", "n_kv_head", "use_rope", "use_flash_attn", "max_len"} | DROPS)
        return PlainAttention(
            args["n_embd"],
            args["n_head"],
            args.get("n_kv_head"),
            rotate=args.get("use_rope", True),
            fused=args.get("use_flash_attn", True),
            dropout=args.get("proj_pdrop", 0.0),
        )
    known = {"n_embd", "n_head", "window_size", "n_qx_stride", "n_kv_stride", "use_rel_pe"} | DROPS
    checked(args, known)
    if args.get("n_qx_stride", 1) != args.get("n_kv_stride", 1):
        raise ValueError("queries and keys have one stride")
    return ConvAttention(
        args["n_embd"],
        args["n_head"],
        args.get("n_qx_stride", 1),
        args["window_size"] if name == "LocalMaskedMHCA" else -1,
        relative_bias=args.get("use_rel_pe", False),
        dropout=args.get("proj_pdrop", 0.0),
    )


DROPS = {"attn_pdrop", "proj_pdrop"}
V2 = {"n_kv_head", "use_rope", "use_flash_attn", "use_swiglu", "use_rms_norm"}
CLASSIC = {
    "n_embd",
    "n_head",
    "n_ds_strides",
    "n_out",
    "n_hidden",
    "path_pdrop",
    "mha_win_size",
    "use_rel_pe",
}


def _block(name: str, args: dict[str, Any]) -> nn.Module:
    if name == "ConvBlock":
        checked(args, {"n_embd", "n_ds_stride", "expansion_factor", "kernel_size"})
        return ConvBlock(args["n_embd"], args.get("n_ds_stride", 1), args.get("expansion_factor", 2))
    second = name.lower().endswith("v2")
    checked(args, CLASSIC | DROPS | (V2 | {"max_len"} if second else set()))
    strides = args.get("n_ds_strides", (1, 1))
    if strides[0] != strides[1] or args.get("n_out") not in (None, args["n_embd"]):
        raise ValueError("one stride, one width")
    stride, window = strides[0], args.get("mha_win_size", -1)
    attention: ConvAttention | PlainAttention
    drop = args.get("proj_pdrop", 0.0)
    if second and window <= 1 and stride == 1:
        attention = PlainAttention(
            args["n_embd"],
            args["n_head"],
            args.get("n_kv_head"),
            rotate=args.get("use_rope", True),
            fused=args.get("use_flash_attn", True),
            dropout=drop,
        )
    else:
        bias = args.get("use_rope", True) if second else args.get("use_rel_pe", False)
        attention = ConvAttention(args["n_embd"], args["n_head"], stride, window, bias, drop)
    return TransformerBlock(
        attention,
        args["n_embd"],
        stride,
        hidden=args.get("n_hidden"),
        dropout=drop,
        drop_path=args.get("path_pdrop", 0.0),
        swiglu=second and args.get("use_swiglu", True),
        rms_norm=second and args.get("use_rms_norm", True),
    )


def module(case: Case) -> Outputs:
    name, args = case.hyperparameters["module"], case.hyperparameters["args"]
    block = "Block" in name
    built = _block(name, args) if block else _attention(name, args)
    prefix = ("backbone.stem.0.", "backbone.stem.0.")
    name_of = fill_part(
        case,
        built,
        prefix[0] + ("" if block else "attn."),
        prefix[1] + ("" if block else "attention."),
    )
    without_depth_drops(built).train()
    x = torch.from_numpy(case.inputs["x"]).requires_grad_()
    mask = torch.from_numpy(case.inputs["mask"])
    out_BTC, out_mask = built(x.transpose(1, 2).contiguous(), mask[:, 0])
    out = out_BTC.transpose(1, 2)
    (out * torch.from_numpy(case.inputs["probe"])).sum().backward()
    outputs = {"out": out.detach().numpy(), "out_mask": out_mask[:, None].numpy(), "grad/x": x.grad.numpy()}
    return outputs | gradient_norms(built, name_of)


BACKBONE_ARGS = {
    "n_in": "input_dim",
    "n_embd": "embd_dim",
    "n_head": "n_head",
    "n_kv_head": "n_kv_head",
    "n_hidden": "n_hidden",
    "n_embd_ks": "embd_kernel_size",
    "max_len": "max_seq_len",
    "arch": "backbone_arch",
    "mha_win_size": "n_mha_win_size",
    "scale_factor": "scale_factor",
    "with_ln": "embd_with_ln",
    "proj_pdrop": "dropout",
    "path_pdrop": "droppath",
    **{name: name for name in ("use_abs_pe", "use_rel_pe", "use_rope", "use_flash_attn")},
    **{name: name for name in ("use_swiglu", "use_rms_norm")},
}
BACKBONE_DEFAULTS = {"embd_with_ln": False, "droppath": 0.0}  # of the official constructors


def backbone_alone(case: Case) -> Outputs:
    args = dict(case.hyperparameters["args"])
    args.pop("attn_pdrop", None)
    checked(args, set(BACKBONE_ARGS))
    values = BACKBONE_DEFAULTS | {BACKBONE_ARGS[name]: value for name, value in args.items()}
    width = args["n_embd"] if isinstance(args["n_embd"], int) else sum(args["n_embd"])
    arch = args.get("arch", (2, 2, 5))
    config = ModelConfig(
        backbone_type=case.hyperparameters["backbone"],
        fpn_dim=width,
        regression_range=((0.0, 1.0),) * (1 + arch[2]),
        **values,
    )
    built = backbone(config)
    name_of = fill_part(case, built, "backbone.", "backbone.")
    without_depth_drops(built).train()
    x = torch.from_numpy(case.inputs["x"]).requires_grad_()
    features, masks = built(x.transpose(1, 2).contiguous(), torch.from_numpy(case.inputs["mask"])[:, 0])
    features = [f.transpose(1, 2) for f in features]
    outputs = {f"feat/{i}": f.detach().numpy() for i, f in enumerate(features)}
    outputs |= {f"mask/{i}": m[:, None].numpy() for i, m in enumerate(masks)}
    sum((f * torch.from_numpy(case.inputs[f"probe{i}"])).sum() for i, f in enumerate(features)).backward()
    return outputs | {"grad/x": x.grad.numpy()} | gradient_norms(built, name_of)


def _neck(name: str, args: dict[str, Any]) -> nn.Module:
    checked(args, {"in_channels", "out_channel", "scale_factor", "start_level", "end_level", "with_ln"})
    if args.get("end_level", -1) not in (-1, len(args["in_channels"])):
        raise ValueError("every level up to the last")
    start, norm, levels = args.get("start_level", 0), args.get("with_ln", True), len(args["in_channels"])
    if name in ("identity", "FPNIdentity"):
        return IdentityNeck(levels, args["out_channel"], start, norm)
    cross = {"fpn": False, "FPN1D": False, "cs_fpn": True}[name]
    factor = args.get("scale_factor", 2)
    return PyramidNeck(levels, args["in_channels"][0], args["out_channel"], factor, start, norm, cross)


def _head(name: str, args: dict[str, Any]) -> nn.Module:
    shape = HeadShape(
        args["input_dim"],
        args["feat_dim"],
        args.get("num_layers", 3),
        args.get("kernel_size", 3),
        args.get("with_ln", name.endswith("v2")),
        2 if name.endswith("v2") else 1,
    )
    shared = {"input_dim", "feat_dim", "num_layers", "kernel_size", "with_ln"}
    if "Cls" in name:
        checked(args, shared | {"num_classes", "prior_prob", "empty_cls"})
        prior, empty = args.get("prior_prob", 0.01), args.get("empty_cls", ())
        return ClassificationHead(shape, args["num_classes"], prior, empty)
    if "Heatmap" in name:
        checked(args, shared | {"prior_prob"})
        return ClassificationHead(shape, 1, args.get("prior_prob", 0.01))
    if "BDR" in name:
        checked(args, shared | {"fpn_levels", "reg_max"})
        return BoundaryDistributionHead(shape, args["fpn_levels"], args.get("reg_max", 16))
    checked(args, shared | {"fpn_levels"})
    return RegressionHead(shape, args["fpn_levels"])


def levels(case: Case) -> Outputs:
    name, args, count = (case.hyperparameters[key] for key in ("module", "args", "levels"))
    if case.hyperparameters["kind"] == "neck":
        built, place = _neck(name, args), ("neck.", "neck.")
    else:
        built = _head(name, args)
        theirs = "cls_head." if "Cls" in name else "heatmap_head." if "Heatmap" in name else "reg_head."
        place = (theirs, "cls_head." if theirs == "heatmap_head." else theirs)
    name_of = fill_part(case, built, *place)
    built.train()
    xs = [torch.from_numpy(case.inputs[f"x{i}"]).requires_grad_() for i in range(count)]
    masks = [torch.from_numpy(case.inputs[f"mask{i}"])[:, 0] for i in range(count)]
    result = built([x.transpose(1, 2).contiguous() for x in xs], masks)
    outputs: Outputs = {}
    if case.hyperparameters["kind"] == "neck":
        result, masks = result
        outputs |= {f"mask/{i}": mask[:, None].numpy() for i, mask in enumerate(masks)}
    elif isinstance(built, BoundaryDistributionHead):
        result, distributions = result
        outputs |= {f"dist/{i}": dist.detach().numpy() for i, dist in enumerate(distributions)}
    outs = [out.transpose(1, 2) for out in result]
    outputs |= {f"out/{i}": out.detach().numpy() for i, out in enumerate(outs)}
    sum((out * torch.from_numpy(case.inputs[f"probe{i}"])).sum() for i, out in enumerate(outs)).backward()
    for i, x in enumerate(xs):
        outputs[f"grad/x{i}"] = (torch.empty(0) if x.grad is None else x.grad).numpy()
    return outputs | gradient_norms(built, name_of)


RUNNERS: dict[str, Runner] = {
    "actionformer.model_eval": model_eval,
    "actionformer.module": module,
    "actionformer.backbone": backbone_alone,
    "actionformer.levels": levels,
}
