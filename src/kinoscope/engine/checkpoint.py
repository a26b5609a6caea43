"""Checkpoints: everything that a run needs to go on to the same bits.

A checkpoint is a folder `step_<n>` with `state.pt` and `manifest.json` (its SHA-256), which comes into
being by one rename. The newest sound one is resumed from; a damaged one is told and passed over.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import torch

from kinoscope.engine.files import write_folder
from kinoscope.errors import KinoscopeError

log = logging.getLogger(__name__)


def save(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Writes `state` as the checkpoint of `step` below `folder`, and removes all but the newest `keep`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getbuffer()
    place = folder / f"step_{step:08d}"

    def fill(partial: Path) -> None:
        (partial / "state.pt").write_bytes(data)
        manifest = {"step": step, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        (partial / "manifest.json").write_text(json.dumps(manifest))

    write_folder(place, fill)
    for old in _all(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def load(place: Path) -> dict[str, Any]:
    """The state in one checkpoint folder. Raises KinoscopeError where it is damaged."""
    try:
        manifest = json.loads((place / "manifest.json").read_text())
        data = (place / "state.pt").read_bytes()
    except (OSError, ValueError) as error:
        raise KinoscopeError("this checkpoint cannot be read", file=place, value=str(error)) from error
    if hashlib.sha256(data).hexdigest() != manifest.get("sha256"):
        raise KinoscopeError(
            "this checkpoint is damaged: its checksum differs", file=place, remedy="resume from an older one"
        )
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def newest(folder: Path) -> dict[str, Any] | None:
    """The state of the newest sound checkpoint below `folder`, or None where there is none."""
    for place in reversed(_all(folder)):
        try:
            return load(place)
        except KinoscopeError as error:
            log.warning("%s", error)
    return None


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*"))
