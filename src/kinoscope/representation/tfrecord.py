"""TFRecords of videos without TensorFlow (CARL, section 8.1): a record is a `SequenceExample` of JPEG frames.

A file is a row of records: length (uint64) | its checksum | payload | its checksum; checksums are masked CRC32C.
Every checksum is verified, and a cut file is an error. JPEG frames are decoded by Pillow, whose numbers differ from
TensorFlow's by a few grey levels.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError

REMEDY = "download the file again"


@dataclass(frozen=True)
class VideoRecord:
    """name; label of the video, -1 for none; jpegs: encoded frames; frame_labels (T,) int64, None where absent."""

    name: str
    label: int
    jpegs: list[bytes]
    frame_labels: np.ndarray | None

    def frames(self) -> np.ndarray:
        """(T, H, W, 3) uint8."""
        from PIL import Image

        return np.stack([np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")) for jpeg in self.jpegs])


# -- checksums ----------------------------------------------------------------------------------------------


@cache
def _table() -> np.ndarray:
    """CRC32C of every byte: the reflected polynomial 0x82F63B78."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table.astype(np.uint32)


def _step(state: np.ndarray, data: np.ndarray) -> np.ndarray:
    return np.asarray(_table()[(state ^ data) & 0xFF] ^ (state >> 8))


@cache
def _skip(length: int) -> np.ndarray:
    """(4, 256) tables that move a state over `length` zero bytes, byte by byte of the state."""
    state = (np.arange(256, dtype=np.uint32)[None] << (8 * np.arange(4, dtype=np.uint32))[:, None]).ravel()
    for _ in range(length):
        state = _step(state, np.zeros_like(state))
    return state.reshape(4, 256)


def crc32c(data: bytes) -> int:
    """CRC32C (Castagnoli). Blocks of 1,024 bytes run side by side, then their states are joined: CRCs are linear.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    block = 1024
    values = np.frombuffer(data, np.uint8).astype(np.uint32)
    whole = len(values) // block
    state = 0xFFFFFFFF
    if whole:
        rows = values[: whole * block].reshape(whole, block).T.copy()
        states = np.zeros(whole, np.uint32)
        for column in rows:
            states = _step(states, column)
        skip = [table.tolist() for table in _skip(block)]
        for own in states.tolist():
            a, b, c, d = state & 255, state >> 8 & 255, state >> 16 & 255, state >> 24
            state = skip[0][a] ^ skip[1][b] ^ skip[2][c] ^ skip[3][d] ^ own
    table = _table().tolist()
    for value in values[whole * block :].tolist():
        state = table[(state ^ value) & 0xFF] ^ (state >> 8)
    return state ^ 0xFFFFFFFF


def masked_crc(data: bytes) -> int:
    """The checksum as the files hold it."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read_payloads(path: Path) -> Iterator[bytes]:
    """The records of a file. Raises KinoscopeError at a wrong checksum or a cut record, with its number."""
    with open(path, "rb") as file:
        for number in range(2**62):
            head = file.read(12)
            if not head:
                return
            if len(head) < 12:
                raise _damaged(path, number, "is cut off")
            if masked_crc(head[:8]) != struct.unpack("<I", head[8:])[0]:
                raise _damaged(path, number, "has a wrong checksum of its length")
            (length,) = struct.unpack("<Q", head[:8])
            body = file.read(length + 4)
            if len(body) < length + 4:
                raise _damaged(path, number, "is cut off")
            if masked_crc(body[:-4]) != struct.unpack("<I", body[-4:])[0]:
                raise _damaged(path, number, "has a wrong checksum")
            yield body[:-4]


def _damaged(path: Path, number: int, what: str) -> KinoscopeError:
    return KinoscopeError(f"the record {what}", file=path, field=f"record {number}", remedy=REMEDY)


# -- protocol buffers -----------------------------------------------------------------------------------------


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of a message: bytes of length-delimited fields, whole numbers of the others."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        value: Any
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise IndexError("a field is longer than its message")
            value, at = data[at : at + size], at + size
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"wire type {kind}")
        yield tag >> 3, value


def _feature(data: bytes) -> list[Any]:
    """The values of a Feature: bytes, floats or whole numbers, packed or not."""
    values: list[Any] = []
    for kind, block in _fields(data):
        for _, value in _fields(block):
            if kind == 1:
                values.append(value)
            elif kind == 2:
                values += struct.unpack(f"<{len(value) // 4}f", value)
            elif isinstance(value, int):
                values.append(_signed(value))
            else:
                at = 0
                while at < len(value):
                    number, at = _varint(value, at)
                    values.append(_signed(number))
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _entries(data: bytes) -> dict[str, bytes]:
    """The map of a Features or FeatureLists message."""
    found = {}
    for _, entry in _fields(data):
        parts = dict(_fields(entry))
        found[parts.get(1, b"").decode()] = parts.get(2, b"")
    return found


def parse_record(payload: bytes) -> VideoRecord:
    """A SequenceExample with `name`, `len`, `label` and the lists `video` and `frame_labels`; labels may be absent.

    Raises KinoscopeError where it is none, or where frames, labels and `len` do not agree.
    """
    try:
        parts = dict(_fields(payload))
        context = {key: _feature(value) for key, value in _entries(parts.get(1, b"")).items()}
        lists = {
            key: [_feature(feature) for _, feature in _fields(value)]
            for key, value in _entries(parts.get(2, b"")).items()
        }
        name = context["name"][0].decode()
        jpegs = [feature[0] for feature in lists["video"]]
    except (IndexError, ValueError, KeyError, AttributeError) as error:
        raise KinoscopeError(
            f"the record is no video with its name ({error})",
            remedy="give records of the Pouring or Penn Action preparation",
        ) from error
    labels = np.array([f[0] for f in lists["frame_labels"]], np.int64) if "frame_labels" in lists else None
    told = context.get("len", [len(jpegs)])[0]
    for what, count in (("len", told), ("frame_labels", len(jpegs) if labels is None else len(labels))):
        if count != len(jpegs):
            raise KinoscopeError(
                f"the record has {len(jpegs)} frames", field=f"{name}.{what}", value=count, remedy=REMEDY
            )
    return VideoRecord(name, int(context.get("label", [-1])[0]), jpegs, labels)


def read_records(path: Path) -> Iterator[VideoRecord]:
    """The videos of a file, in its order."""
    for payload in read_payloads(path):
        try:
            yield parse_record(payload)
        except KinoscopeError as error:
            raise KinoscopeError(
                error.problem, file=path, field=error.field, value=error.value, remedy=error.remedy
            ) from error
