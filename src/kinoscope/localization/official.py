"""The names and shapes of the official checkpoints (specification 12); no other file knows them.

Official norms hold [1, C, 1], pointwise layers [D, C, 1]: shapes follow those of the model that is loaded.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinoscope.engine.stage import Start
from kinoscope.errors import KinoscopeError
from kinoscope.localization.models.heads import BoundaryDistributionHead
from kinoscope.localization.models.localizer import Localizer
from kinoscope.localization.parameter_groups import decayed_names
from kinoscope.nn.feed_forward import SwiGLU

State = dict[str, Tensor]

# official template, our template; {} stands for an index, the tail after the template is the same
_BLOCK = [
    ("ln1.", "attention_norm."),
    ("ln2.", "mlp_norm."),
    *[
        pair
        for part in ("query", "key", "value")
        for pair in (
            (f"attn.{part}_conv.conv.", f"attention.{part}_conv."),
            (f"attn.{part}_norm.", f"attention.{part}_norm."),
            (f"attn.{part}.", f"attention.{part}."),
        )
    ],
    ("attn.proj.", "attention.proj."),
    ("attn.rel_pe", "attention.relative_bias"),
    ("mlp.0.", "mlp.up."),
    ("mlp.3.", "mlp.down."),
    ("mlp.w1.", "mlp.up."),
    ("mlp.w2.", "mlp.down."),
    ("mlp.w3.", "mlp.gate."),
    ("drop_path_attn.", "attention_path."),
    ("drop_path_mlp.", "mlp_path."),
    ("conv1.conv.", "conv1."),
    ("conv2.conv.", "conv2."),
    ("downsample.conv.", "shortcut."),
]
_HEAD = [
    ("head.{}.conv.", "tower.convs.{}."),
    ("norm.{}.", "tower.norms.{}."),
    ("input_proj.conv.", "tower.projection."),
    ("input_norm.", "tower.projection_norm."),
]
RULES: list[tuple[str, str]] = [
    ("backbone.proj.{}.conv.", "backbone.embedding.projections.{}."),
    ("backbone.embd.{}.conv.", "backbone.embedding.convs.{}."),
    ("backbone.embd_norm.{}.", "backbone.embedding.norms.{}."),
    *[
        (f"backbone.{place}.{{}}.{theirs}", f"backbone.{place}.{{}}.{ours}")
        for place in ("stem", "branch")
        for theirs, ours in _BLOCK
    ],
    ("neck.fpn_norms.{}.", "neck.norms.{}."),
    ("neck.lateral_convs.{}.conv.", "neck.laterals.{}."),
    ("neck.fpn_convs.{}.conv.", "neck.convs.{}."),
    ("neck.downsample_convs.{}.conv.", "neck.downsamples.{}."),
    *[(f"cls_head.{theirs}", f"cls_head.{ours}") for theirs, ours in _HEAD],
    *[(f"heatmap_head.{theirs}", f"cls_head.{ours}") for theirs, ours in _HEAD],
    *[(f"reg_head.{theirs}", f"reg_head.{ours}") for theirs, ours in _HEAD],
    ("cls_head.cls_head.conv.", "cls_head.tower.output."),
    ("heatmap_head.heatmap_head.conv.", "cls_head.tower.output."),
    ("reg_head.offset_head.conv.", "reg_head.tower.output."),
    ("reg_head.dist_head.conv.", "reg_head.tower.output."),
    ("reg_head.scale.{}.scale", "reg_head.scales.{}"),
]
# entries that their constructor computes, and ours too, without storing them
COMPUTED = re.compile(r"(^|\.)(attn\.rope\.inv_freq|reg_head\.bins)$")


def _pattern(template: str) -> re.Pattern[str]:
    tail = "(.*)" if template.endswith(".") else "()"
    return re.compile("^" + re.escape(template).replace(r"\{\}", r"(\d+)") + tail + "$")


_FROM_OFFICIAL = [(_pattern(theirs), ours) for theirs, ours in RULES]
_TO_OFFICIAL = [(_pattern(ours), theirs) for theirs, ours in RULES]


def _translate(name: str, rules: Iterable[tuple[re.Pattern[str], str]]) -> list[str]:
    found = []
    for pattern, template in rules:
        if match := pattern.match(name):
            *indices, tail = match.groups()
            found.append(template.format(*indices) + tail)
    return found


def our_name(official: str) -> str | None:
    """Our name of an entry of an official state dict (without `module.`), None where it has no counterpart.

    >>> our_name("backbone.stem.0.attn.query_conv.conv.weight")
    'backbone.stem.0.attention.query_conv.weight'
    """
    return next(iter(_translate(official, _FROM_OFFICIAL)), None)


def official_name(ours: str, model: nn.Module) -> str:
    """The official name of a parameter of `model`.

    Networks with several official forms are told apart by the model: heat maps, distributions, SwiGLU.
    """
    reg_head = getattr(model, "reg_head", None)
    names = [
        name
        for name in _translate(ours, _TO_OFFICIAL)
        if name.startswith("heatmap_head.") == (reg_head is None and ours.startswith("cls_head."))
    ]
    if "reg_head.tower.output" in ours:
        wanted = "dist_head" if isinstance(reg_head, BoundaryDistributionHead) else "offset_head"
        names = [name for name in names if wanted in name]
    if ".mlp." in ours:
        gated = isinstance(model.get_submodule(ours.split(".mlp.")[0] + ".mlp"), SwiGLU)
        names = [name for name in names if (".mlp.w" in name) == gated]
    (name,) = names
    return name


def from_official(state: Mapping[str, Tensor], model: nn.Module, file: str | Path | None = None) -> State:
    """An official state dict under our names and shapes.

    KinoscopeError with the full list where entries are unknown, missing or of another shape.
    """
    own = model.state_dict()
    converted: State = {}
    faults = []
    for key, value in state.items():
        name = key.removeprefix("module.")
        if COMPUTED.search(name):
            continue
        ours = our_name(name)
        if ours not in own:
            faults.append(f"{name}: not in this model")
        elif value.numel() != own[ours].numel() or _squeezed(value) != _squeezed(own[ours]):
            faults.append(f"{name}: shape {list(value.shape)}, the model has {list(own[ours].shape)}")
        else:
            converted[ours] = value.detach().reshape(own[ours].shape).to(own[ours].dtype)
    missing = [
        n for n in own if n not in converted and not any(n == our_name(f.split(":")[0]) for f in faults)
    ]
    faults += [f"{official_name(name, model)}: missing" for name in missing]
    if faults:
        raise KinoscopeError(
            f"the checkpoint does not fit the model in {len(faults)} entries:\n  " + "\n  ".join(faults),
            file=file,
            remedy="use the configuration that the checkpoint was trained with",
        )
    return converted


def to_official(model: Localizer) -> State:
    """The model's state dict under official names and shapes, without entries that constructors compute."""
    state: State = {}
    for name, value in model.state_dict().items():
        official = official_name(name, model)
        if value.ndim == 1 and re.search(
            r"(norm|ln\d|norms?\.\d+|drop_path_\w+)\.(weight|bias|scale)$", official
        ):
            value = value[None, :, None]
        elif official.endswith("rel_pe"):
            value = value[None, None]
        elif value.ndim == 2:
            value = value[:, :, None]
        state[official] = value
    return state


def _squeezed(value: Tensor) -> list[int]:
    return [size for size in value.shape if size != 1]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """An official `epoch_XXX.pth.tar`: epoch, state_dict, state_dict_ema, optimizer, scheduler (, scaler).

    Only tensors and plain values are unpickled. KinoscopeError for anything else.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise KinoscopeError(
            f"this is not a checkpoint that can be read safely: {first}",
            file=path,
            remedy="download it again, and check that it is an epoch_XXX.pth.tar of ActionFormer",
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise KinoscopeError(
            "no `state_dict` in this file", file=path, remedy="give an ActionFormer checkpoint"
        )
    return checkpoint


def load_official(model: Localizer, path: str | Path, ema: bool = True) -> dict[str, Any]:
    """Fills the model from an official checkpoint, which is returned; `ema`: with its averaged weights."""
    checkpoint = read_checkpoint(path)
    state = checkpoint.get("state_dict_ema") if ema else checkpoint["state_dict"]
    model.load_state_dict(from_official(state or checkpoint["state_dict"], model, path))
    return checkpoint


def official_start(model: Localizer, path: str | Path) -> Start:
    """Where the run of an official `epoch_XXX.pth.tar` stands. KinoscopeError where it is not of this model.

    Official files lack the loss normaliser, which starts anew as it does there; `loss_normalizer` is read if present.
    """
    checkpoint = read_checkpoint(path)
    if missing := [name for name in ("epoch", "optimizer") if name not in checkpoint]:
        raise KinoscopeError(
            "this checkpoint does not hold a run that can be gone on with",
            file=path,
            field=", ".join(missing),
            remedy="give one that the official training program wrote, or evaluate this one",
        )
    average, normaliser = checkpoint.get("state_dict_ema"), checkpoint.get("loss_normalizer")
    return Start(
        from_official(checkpoint["state_dict"], model, path),
        None if average is None else from_official(average, model, path),
        optimizer_state(checkpoint["optimizer"], model, path),
        int(checkpoint["epoch"]),
        None if normaliser is None else {"value": float(normaliser)},
    )


def optimizer_state(
    official: Mapping[str, Any], model: Localizer, file: str | Path | None = None
) -> dict[str, dict[str, Any]]:
    """The official optimiser's state a parameter, by our names and in our shapes (AdamW: exp_avg, ...).

    Official groups hold the parameters in alphabetical order of their official names, decayed ones first.
    """
    decayed = decayed_names(model)
    parameters = dict(model.named_parameters())
    by_official = {official_name(name, model): name for name in parameters}
    order = sorted(by_official, key=lambda name: (by_official[name] not in decayed, name))
    indices = [index for group in official["param_groups"] for index in group["params"]]
    if len(indices) != len(order):
        raise KinoscopeError(
            "the optimiser's state is of another model",
            file=file,
            value=f"{len(indices)} parameters for {len(order)}",
            remedy="use the configuration that the checkpoint was trained with",
        )
    states: dict[str, dict[str, Any]] = {}
    for index, name in zip(indices, order, strict=True):
        ours = by_official[name]
        states[ours] = {
            key: value.reshape(parameters[ours].shape)
            if isinstance(value, Tensor) and value.numel() == parameters[ours].numel() and value.ndim
            else value
            for key, value in official["state"].get(index, {}).items()
        }
    return states
