"""Weights folders: safetensors with the resolved recipe, label names and preprocessing beside them.

model.safetensors   the state dict
recipe.yaml         the resolved recipe that made them
about.json          task, stage, label names, time axis, preprocessing, format version
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from kinoscope.engine.files import write_folder
from kinoscope.errors import KinoscopeError


@dataclass(frozen=True)
class Weights:
    """What a weights folder holds."""

    state: dict[str, Tensor]
    recipe: str
    about: dict[str, Any]
    folder: Path


def save_weights(folder: Path, state: dict[str, Tensor], recipe: str, about: dict[str, Any]) -> None:
    """Writes a weights folder atomically."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}

    def fill(partial: Path) -> None:
        safetensors.torch.save_file(tensors, partial / "model.safetensors")
        (partial / "recipe.yaml").write_text(recipe, encoding="utf-8")
        (partial / "about.json").write_text(json.dumps({"format": 1, **about}, indent=1, ensure_ascii=False))

    write_folder(folder, fill)


def load_weights(folder: Path) -> Weights:
    """Reads a weights folder. Raises KinoscopeError where a file is missing or damaged."""
    for name in ("model.safetensors", "recipe.yaml", "about.json"):
        if not (folder / name).is_file():
            raise KinoscopeError(
                f"a weights folder holds model.safetensors, recipe.yaml and about.json; {name} is missing",
                file=folder,
                remedy="give a run folder, a weights folder or an official checkpoint",
            )
    try:
        state = safetensors.torch.load_file(folder / "model.safetensors")
    except (safetensors.SafetensorError, OSError) as error:
        raise KinoscopeError(
            "these weights are damaged",
            file=folder / "model.safetensors",
            value=str(error),
            remedy="copy them again",
        ) from error
    about = json.loads((folder / "about.json").read_text())
    return Weights(state, (folder / "recipe.yaml").read_text(encoding="utf-8"), about, folder)


def find_weights(model: Path, stage: str | None = None) -> Path:
    """The weights folder of a run folder (its last stage, or `stage`), or `model` itself where it is one."""
    if (model / "model.safetensors").is_file():
        return model
    order = model / "stages.json"
    stages = json.loads(order.read_text()) if order.is_file() else []
    for name in [stage] if stage else reversed(stages):
        if (model / "weights" / str(name) / "model.safetensors").is_file():
            return model / "weights" / str(name)
    raise KinoscopeError(
        "there are no trained weights here",
        file=model,
        value=stage,
        remedy="train first, or give a run folder, a weights folder or an official checkpoint",
    )
