from __future__ import annotations

import errno
from pathlib import Path

import pytest

from kinoscope.engine import files
from kinoscope.errors import KinoscopeError


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a" / "b.json", {"x": 1})
    files.write_json(tmp_path / "a" / "b.json", {"x": 2})
    assert (tmp_path / "a" / "b.json").read_text() == '{\n "x": 2\n}\n'
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.json"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_text(tmp_path / "a.txt", "old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(KinoscopeError, match="disk is full"):
        files.write_text(tmp_path / "a.txt", "new")
    with pytest.raises(KinoscopeError, match="disk is full"):
        files.write_folder(tmp_path / "b", lambda folder: files.write_text(folder / "x", "1"))
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for name in ("one", "two"):
        files.write_folder(tmp_path / "f", lambda folder, n=name: (folder / n).write_text("x"))  # type: ignore[misc]
    assert [p.name for p in (tmp_path / "f").iterdir()] == ["two"]
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_folder_that_fails_half_way_is_not_there(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "x").write_text("1")
        raise OSError(errno.EIO, "broken")

    with pytest.raises(KinoscopeError, match="could not be written"):
        files.write_folder(tmp_path / "f", fill)
    assert not list(tmp_path.iterdir())
