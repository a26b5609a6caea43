"""Tables that other projects pickled: plain containers and numpy arrays, and nothing that runs code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from kinoscope.errors import KinoscopeError

HARMLESS = {
    (module, name)
    for base in ("numpy", "numpy.core", "numpy._core")
    for module, names in (
        (base, ("ndarray", "dtype")),
        (f"{base}.multiarray", ("_reconstruct", "scalar")),
        (f"{base}.numeric", ("_frombuffer",)),
    )
    for name in names
} | {("collections", "OrderedDict")}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it wants to load {module}.{name}")
        return super().find_class(module, name)


def read_pickle(file: str | Path) -> Any:
    """The value of a pickle of dictionaries, lists, numbers, text and numpy arrays.

    Raises KinoscopeError for a file that is no such pickle, one with code in it included.
    """
    path = Path(file)
    try:
        with path.open("rb") as stream:
            return _Unpickler(stream).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, ValueError, IndexError, KeyError) as error:
        raise KinoscopeError(
            "this pickle cannot be read as a plain table",
            file=path,
            value=str(error),
            remedy="write the table as JSON",
        ) from error
