"""Names of the official checkpoints <-> ours; the only file of the room that knows the former (spec 2, 10,
11).

Official files are dicts: `model_state_dict` (everything), `glancer`, `focuser`, `fc`, `policy`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinoscope.errors import KinoscopeError
from kinoscope.recognition.models.backbones import ShiftedConv2d
from kinoscope.recognition.models.policy import ActorCritic
from kinoscope.recognition.models.tsm import AdaFocusTsm

Rename = Callable[[str], str]


def _policy_name(name: str, prefix: str, flat: bool) -> str:
    """`encoder.3.weight` -> `<prefix>state_encoder.3.weight`; the flat encoder's own first Flatten is not
    counted."""
    head, _, rest = name.partition(".")
    if head == "encoder":
        index, _, leaf = rest.partition(".")
        return f"{prefix}state_encoder.{int(index) - flat}.{leaf}"
    if head in ("actor", "critic"):
        return f"{prefix}{head}.0.{rest}"
    return prefix + name


def policy_names(policy: ActorCritic, prefix: str = "") -> dict[str, str]:
    """Our name -> official name of every entry of a policy."""
    flat = isinstance(policy.encoder, nn.Sequential) and isinstance(policy.encoder[0], nn.Flatten)
    return {name: _policy_name(name, prefix, flat) for name in policy.state_dict()}


def global_names(module: nn.Module, prefix: str = "net.") -> dict[str, str]:
    """Of part 1's GlobalCNN: torchvision's names below `net`."""
    return {name: prefix + re.sub(r"^head\.1\.", "classifier.1.", name) for name in module.state_dict()}


def local_names(module: nn.Module, prefix: str = "net.") -> dict[str, str]:
    """Of part 1's LocalCNN: torchvision's names below `net`."""
    return {name: prefix + re.sub(r"^head\.", "fc.", name) for name in module.state_dict()}


def tsm_global_names(module: nn.Module, prefix: str = "net.") -> dict[str, str]:
    """Of part 2's GlobalCNN: flat `conv` sequences, the head without dropout, shifted convolutions below
    `net`."""
    shifted = {name for name, part in module.named_modules() if isinstance(part, ShiftedConv2d)}
    out = {}
    for name in module.state_dict():
        theirs = re.sub(r"^head\.1\.", "classifier.", name)
        match = re.match(r"features\.(\d+)\.conv\.(.*)", name)
        if match:
            block, rest = match.groups()
            parts = {"0.0": 0, "0.1": 1, "1": 3, "2": 4} if block == "1" else {
                "0.0": 0, "0.1": 1, "1.0": 3, "1.1": 4, "2": 6, "3": 7,
            }  # fmt: skip
            at, leaf = rest.rsplit(".", 1)
            inner = "net." if name.rsplit(".", 1)[0] in shifted else ""
            theirs = f"features.{block}.conv.{parts[at]}.{inner}{leaf}"
        out[name] = prefix + theirs
    return out


def tsm_local_names(module: nn.Module, prefix: str = "net.") -> dict[str, str]:
    """Of part 2's LocalCNN: an unnamed sequence below `base_model`."""
    places = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    shifted = {name for name, part in module.named_modules() if isinstance(part, ShiftedConv2d)}
    out = {}
    for name in module.state_dict():
        head, _, rest = name.partition(".")
        at, leaf = rest.rsplit(".", 1) if "." in rest else ("", rest)
        inner = ".net." if name.rsplit(".", 1)[0] in shifted else "."
        out[name] = (
            f"{prefix}base_model.{places[head]}.{at}{inner}{leaf}"
            if at
            else (f"{prefix}base_model.{places[head]}.{leaf}")
        )
    return out


def model_names(model: nn.Module) -> dict[str, str]:
    """Our name -> name in `model_state_dict`, for AdaFocus and AdaFocusTsm."""
    tsm = isinstance(model, AdaFocusTsm)
    glancer = (tsm_global_names if tsm else global_names)(model.get_submodule("global_cnn"), "glancer.net.")
    focuser = (tsm_local_names if tsm else local_names)(model.get_submodule("local_cnn"), "focuser.net.")
    out = {f"global_cnn.{k}": v for k, v in glancer.items()}
    out |= {f"local_cnn.{k}": v for k, v in focuser.items()}
    if not tsm and hasattr(model, "policy"):
        for ours, theirs in (("policy", "policy"), ("acting", "policy_old")):
            names = policy_names(model.get_submodule(ours), f"focuser.policy.{theirs}.")  # type: ignore[arg-type]
            out |= {f"{ours}.{k}": v for k, v in names.items()}
    classifier = model.get_submodule("classifier").state_dict()
    return out | {f"classifier.{k}": f"classifier.{k}" for k in classifier}


def load_named(
    module: nn.Module,
    theirs: Mapping[str, Tensor],
    names: Mapping[str, str],
    optional: Iterable[str] = (),
    file: Path | None = None,
) -> None:
    """Loads official entries by `names` (ours -> theirs). Fails with the list where entries are missing, left
    over, or of another shape; official names that start with one of `optional` may be absent or left over."""
    own = module.state_dict()
    free = tuple(optional)
    missing = [t for t in names.values() if t not in theirs and not (free and t.startswith(free))]
    wanted = set(names.values())
    extra = [t for t in theirs if t not in wanted and not (free and t.startswith(free))]
    wrong = [
        f"{t}: {tuple(theirs[t].shape)} instead of {tuple(own[o].shape)}"
        for o, t in names.items()
        if t in theirs and theirs[t].shape != own[o].shape
    ]
    if missing or extra or wrong:
        raise KinoscopeError(
            f"the official entries do not fit: missing {missing[:5]} ({len(missing)}), "
            f"left over {extra[:5]} ({len(extra)}), other shapes {wrong[:5]} ({len(wrong)})",
            file=file,
            remedy="check patch, hidden sizes, consensus and the number of classes of the recipe",
        )
    state = {o: theirs[t] for o, t in names.items() if t in theirs}
    module.load_state_dict(state, strict=False)


def to_official(module: nn.Module, names: Mapping[str, str]) -> dict[str, Tensor]:
    """Our state under official names."""
    own = module.state_dict()
    return {theirs: own[ours] for ours, theirs in names.items()}


def read_checkpoint(file: Path) -> dict[str, Any]:
    """An official file, read without running code that it might hold."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise KinoscopeError(
            "this is no checkpoint that can be read safely", file=file, value=str(error).split("\n")[0]
        ) from error
    if not isinstance(content, dict):
        raise KinoscopeError("an official checkpoint is a dict", file=file, value=type(content).__name__)
    return content


def load_official(model: nn.Module, file: Path) -> list[str]:
    """Loads what an official checkpoint of part 1 or 2 holds; the parts that were loaded.

    A stage-0 file fills the two networks, a stage-1 file the classifier too, a stage-2 or -3 file everything.
    `policy` is authoritative for both copies. Raises KinoscopeError where a part does not fit.
    """
    content = read_checkpoint(file)
    tsm = isinstance(model, AdaFocusTsm)
    renames = (
        ("glancer", "global_cnn", tsm_global_names if tsm else global_names, ()),
        ("focuser", "local_cnn", tsm_local_names if tsm else local_names, ("policy.",)),
    )
    loaded = []
    for key, part, names, optional in renames:
        if content.get(key) is not None:
            module = model.get_submodule(part)
            load_named(module, content[key], names(module), optional, file)
            loaded.append(part)
    if content.get("fc") is not None:
        module = model.get_submodule("classifier")
        load_named(module, content["fc"], {k: k for k in module.state_dict()}, (), file)
        loaded.append("classifier")
    if content.get("policy") is not None and hasattr(model, "policy"):
        for part in ("policy", "acting"):
            module = model.get_submodule(part)
            load_named(module, content["policy"], policy_names(module), (), file)  # type: ignore[arg-type]
        loaded.append("policy")
    if not loaded:
        raise KinoscopeError(
            "no part of AdaFocus is in this file",
            file=file,
            value=sorted(content)[:8],
            remedy="expected are glancer, focuser, fc and policy",
        )
    return loaded


def load_tsm_program(model: AdaFocusTsm, file: Path) -> list[str]:
    """Loads a network that the TSM program has prepared (spec 11.4): the glancer with its head, or the focuser with
    the classifier; which one follows from its names. Raises KinoscopeError where it does not fit."""
    content = read_checkpoint(file)
    theirs = {str(k): v for k, v in content.get("state_dict", content).items() if torch.is_tensor(v)}
    if any(".features." in name for name in theirs):
        names = tsm_global_names(model.global_cnn, "module.base_model.")
        names = {ours: name.replace("base_model.classifier.", "new_fc.") for ours, name in names.items()}
        load_named(model.global_cnn, theirs, names, (), file)
        return ["global_cnn"]
    shifted = {name for name, part in model.local_cnn.named_modules() if isinstance(part, ShiftedConv2d)}
    names = {}
    for name in model.local_cnn.state_dict():
        layer, _, leaf = name.rpartition(".")
        names[name] = f"module.base_model.{layer}.{'net.' if layer in shifted else ''}{leaf}"
    head = {name: theirs.pop(f"module.new_fc.{name}", None) for name in ("weight", "bias")}
    load_named(model.local_cnn, theirs, names, (), file)
    if head["weight"] is None or head["weight"].shape != model.classifier.weight.shape:
        return ["local_cnn"]
    load_named(
        model.classifier, {k: v for k, v in head.items() if v is not None}, {k: k for k in head}, (), file
    )
    return ["local_cnn", "classifier"]


def position_names(policy: nn.Module, prefix: str = "") -> dict[str, str]:
    """Of AdaFocus V2's policy (`policy_stn`)."""
    return {name: prefix + re.sub(r"^fc\.", "fc.0.", name) for name in policy.state_dict()}


def pooling_names(classifier: nn.Module, prefix: str = "") -> dict[str, str]:
    """Of AdaFocus V2's classifier."""
    out = {}
    for name in classifier.state_dict():
        theirs = re.sub(r"^heads\.(\d+)\.", r"classifiers.\1.1.", name)
        theirs = theirs.replace("mlp.linear.", "mlp.layers.0.").replace("mlp.norm.", "mlp.layers.1.")
        out[name] = prefix + theirs
    return out
