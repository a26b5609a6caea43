"""Feature files as they come: npy, npz, HDF5 or a store of ours, one folder or several joined by channel.

An array is (T, C), one row a step. npy files are memory-mapped and rows are read when asked for, so a window of a
long video costs the window. Whatever is wrong with a file is said in one sentence that names it.
"""

from __future__ import annotations

import mmap
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.media.store import FeatureStore
from kinoscope.timeline import TimeAxis

HDF5 = (".hdf5", ".h5")
MEMBER = "feats"  # of an npz file
BLOCK = 4096  # rows that are looked at together
AGAIN = "copy or extract this file again"


@dataclass(frozen=True)
class Features:
    """Opened features of one video: `parts` of (T, C_i) side by side, of which every `every`-th row counts."""

    parts: tuple[np.ndarray, ...]
    files: tuple[str, ...]  # where each part is from, for messages
    every: int = 1

    def __len__(self) -> int:
        return -(-len(self.parts[0]) // self.every)

    @property
    def width(self) -> int:
        return sum(part.shape[1] for part in self.parts)

    def rows(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows [start, stop) as float32 (n, C). Raises KinoscopeError where a value is not finite."""
        stop = len(self) if stop is None else min(stop, len(self))
        taken = slice(start * self.every, (stop - 1) * self.every + 1, self.every)
        read = [np.asarray(part[taken], np.float32) for part in self.parts]
        for values, file in zip(read, self.files, strict=True):
            bad = _bad_rows(values)
            if bad.size:
                raise KinoscopeError(
                    f"{bad.size} of {len(values)} rows hold NaN or infinite values",
                    file=file,
                    field="row",
                    value=int(bad[0] + start) * self.every,
                    remedy="extract the features of this video again",
                )
        return read[0] if len(read) == 1 else np.concatenate(read, axis=1)

    @property
    def on_disk(self) -> bool:
        """Whether rows are read when asked for."""
        return all(isinstance(part, np.memmap) for part in self.parts)

    def copied(self, start: int, stop: int) -> np.ndarray:
        """`rows`, after which the process holds nothing else of the files: for pieces of what is too long to hold."""
        rows = self.rows(start, stop).copy()
        for part in self.parts:
            mapped = getattr(part, "_mmap", None)
            if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)
        return rows

    def check(self) -> None:
        """Reads everything once. Raises KinoscopeError where a value is not finite."""
        for start in range(0, len(self), BLOCK):
            self.copied(start, start + BLOCK)


def _bad_rows(values: np.ndarray) -> np.ndarray:
    """Rows with a value that is not finite."""
    finite = [np.isfinite(values[k : k + BLOCK]).all(axis=1) for k in range(0, len(values), BLOCK)]
    return np.flatnonzero(~np.concatenate(finite)) if finite else np.empty(0, np.int64)


@dataclass(frozen=True)
class FeatureFolders:
    """Where the features of a data set lie: `<folder>/<prefix><video><ext>`, or `<prefix><video>` of HDF5 or a store.

    widths: channels of each folder, or of all together (one number); empty: any.
    """

    folders: tuple[Path, ...]
    prefix: str = ""
    ext: str = ".npy"
    widths: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, folders: str | Sequence[str], prefix: str, ext: str, width: int | tuple[int, ...] = ()
    ) -> FeatureFolders:
        """From settings: one folder or several, one width or several."""
        paths = (folders,) if isinstance(folders, str) else tuple(folders)
        widths = (width,) if isinstance(width, int) else tuple(width)
        return cls(tuple(Path(path) for path in paths), prefix, ext, widths)

    def missing(self, video: str) -> str | None:
        """The first file of `video` that is not there; None where all are."""
        for folder in self.folders:
            if (store := store_at(folder)) is not None:
                if self.prefix + video not in store:
                    return f"{folder}:{self.prefix}{video}"
            elif is_hdf5(folder):
                if self.prefix + video not in _names(folder):
                    return f"{folder}:{self.prefix}{video}"
            elif not self.path(folder, video).is_file():
                return str(self.path(folder, video))
        return None

    def axis(self, video: str) -> TimeAxis | None:
        """The time axis that came with the features; None for files, which do not tell."""
        for folder in self.folders:
            if (store := store_at(folder)) is not None and self.prefix + video in store:
                return store.axis(self.prefix + video)
        return None

    def encoders(self) -> list[dict[str, Any]]:
        """What made the features, as far as it came with them."""
        return [store.encoder for folder in self.folders if (store := store_at(folder)) is not None]

    def path(self, folder: Path, video: str) -> Path:
        return folder / f"{self.prefix}{video}{self.ext}"

    def open(self, video: str, every: int = 1) -> Features:
        """The features of one video. Raises KinoscopeError where a file is missing, damaged or of another shape."""
        one_each = len(self.widths) == len(self.folders)
        parts, files = [], []
        for k, folder in enumerate(self.folders):
            width = self.widths[k] if one_each else None
            if (store := store_at(folder)) is not None:
                files.append(f"{folder}:{self.prefix}{video}")
                parts.append(store.features(self.prefix + video))
                _check(parts[-1], folder, width)
            elif is_hdf5(folder):
                files.append(f"{folder}:{self.prefix}{video}")
                parts.append(read_array(folder, width, self.prefix + video))
            else:
                files.append(str(self.path(folder, video)))
                parts.append(read_array(self.path(folder, video), width))
        return joined(parts, files, sum(self.widths) if self.widths else None, every)


def joined(parts: Sequence[np.ndarray], files: Sequence[str], width: int | None, every: int = 1) -> Features:
    """Parts (T, C_i) side by side. Raises KinoscopeError where lengths differ or the width is not `width`."""
    lengths = [len(part) for part in parts]
    if len(set(lengths)) > 1:
        raise KinoscopeError(
            "the parts of one video have different lengths",
            file=files[lengths.index(min(lengths))],
            value=lengths,
            remedy="extract them with the same stride",
        )
    features = Features(tuple(parts), tuple(files), every)
    if width is not None and features.width != width:
        raise KinoscopeError(
            f"features of {width} channels were expected",
            file=" + ".join(files),
            field="input_dim",
            value=[part.shape[1] for part in parts],
            remedy=f"set data.input_dim={features.width}, or give the features that belong to this recipe",
        )
    return features


@lru_cache(maxsize=64)
def store_at(path: Path) -> FeatureStore | None:
    """The feature store in this folder; None where the folder holds anything else."""
    return FeatureStore(path) if path.is_dir() and any(path.glob("part-*.json")) else None


def is_hdf5(path: Path) -> bool:
    return path.suffix.lower() in HDF5


def read_array(path: Path, width: int | None = None, name: str | None = None) -> np.ndarray:
    """The (T, C) array of a file, memory-mapped where that is possible.

    width: channels it should have; name: data set of an HDF5 file. Raises KinoscopeError for a file that is
    missing, empty, cut off, of another shape or lying on its side.
    """
    if not path.is_file():
        raise KinoscopeError("there is no such feature file", file=path)
    if path.stat().st_size == 0:
        raise KinoscopeError("this feature file is empty (zero bytes)", file=path, remedy=AGAIN)
    try:
        if is_hdf5(path):
            array = _hdf5(path, name)
        elif path.suffix.lower() == ".npz":
            array = _npz(path)
        else:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise KinoscopeError(
            "this feature file is damaged or of another format",
            file=path,
            value=" ".join(str(error).split())[:200],
            remedy=AGAIN,
        ) from error
    _check(array, path, width)
    return array


def _npz(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        if MEMBER not in archive.files and len(archive.files) != 1:
            raise KinoscopeError(
                f"an npz feature file holds one array, or one of the name {MEMBER}",
                file=path,
                value=archive.files,
            )
        member = MEMBER if MEMBER in archive.files else archive.files[0]
        mapped = _mapped(path, f"{member}.npy")
        array: np.ndarray = archive[member] if mapped is None else mapped
        return array


def _mapped(path: Path, member: str) -> np.ndarray | None:
    """A member of an npz file that is stored as it is, memory-mapped; None for a compressed one."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        entry = archive.getinfo(member)
        if entry.compress_type != zipfile.ZIP_STORED:
            return None
        file.seek(entry.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
        file.seek(entry.header_offset + 30 + name + extra)
        if np.lib.format.read_magic(file) != (1, 0):
            return None
        shape, transposed, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.hasobject or 0 in shape:
            return None
        order: Literal["C", "F"] = "F" if transposed else "C"
        return np.memmap(path, dtype, "r", file.tell(), shape, order)


def _hdf5(path: Path, name: str | None) -> np.ndarray:
    import h5py

    with h5py.File(path, "r") as file:
        if name is None or name not in file:
            raise KinoscopeError("this HDF5 file lacks a data set", file=path, field=name)
        return np.asarray(file[name])


def names_in(path: Path) -> list[str]:
    """Names of the data sets in an HDF5 file. Raises KinoscopeError where it is none."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return sorted(file)
    except OSError as error:
        raise KinoscopeError(
            "this HDF5 file cannot be read", file=path, value=str(error), remedy=AGAIN
        ) from error


_KNOWN: dict[tuple[Path, int, int], frozenset[str]] = {}  # asked for every video: one look a file and state


def _names(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    stat = path.stat()
    key = (path, stat.st_mtime_ns, stat.st_size)
    if key not in _KNOWN:
        _KNOWN[key] = frozenset(names_in(path))
    return _KNOWN[key]


def _check(array: np.ndarray, path: Path, width: int | None) -> None:
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise KinoscopeError(
            "features are a table of numbers (steps, channels)",
            file=path,
            value=f"{array.dtype} of shape {array.shape}",
        )
    if 0 in array.shape:
        raise KinoscopeError("this feature file holds no step", file=path, value=array.shape, remedy=AGAIN)
    if width is None or array.shape[1] == width:
        return
    if array.shape[0] == width:
        raise KinoscopeError(
            f"this array lies on its side: {width} channels are expected in the second place",
            file=path,
            value=array.shape,
            remedy="store its transpose, (steps, channels)",
        )
    raise KinoscopeError(
        f"features of {width} channels were expected",
        file=path,
        field="input_dim",
        value=array.shape,
        remedy=f"set data.input_dim={array.shape[1]}, or give the features that belong to this recipe",
    )
