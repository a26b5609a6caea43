"""The official label files: a pickle of (sample names, labels), read without running anything that stands in it."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

from kinoscope.errors import KinoscopeError

# what numbers and texts of numpy are pickled with; nothing else is ever called
HARMLESS = {
    (module, name)
    for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("scalar", "dtype", "_reconstruct", "ndarray", "str_", "int64", "int32")
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def read_labels(path: Path, classes: int | None = None) -> tuple[list[str], list[int]]:
    """(names, zero-based labels). Raises KinoscopeError where the file is none, or labels are out of range."""
    try:
        names, labels = _Reader(io.BytesIO(path.read_bytes())).load()
        found = [str(name) for name in names], [int(label) for label in labels]
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to say
        raise KinoscopeError(
            "the label file cannot be read",
            file=path,
            value=str(error) or type(error).__name__,
            remedy="it is a pickle of (names, labels), as `kinoscope prepare` writes it",
        ) from error
    if len(found[0]) != len(found[1]):
        raise KinoscopeError(
            "names and labels differ in number", file=path, value=(len(found[0]), len(found[1]))
        )
    odd = [label for label in found[1] if label < 0 or (classes is not None and label >= classes)]
    if odd:
        raise KinoscopeError(
            "a label lies outside the classes",
            file=path,
            field="label",
            value=odd[0],
            remedy="labels count from 0" if classes is None else f"0 to {classes - 1}",
        )
    return found
