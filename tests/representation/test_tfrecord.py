"""TFRecords written by hand: what is read, and what a damaged file is told."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kinoscope.errors import KinoscopeError
from kinoscope.representation.tfrecord import crc32c, masked_crc, parse_record, read_records


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def integers(values: list[int], packed: bool = True) -> bytes:
    if packed:
        return field(3, field(1, b"".join(map(varint, values))))
    return field(3, b"".join(varint(1 << 3) + varint(value) for value in values))


def entry(key: str, value: bytes) -> bytes:
    return field(1, field(1, key.encode()) + field(2, value))


def jpeg(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(file, "JPEG")
    return file.getvalue()


def payload(frames: int = 2, labels: list[int] | None = None, told: int | None = None) -> bytes:
    context = entry("name", field(1, field(1, b"pour_1"))) + entry("label", integers([-1], packed=False))
    context += entry("len", integers([frames if told is None else told]))
    lists = entry("video", b"".join(field(1, field(1, field(1, jpeg(40 * k)))) for k in range(frames)))
    if labels is not None:
        lists += entry("frame_labels", b"".join(field(1, integers([label])) for label in labels))
    return field(1, context) + field(2, lists)


def framed(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked_crc(head)) + data + struct.pack("<I", masked_crc(data))


@settings(deadline=None)
@given(st.integers(0, 3000), st.integers(0, 2**31))
def test_checksums_of_blocks_equal_those_bit_by_bit(length: int, seed: int) -> None:
    data = np.random.default_rng(seed).bytes(length)
    state = 0xFFFFFFFF
    for byte in data[:1100] if length <= 1100 else data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    assert crc32c(data) == state ^ 0xFFFFFFFF


def test_a_file_of_two_videos(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(framed(payload(2, [0, -1])) + framed(payload(3, None)))
    first, second = read_records(path)
    assert (first.name, first.label) == ("pour_1", -1)
    assert first.frame_labels is not None
    assert first.frame_labels.tolist() == [0, -1]
    assert second.frame_labels is None
    np.testing.assert_allclose(second.frames().mean((1, 2, 3)), [0, 40, 80], atol=2)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda blob: blob[:-6], "record 1: the record is cut off"),
        (lambda blob: blob + b"123", "record 2: the record is cut off"),
        (lambda blob: blob[:60] + bytes([blob[60] ^ 1]) + blob[61:], "record 0: the record has a wrong"),
        (lambda blob: bytes([blob[0] ^ 1]) + blob[1:], "wrong checksum of its length"),
    ],
)
def test_a_damaged_file_is_named_with_its_record(tmp_path: Path, damage, message: str) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(damage(framed(payload(2, [0, 1])) * 2))
    with pytest.raises(KinoscopeError, match=message):
        list(read_records(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (payload(2, [0, 1, 1]), r"pour_1\.frame_labels.*found 3"),
        (payload(2, [0, 1], told=5), r"pour_1\.len.*found 5"),
        (b"\x0a\xff", "no video"),
        (b"", "no video"),
    ],
)
def test_records_that_are_no_video(data: bytes, message: str) -> None:
    with pytest.raises(KinoscopeError, match=message):
        parse_record(data)
