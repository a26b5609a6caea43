"""Files that are whole or not there: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kinoscope.errors import KinoscopeError


def write_bytes(path: Path, data: bytes) -> None:
    """`data` as the content of `path`, atomically. Raises KinoscopeError where the disk is full."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _explained(error, path) from error


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """`folder` with what `fill` writes into it, atomically; an older folder of that name is replaced."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        fill(partial)
        for path in partial.iterdir():
            _sync(path)
        _sync(partial)
        _swap(partial, folder)
        _sync(folder.parent)
    except OSError as error:
        raise _explained(error, folder) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _swap(new: Path, place: Path) -> None:
    """Renames `new` to `place`; what was there steps aside first (folders cannot be replaced in one go)."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        os.replace(place, old)
    os.replace(new, place)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explained(error: OSError, path: Path) -> KinoscopeError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    problem = "the disk is full; nothing was changed" if full else f"could not be written: {error.strerror}"
    remedy = (
        "free some space and start again with --resume" if full else "check that the folder can be written"
    )
    return KinoscopeError(problem, file=path, remedy=remedy)
