"""Reading the official pickles without running what they may contain.

Checkpoints refer to `easydict.EasyDict` and `argparse.Namespace`, data-set files to tensors pickled one by one;
those and plain containers are allowed, everything else is refused by name.
"""

from __future__ import annotations

import argparse
import io
import pickle
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from kinoscope.errors import KinoscopeError


class AttributeDict(dict[str, Any]):
    """What stands in for EasyDict: a dict whose attribute copies, which EasyDict stores as well, are dropped."""

    def __setstate__(self, state: Any) -> None:
        for key, value in (state or {}).items():
            self.setdefault(key, value)


def _nested(blob: bytes) -> Any:
    return torch.load(io.BytesIO(blob), weights_only=True)


ALLOWED: dict[tuple[str, str], Any] = {
    ("easydict", "EasyDict"): AttributeDict,
    ("argparse", "Namespace"): argparse.Namespace,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch.storage", "_load_from_bytes"): _nested,
    ("torch.serialization", "_get_layout"): torch.serialization._get_layout,
}
STORAGES = [
    f"{kind}Storage"
    for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
]


class Unpickler(pickle.Unpickler):
    """Builds plain containers, tensors, EasyDict and Namespace; nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGES:
            return getattr(torch, name)
        if (module, name) in ALLOWED:
            return ALLOWED[module, name]
        raise KinoscopeError(
            "the file refers to code that is not needed for data",
            value=f"{module}.{name}",
            remedy="load it only if you trust it, with the program that wrote it",
        )


def _pickle_module() -> ModuleType:
    module = ModuleType("restricted_pickle")
    module.Unpickler = Unpickler  # type: ignore[attr-defined]
    module.load = lambda file, **options: Unpickler(file, **options).load()  # type: ignore[attr-defined]
    module.__dict__.update({"PickleError": pickle.PickleError, "UnpicklingError": pickle.UnpicklingError})
    return module


def read_pickle(source: Path | bytes) -> Any:
    """The content of a data-set or embedding pickle. Raises KinoscopeError for a damaged or foreign file."""
    blob = source if isinstance(source, bytes) else source.read_bytes()
    file = None if isinstance(source, bytes) else source
    try:
        return Unpickler(io.BytesIO(blob)).load()
    except KinoscopeError as error:
        raise KinoscopeError(error.problem, file=file, value=error.value, remedy=error.remedy) from error
    except Exception as error:
        raise KinoscopeError(
            "this is no readable pickle", file=file, value=str(error), remedy="copy the file again"
        ) from error


def read_checkpoint(source: Path | bytes) -> dict[str, Any]:
    """{epoch, model_state, optimizer_state, cfg} of an official checkpoint, zip or legacy format."""
    stream: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    file = None if isinstance(source, bytes) else source
    try:
        content = torch.load(stream, map_location="cpu", weights_only=False, pickle_module=_pickle_module())
    except KinoscopeError as error:
        raise KinoscopeError(error.problem, file=file, value=error.value, remedy=error.remedy) from error
    except Exception as error:
        raise KinoscopeError(
            "this is no readable checkpoint", file=file, value=str(error)[:200], remedy="copy the file again"
        ) from error
    if not isinstance(content, dict) or "model_state" not in content:
        raise KinoscopeError(
            "this checkpoint is not one of CARL", file=file, remedy="it needs the entries model_state and cfg"
        )
    content["cfg"] = plain(content.get("cfg", {}))
    return content


def plain(value: Any) -> Any:
    """EasyDict and Namespace as dicts, all the way down."""
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(entry) for entry in value)
    return value


def newest_checkpoint(folder: Path) -> Path:
    """The last file, by name, whose name contains `checkpoint`."""
    found = sorted(path for path in folder.iterdir() if "checkpoint" in path.name)
    if not found:
        raise KinoscopeError("there is no checkpoint", file=folder, remedy="give the folder `checkpoints`")
    return found[-1]
