"""Which files a command is about: videos given by name or by folder, each with a name of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kinoscope.errors import KinoscopeError

SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".ts",
    ".mts",
    ".mpg",
    ".mpeg",
    ".wmv",
    ".flv",
    ".gif",
)


def is_video(path: str | Path) -> bool:
    """Whether a file is called like a video.

    >>> is_video("a/dance.MP4"), is_video("dance.npz")
    (True, False)
    """
    return Path(path).suffix.lower() in SUFFIXES


def named_videos(inputs: Sequence[str | Path]) -> dict[str, Path]:
    """Name in the store -> file. A file is named by its stem, a file below a given folder by its path in there.

    Raises KinoscopeError for an input that is not there, a folder without videos, and two videos of one name.
    """
    found: dict[str, Path] = {}
    for given in map(Path, inputs):
        if given.is_dir():
            files = sorted(
                path for path in given.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
            )
            if not files:
                raise KinoscopeError("there is no video in this folder", file=given)
            pairs = [(path.relative_to(given).with_suffix("").as_posix(), path) for path in files]
        else:
            pairs = [(given.stem, given)]
        for name, path in pairs:
            if found.get(name, path) != path:
                raise KinoscopeError(
                    f"this video would have the same name as {found[name]}",
                    file=path,
                    value=name,
                    remedy="rename one of them, or give the folder that holds both",
                )
            found[name] = path
    return found
