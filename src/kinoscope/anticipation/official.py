"""Official checkpoints of S-GEAR: their names, and how they are loaded.

The one file that knows them. Names of the first public revision (`org_gamma`, `TimeShift`, `CrossModAttn`) are
read too. Class mappings and attention masks that official files hold as buffers carry no weights and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinoscope.errors import KinoscopeError

# official pattern -> ours; the first that matches counts
_RULES = (
    (r"^(vis_prototypes|org_gamma)$", "prototypes"),
    (r"^balancer$", "mixture_gate"),
    (r"^alpha$", "frame_gate"),
    (r"^backbone\.model\.", "backbone."),
    (r"^(TCA|TimeShift)\.", "temporal_context."),
    (r"^(ProtAttn|CrossModAttn)\.", "prototype_attention."),
    (r"^mapper_to_inter\.", "to_width."),
    (r"^future_predictor\.gpt_model\.", "decoder.transformer."),
    (r"^future_predictor\.", "decoder."),
    (r"^classifiers\.", "heads."),
    (r"^transform_features\.", "transform."),
)
_IN_DECODER = (
    (r"^decoder\.transformer\.h\.", "decoder.transformer.blocks."),
    (r"\.wpe\.", ".positions."),
    (r"\.ln_f\.", ".norm."),
    (r"\.ln_1\.", ".norm1."),
    (r"\.ln_2\.", ".norm2."),
    (r"\.attn\.c_attn\.", ".attention.qkv."),
    (r"\.attn\.c_proj\.", ".attention.out."),
    (r"\.mlp\.c_fc\.", ".expand."),
    (r"\.mlp\.c_proj\.", ".contract."),
)
_IN_BLOCKS = (
    (r"\.attn\.tmp_weighting$", ".attention.frame_weights"),
    (r"\.attn\.alpha$", ".attention.residual_gate"),
    (r"\.attn\.qkv\.", ".attention.qkv."),
    (r"\.attn\.proj\.", ".attention.out."),
    (r"\.mlp\.fc1\.", ".expand."),
    (r"\.mlp\.fc2\.", ".contract."),
    (r"^prototype_attention\.tpl_weights$", "prototype_attention.distance_weights"),
    (r"^prototype_attention\.proj\.", "prototype_attention.out."),
)
_WITHOUT_WEIGHTS = re.compile(r"^cls_map_|gpt_model\.h\.\d+\.attn\.(masked_)?bias$")
_TRANSPOSED = re.compile(r"^decoder\.transformer\.blocks\.\d+\..*weight$")
PRETRAINED_PARTS = (
    "prototype_attention.",
    "decoder.",
    "heads.",
    "prototypes",
)  # what feature models start from


def our_name(name: str) -> str | None:
    """Our name of an official entry; None where it holds no weights. Raises KeyError for an unknown one."""
    name = name.removeprefix("module.")
    if _WITHOUT_WEIGHTS.search(name):
        return None
    for pattern, ours in _RULES:
        mapped, hits = re.subn(pattern, ours, name)
        if hits:
            break
    else:
        raise KeyError(name)
    rules: tuple[tuple[str, str], ...] = ()
    if mapped.startswith("decoder.transformer."):
        rules = _IN_DECODER
    elif mapped.startswith(("temporal_context.", "prototype_attention.")):
        rules = _IN_BLOCKS
    for pattern, ours in rules:
        mapped = re.sub(pattern, ours, mapped)
    return mapped


def _matrix(name: str, value: Tensor) -> Tensor:
    """GPT-2 stores its matrices (in, out), layers hold (out, in)."""
    return value.T if _TRANSPOSED.match(name) and value.ndim == 2 else value


def from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official entries under our names. Raises KinoscopeError that lists entries nobody knows."""
    ours: dict[str, Tensor] = {}
    unknown = []
    for name, value in state.items():
        try:
            mapped = our_name(name)
        except KeyError:
            unknown.append(name)
            continue
        if mapped is not None:
            ours[mapped] = _matrix(mapped, value)
    if unknown:
        raise KinoscopeError("the checkpoint holds entries that S-GEAR does not know", value=unknown)
    return ours


def official_names(state: Mapping[str, Any]) -> dict[str, str]:
    """Our name -> official name for the entries of an official state dict."""
    return {mapped: name for name in state if (mapped := our_name(name)) is not None}


def load_exactly(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads a whole official state dict; anything missing, left over or of another shape is listed and refused."""
    ours, own = from_official(state), model.state_dict()
    faults = [f"{name} is missing" for name in own if name not in ours]
    faults += [f"{name} has no place" for name in ours if name not in own]
    faults += [
        f"{name} is {tuple(value.shape)}, not {tuple(own[name].shape)}"
        for name, value in ours.items()
        if name in own and value.shape != own[name].shape
    ]
    if faults:
        raise KinoscopeError(
            "the checkpoint does not fit the model",
            value=faults,
            remedy="check classes, frames and widths of the recipe",
        )
    model.load_state_dict(ours)


def read_state(path: str | Path) -> dict[str, Tensor]:
    """State dict of an official file: under `model`, `state_dict`, `classy_state_dict`, or the file itself."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise KinoscopeError("there is no such checkpoint", file=path) from error
    except Exception as error:
        raise KinoscopeError(
            "this is no checkpoint that loads without running code",
            file=path,
            value=str(error).split("\n")[0],
        ) from error
    if isinstance(held, dict):
        for key in ("model", "state_dict"):
            if isinstance(held.get(key), dict):
                held = held[key]
                break
        else:
            if "classy_state_dict" in held:
                held = held["classy_state_dict"]["base_model"]["model"]["trunk"]
    if not isinstance(held, dict) or not all(isinstance(value, Tensor) for value in held.values()):
        raise KinoscopeError("the file holds no state dict", file=path)
    return {name.removeprefix("module."): value for name, value in held.items()}


def load_parts(model: nn.Module, state: Mapping[str, Tensor], parts: Sequence[str]) -> list[str]:
    """Copies entries whose (our) name starts with one of `parts` and whose shape fits; the names that were loaded.

    Raises KinoscopeError, which lists them, for parts that load nothing.
    """
    own = model.state_dict()
    loaded = {
        name: value
        for name, value in state.items()
        if name.startswith(tuple(parts)) and name in own and own[name].shape == value.shape
    }
    empty = [part for part in parts if not any(name.startswith(part) for name in loaded)]
    if empty:
        raise KinoscopeError(
            "parts of the checkpoint load nothing", value=empty, remedy="check widths, frames and class count"
        )
    model.load_state_dict(loaded, strict=False)
    return sorted(loaded)


def load_backbone(model: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Loads timm's ViT weights into `model.backbone`; the entries whose shape differs, which stay as they are."""
    own = model.backbone.state_dict()  # type: ignore[union-attr]
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    missing = sorted(set(own) - set(fitting))
    if len(missing) > len(own) // 2:
        raise KinoscopeError("the file holds no weights of this backbone", value=missing[:5])
    model.backbone.load_state_dict(fitting, strict=False)  # type: ignore[union-attr]
    return missing
