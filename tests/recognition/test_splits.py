"""Split files, frames and labels that are not as they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from kinoscope.errors import KinoscopeError
from kinoscope.recognition.data import Entry, read_images
from kinoscope.recognition.splits import official_order, read_split


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a,ten,1", "no record"),
        ("a,10", "no record"),
        ("a,10,0,1,2,3", "more than 3"),
        ("a,10,7", "beyond the 5"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "split.txt").write_text(f"good,10,1\n{line}\n")
    with pytest.raises(KinoscopeError, match=says) as caught:
        read_split(tmp_path / "split.txt", ",", 5)
    assert "line 2" in str(caught.value)


def test_missing_and_unreadable_frames_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "image_00001.jpg")
    (tmp_path / "image_00002.jpg").write_bytes(b"no image")
    entry = Entry(tmp_path, (0,), 3, "image_{:05d}.jpg")
    assert read_images(entry, [1])[0].size == (8, 6)
    with pytest.raises(KinoscopeError, match=r"image_00002\.jpg.*no readable image"):
        read_images(entry, [2])
    with pytest.raises(KinoscopeError, match=r"image_00003\.jpg.*missing"):
        read_images(entry, [3])


def test_two_labels_keep_their_order_two_times_in_three() -> None:
    draws = torch.Generator().manual_seed(0)
    kept = sum(official_order((1, 4), draws) == (1, 4) for _ in range(3000))
    assert 1900 < kept < 2100
