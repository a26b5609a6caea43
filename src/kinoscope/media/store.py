"""Feature store: one memory-mapped array and a JSON index that knows whose features they are and when.

    store/part-000.bin     rows of all videos one after another, (sum T, C), little endian
    store/part-000.json    encoder, channels, dtype; per video: first row, length, time axis, source, problem

A writer owns one part; several processes write several parts of one store, and a reader sees them as one. Rows are
flushed to the disk before the index that names them replaces the old one, so a store that was killed anywhere holds
whole videos only, and the next writer goes on behind the last of them.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.timeline import TimeAxis

FORMAT = 1
DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class Entry:
    """One video of a store."""

    first: int  # row of the part
    length: int
    axis: TimeAxis
    source: dict[str, Any] = field(default_factory=dict)  # where from: path, size, time of change
    problem: str | None = None  # what was wrong with the video, if it was read in part

    def to_dict(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "length": self.length,
            "axis": self.axis.to_dict(),
            "source": self.source,
            "problem": self.problem,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Entry:
        return cls(
            int(values["first"]),
            int(values["length"]),
            TimeAxis.from_dict(values["axis"]),
            dict(values["source"]),
            values["problem"],
        )


@dataclass(frozen=True)
class Part:
    """The index of one part."""

    encoder: dict[str, Any]
    channels: int
    dtype: str
    entries: dict[str, Entry]

    @property
    def rows(self) -> int:
        return max((entry.first + entry.length for entry in self.entries.values()), default=0)

    def to_dict(self) -> dict[str, Any]:
        videos = {name: entry.to_dict() for name, entry in self.entries.items()}
        return {
            "format": FORMAT,
            "encoder": self.encoder,
            "channels": self.channels,
            "dtype": self.dtype,
            "videos": videos,
        }

    @classmethod
    def read(cls, path: Path) -> Part:
        """Raises KinoscopeError for an index that is damaged, of another format, or longer than its array."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] != FORMAT:
                raise KinoscopeError(
                    f"only format {FORMAT} is known", file=path, field="format", value=values["format"]
                )
            entries = {name: Entry.from_dict(entry) for name, entry in values["videos"].items()}
            part = cls(values["encoder"], int(values["channels"]), str(values["dtype"]), entries)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise KinoscopeError(
                "this index of a feature store is damaged", file=path, value=str(error)[:160]
            ) from error
        array = path.with_suffix(".bin")
        have = array.stat().st_size if array.is_file() else 0
        need = part.rows * part.channels * np.dtype(part.dtype).itemsize
        if have < need:
            raise KinoscopeError(
                f"this array is shorter than the {need} bytes of its index",
                file=array,
                value=have,
                remedy="delete this part, extract its videos again",
            )
        return part


class FeatureStore:
    """A store opened for reading. Raises KinoscopeError where there is none, or its parts do not belong together."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        indices = sorted(self.folder.glob("part-*.json"))
        if not indices:
            raise KinoscopeError(
                "there is no feature store here", file=folder, remedy="make one with kinoscope extract"
            )
        self._parts = {path: Part.read(path) for path in indices}
        first = next(iter(self._parts.values()))
        for path, part in self._parts.items():
            if (part.encoder, part.channels) != (first.encoder, first.channels):
                raise KinoscopeError(
                    f"this part is of another encoder than {indices[0].name}: {first.encoder}",
                    file=path,
                    field="encoder",
                    value=part.encoder,
                )
        self.encoder, self.channels = first.encoder, first.channels
        self._place = {name: path for path, part in self._parts.items() for name in part.entries}

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, video: object) -> bool:
        return video in self._place

    @property
    def videos(self) -> list[str]:
        """Names, sorted."""
        return sorted(self._place)

    def entry(self, video: str) -> Entry:
        if video not in self._place:
            raise KinoscopeError("this video is not in the store", file=self.folder, value=video)
        return self._parts[self._place[video]].entries[video]

    def axis(self, video: str) -> TimeAxis:
        return self.entry(video).axis

    def features(self, video: str) -> np.ndarray:
        """Rows (T, C) of one video, memory-mapped: what is not looked at is not read."""
        entry, path = self.entry(video), self._place[video]
        dtype = np.dtype(self._parts[path].dtype)
        rows = np.memmap(
            path.with_suffix(".bin"),
            dtype,
            mode="r",
            offset=entry.first * self.channels * dtype.itemsize,
            shape=(entry.length, self.channels),
        )
        return rows

    def require(self, encoder: dict[str, Any], video: str, axis: TimeAxis) -> None:
        """Refuses features of another encoder or on another axis than a model was trained on; prints both."""
        if self.encoder != encoder:
            raise KinoscopeError(
                f"the model was trained on features of {encoder}",
                file=self.folder,
                field="encoder",
                value=self.encoder,
                remedy="extract with that encoder",
            )
        if self.axis(video) != axis:
            raise KinoscopeError(
                f"the model was trained on features with the axis {axis}",
                file=self.folder,
                field=video,
                value=self.axis(video),
                remedy="extract with that fps, window and stride",
            )


class StoreWriter:
    """One part of a store, opened for adding videos; use it in `with`.

    encoder: what made the features, as plain JSON values. Raises KinoscopeError where another process writes this
    part, or where the store holds features of another encoder.
    """

    def __init__(
        self,
        folder: str | Path,
        encoder: dict[str, Any],
        channels: int,
        *,
        dtype: str = "float32",
        part: int = 0,
    ) -> None:
        if dtype not in DTYPES:
            raise KinoscopeError(
                "features are stored as", field="dtype", value=dtype, remedy=f"one of {DTYPES}"
            )
        self.index = Path(folder) / f"part-{part:03d}.json"
        self.index.parent.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.index.with_suffix(".lock"), "w")  # noqa: SIM115 - held as long as the writer
        try:
            self._claim()
            self._part = self._continued(json.loads(json.dumps(encoder)), channels, dtype)
            self._array = self._opened()
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._array.close()
        self._lock.close()

    def holds(self, video: str, source: dict[str, Any]) -> bool:
        """Whether this part holds the video, made from the same source."""
        entry = self._part.entries.get(video)
        return entry is not None and entry.source == source

    def add(
        self,
        video: str,
        blocks: Iterable[np.ndarray],
        axis: TimeAxis,
        *,
        source: dict[str, Any] | None = None,
        problem: Any = None,
    ) -> int:
        """Appends the blocks (T_i, C) of one video as they come; the number of rows.

        problem: a text, or a function that gives it once the last block has come. Whatever `blocks` raises leaves
        the store as it was. Raises KinoscopeError for no rows, another shape and values that are not finite.
        """
        first, length = self._part.rows, 0
        row = self._part.channels * np.dtype(self._part.dtype).itemsize
        self._array.seek(first * row)
        self._array.truncate()
        for block in blocks:
            self._array.write(self._checked(video, block).tobytes())
            length += len(block)
        if length == 0:
            raise KinoscopeError("there is not one step of features", field=video)
        self._array.flush()
        os.fsync(self._array.fileno())
        text = problem() if callable(problem) else problem
        self._part.entries[video] = Entry(first, length, axis, dict(source or {}), text)
        _replace(self.index, json.dumps(self._part.to_dict(), indent=1, ensure_ascii=False))
        return length

    def _checked(self, video: str, block: np.ndarray) -> np.ndarray:
        if block.ndim != 2 or block.shape[1] != self._part.channels:
            raise KinoscopeError(
                f"features of {self._part.channels} channels were expected", field=video, value=block.shape
            )
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(block, np.dtype(self._part.dtype).newbyteorder("<"))
        if not np.isfinite(values).all():
            raise KinoscopeError(
                f"features are not finite as {self._part.dtype}",
                field=video,
                remedy="check the encoder's weights; float16 ends at 65504",
            )
        return values

    def _claim(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise KinoscopeError(
                "another process is writing this part of the store",
                file=self.index,
                remedy="wait for it, or give each process its own --shard",
            ) from error

    def _continued(self, encoder: dict[str, Any], channels: int, dtype: str) -> Part:
        new = Part(encoder, channels, dtype, {})
        others = sorted(self.index.parent.glob("part-*.json"))
        for path in others:
            old = Part.read(path)
            if (old.encoder, old.channels) != (encoder, channels) or (
                path == self.index and old.dtype != dtype
            ):
                raise KinoscopeError(
                    f"this store holds features of {old.encoder}, {old.dtype}",
                    file=path,
                    field="encoder",
                    value={**encoder, "dtype": dtype},
                    remedy="give another --output",
                )
            if path == self.index:
                new = old
        return new

    def _opened(self) -> BinaryIO:
        array = self.index.with_suffix(".bin")
        array.touch()
        return open(array, "r+b")


def _replace(path: Path, text: str) -> None:
    """`text` as the whole content of `path`, or the old content: never half of it."""
    partial = path.with_suffix(".partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
