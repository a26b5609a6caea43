"""Names in the official AimCLR checkpoints <-> ours; the only file that knows them.

A checkpoint is a bare dict name -> tensor. 1. The official loader lets a wrong file pass where its names
fit in
part; here a partial load fails with the list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinoscope.errors import KinoscopeError

_TO_OFFICIAL = [
    (r"\bquery(?=[._])", "encoder_q"),
    (r"\bkey(?=[._])", "encoder_k"),
    (r"^pointer", "queue_ptr"),
    (r"\badjacency$", "A"),
    (r"\binput_norm\.", "data_bn."),
    (r"\bblocks\.", "st_gcn_networks."),
    (r"\bgraph_conv\.", "gcn.conv."),
    (r"\bgraph_norm\.", "tcn.0."),
    (r"\btime_conv\.", "tcn.2."),
    (r"\btime_norm\.", "tcn.3."),
    (r"\bshortcut\.", "residual."),
    (r"\bhead\.", "fc."),
    (r"\bimportance\.", "edge_importance."),
]


def official_name(ours: str) -> str:
    """The official name of one of our tensors."""
    for pattern, replacement in _TO_OFFICIAL:
        ours = re.sub(pattern, replacement, ours)
    return ours


def official_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors under their official names, in the official order."""
    return {official_name(name): value for name, value in model.state_dict().items()}


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors of an official file, `module.` removed; KinoscopeError where it is no such file."""
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise KinoscopeError(
            "this is no checkpoint that can be read safely", file=path, value=str(error).splitlines()[0]
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise KinoscopeError("an AimCLR checkpoint is a plain table of named tensors", file=path)
    return {name.split("module.")[-1]: value for name, value in state.items()}


def drop(
    state: Mapping[str, Tensor], ignored: Sequence[str]
) -> tuple[dict[str, Tensor], list[tuple[str, str]]]:
    """Without the names that start with one of `ignored`; and (prefix, name) of those left out, in order."""
    kept, left = dict(state), []
    for prefix in ignored:
        for name in [name for name in kept if name.startswith(prefix)]:
            left.append((prefix, name))
            del kept[name]
    return kept, left


def load(
    model: nn.Module,
    state: Mapping[str, Tensor],
    ignored: Sequence[str] = (),
    fresh: Sequence[str] = (),
    file: str | Path | None = None,
) -> list[str]:
    """Loads official tensors; the official names that the file lacks, sorted.

    `fresh`: prefixes of official names that may be missing (a new classifier). Any other missing or
    unknown name, or
    a wrong shape, raises KinoscopeError with the whole list.
    """
    kept, _ = drop(state, ignored)
    names = {official_name(name): name for name in model.state_dict()}
    own = model.state_dict()
    missing = sorted(set(names) - set(kept))
    faults = [f"missing {name}" for name in missing if not name.startswith(tuple(fresh))]
    faults += [f"unknown {name}" for name in kept if name not in names]
    faults += [
        f"{name} of shape {tuple(kept[name].shape)} instead of {tuple(own[ours].shape)}"
        for name, ours in names.items()
        if name in kept and kept[name].shape != own[ours].shape
    ]
    if faults:
        raise KinoscopeError(
            f"the checkpoint does not fit this model: {'; '.join(faults)}",
            file=file,
            remedy="check the settings of the encoder, or name what to leave out",
        )
    model.load_state_dict({names[name]: value for name, value in kept.items()}, strict=False)
    return missing
