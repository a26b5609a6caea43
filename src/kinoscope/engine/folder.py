"""The run folder: one run at a time, its resolved recipe, its environment, its stages in order.

runs/<recipe>/<time>/  recipe.yaml  stages.json  environment.json  metrics.jsonl  tensorboard/
                       checkpoints/<stage>/  weights/<stage>/  predictions.json  evaluation.json  report.html
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from kinoscope.engine.files import write_json, write_text
from kinoscope.engine.stage import Stage
from kinoscope.engine.trainer import Trainer
from kinoscope.errors import KinoscopeError

PACKAGES = ("kinoscope", "torch", "numpy", "accelerate", "timm", "av")


def new_folder(recipe: str, root: Path = Path("runs")) -> Path:
    """A folder for a new run of `recipe` (its published name or file)."""
    name = Path(recipe).with_suffix("").name if Path(recipe).is_file() else recipe
    return root / name / time.strftime("%Y-%m-%d_%H-%M-%S")


def train_stages(
    stages: Sequence[Stage],
    folder: Path,
    recipe: str,
    *,
    resume: bool,
    only: str | None = None,
    quiet: bool = False,
    official: Path | None = None,
) -> dict[str, Any]:
    """Trains the stages in order (or `only` one) in `folder`; the metrics of the last.

    official: checkpoint of an official run that the first of them goes on with.

    Raises KinoscopeError where the folder already holds a run and `resume` is not asked for, where it holds a
    run of another recipe, or where another run is at work in it.
    """
    names = [stage.name for stage in stages]
    if only is not None and only not in names:
        raise KinoscopeError(
            "this recipe has no such stage", field="stage", value=only, remedy=f"one of {names}"
        )
    first = int(os.environ.get("RANK", "0")) == 0
    with _alone(folder) if first else contextlib.nullcontext():
        fresh = not (folder / "recipe.yaml").exists()
        if first:
            _claim(folder, recipe, names, resume or only is not None)
        final: dict[str, Any] = {}
        try:
            for stage in stages:
                if only in (None, stage.name):
                    final = Trainer(
                        stage, folder, recipe, resume=resume, quiet=quiet, official=official
                    ).train()
                    official = None
        except KinoscopeError:
            if first and fresh:
                _give_up(folder)
            raise
    return final


def _claim(folder: Path, recipe: str, names: list[str], resume: bool) -> None:
    kept = folder / "recipe.yaml"
    if kept.exists():
        if not resume:
            raise KinoscopeError(
                "this folder already holds a run",
                file=folder,
                remedy="choose another --output, or --resume it",
            )
        if kept.read_text(encoding="utf-8") != recipe:
            raise KinoscopeError(
                "the run in this folder has other settings",
                file=kept,
                remedy="resume with the same recipe and overrides",
            )
    else:
        write_text(kept, recipe)
    write_json(folder / "stages.json", names)
    write_json(folder / "environment.json", environment())


def _give_up(folder: Path) -> None:
    """Takes the claim back where nothing was trained: the folder is free for the mended command."""
    if (folder / "metrics.jsonl").exists():
        return
    for name in ("recipe.yaml", "stages.json", "environment.json", ".lock"):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it holds something else
        folder.rmdir()


def environment() -> dict[str, Any]:
    """Versions and machine, for the record."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),  # that train together
        "packages": versions,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; the system lets go of it when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise KinoscopeError(
                "another run is at work in this folder",
                file=folder,
                remedy="wait for it, or choose another --output",
            ) from error
        yield
