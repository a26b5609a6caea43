"""PKU-MMD I and II: long sequences cut to clips, then arrays as of NTU.

1. Clips are visited in sorted order (there: in the directory's). 2. The folder of the split files is an
   argument.
3. A label file of a single row is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kinoscope.errors import KinoscopeError

VIEWS = {"L": 1, "M": 2, "R": 3}
SPLITS = {
    1: {"xsub": "cross-subject.txt", "xview": "cross-view.txt"},
    2: {"xsub": "cross_subject_v2.txt", "xview": "cross_view_v2.txt"},
}
BODY_LINE = "6 1 0 0 1 1 0 -0.437266 -0.117168 2"


def video_fields(video: str, part: int) -> str:
    """`F002V001` of `0002-L` (part I), `A001N002V001` of `A01N02-L` (part II)."""
    try:
        stem, view = video.split("-")
        if part == 1:
            return f"F{int(stem):03d}V{VIEWS[view]:03d}"
        return f"A{int(stem[1:3]):03d}N{int(stem[4:6]):03d}V{VIEWS[view]:03d}"
    except (ValueError, KeyError) as error:
        raise KinoscopeError("this is no name of a PKU-MMD video", field="name", value=video) from error


def clip_text(rows: list[list[float]], length: int) -> str:
    """The text of one clip: `length` is what its first line says."""
    lines = [str(length)]
    for row in rows:
        two = sum(row[75:150]) != 0
        lines += ["2" if two else "1", BODY_LINE, "25"]
        for first in range(0, 150 if two else 75, 3):
            lines.append(f"{row[first]} {row[first + 1]} {row[first + 2]}")
    return "\n".join(lines) + "\n"


def cut(sequence: Path, labels: Path, part: int) -> Iterator[tuple[str, str]]:
    """(file name, text) of every labelled clip of one video."""
    try:
        rows = [
            [float(v) for v in line.split()] for line in sequence.read_text().splitlines() if line.strip()
        ]
        marks = [
            [float(v) for v in line.split(",")] for line in labels.read_text().splitlines() if line.strip()
        ]
    except (OSError, ValueError) as error:
        raise KinoscopeError(
            "the sequence or its labels cannot be read", file=sequence, value=str(error)
        ) from error
    if any(len(row) < 150 for row in rows):
        raise KinoscopeError("a frame has fewer than 150 numbers", file=sequence)
    fields = video_fields(sequence.stem, part)
    for i, (label, start, end, *_) in enumerate(marks, 1):
        first, last = int(start), int(end)
        text = clip_text([row[:150] for row in rows[first - 1 : last]], last - first + 1)
        yield f"{fields}C{int(label):03d}L{i:03d}.skeleton", text


def training_videos(folder: Path, part: int, benchmark: str) -> set[str]:
    """Training videos as name fields; a video in both lists is an error."""
    file = folder / SPLITS[part][benchmark]
    lines = file.read_text().splitlines()
    training, validation = (
        {video_fields(item.strip(), part) for item in lines[at].split(",") if item.strip()} for at in (1, 3)
    )
    if both := training & validation:
        raise KinoscopeError("videos stand in both lists", file=file, value=sorted(both))
    return training


def split(names: list[str], training: set[str], missing: set[str]) -> dict[str, list[str]]:
    """Sorted clip names of `train` and `val`: whatever is not training is validation."""
    parts: dict[str, list[str]] = {"train": [], "val": []}
    for name in sorted(names):
        if name not in missing:
            parts["train" if name[: name.index("C")] in training else "val"].append(name)
    return parts


def clip_label(name: str) -> int:
    """Zero-based class of a clip file."""
    at = name.index("C") + 1
    return int(name[at : at + 3]) - 1
