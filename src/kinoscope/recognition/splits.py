"""Split files, class files and folder layouts of the published data sets (specification 7.1-7.3, 11.7).

What differs from the official code:
1. The labels of a clip are in ascending order, all of them; the random order of the official code is drawn
   only
   where `official_order` is asked for.
2. Faults name the file and the line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from kinoscope.errors import KinoscopeError

LABELS = 3  # the official code knows at most three labels a clip
LEAST_FRAMES = 3  # shorter records are dropped


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps its files below its folder."""

    classes: str
    train: str
    test: str
    frames: str  # folder of the frame folders
    image: str  # file name of frame number `{}`
    separator: str
    task: str = "mAP"  # the headline metric
    all_labels: bool = False  # mAP counts all labels of a clip, not the first alone
    folder: str = ""  # of the data set inside the data folder


LAYOUTS = {
    "actnet": Layout(
        "classInd.txt", "actnet_train_split.txt", "actnet_val_split.txt", "frames", "image_{:05d}.jpg", ","
    ),
    "fcvid": Layout(
        "classInd.txt",
        "fcvid_train_split.txt",
        "fcvid_val_split.txt",
        "frames",
        "image_{:05d}.jpg",
        ",",
        all_labels=True,
    ),
    "minik": Layout(
        "minik_classInd.txt",
        "mini_train_videofolder.txt",
        "mini_val_videofolder.txt",
        "frames",
        "image_{:05d}.jpg",
        " ",
        "top1",
    ),
    "something-v1": Layout(
        "category.txt",
        "train_videofolder.txt",
        "val_videofolder.txt",
        "20bn-something-something-v1",
        "{:05d}.jpg",
        " ",
        "top1",
        folder="something-something-v1",
    ),
    "something-v2": Layout(
        "category.txt",
        "train_videofolder.txt",
        "val_videofolder.txt",
        "20bn-something-something-v2-frames",
        "{:06d}.jpg",
        " ",
        "top1",
        folder="something-something-v2",
    ),
}


@dataclass(frozen=True)
class Record:
    """One line of a split file. `labels` are distinct and ascending."""

    name: str
    frames: int
    labels: tuple[int, ...]

    @property
    def triple(self) -> tuple[int, int, int]:
        """The labels, padded with -1 to three."""
        a, b, c = (*self.labels, -1, -1, -1)[:LABELS]
        return a, b, c


def class_names(file: Path) -> list[str]:
    """One class name a line."""
    if not file.is_file():
        raise KinoscopeError("the file of class names is missing", file=file, remedy="one class name a line")
    return file.read_text(encoding="utf-8").rstrip("\n").split("\n")


def read_split(
    file: Path, separator: str, classes: int | None = None, keep_short: bool = False
) -> list[Record]:
    """Records of a split file: `name,frames,label[,label[,label]]` or `name frames label`.

    Space-separated names may hold spaces themselves. Records with fewer than 3 frames are dropped unless
    `keep_short`. Raises KinoscopeError for lines that are no records and labels beyond `classes`.
    """
    if not file.is_file():
        raise KinoscopeError(
            "the split file is missing", file=file, remedy="see the room's README for its form"
        )
    records = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        record = _record(line.strip(), separator, file, number, classes)
        if keep_short or record.frames >= LEAST_FRAMES:
            records.append(record)
    return records


def _record(line: str, separator: str, file: Path, number: int, classes: int | None) -> Record:
    fields = line.split(separator)
    if separator == " ":
        fields = [" ".join(fields[:-2]), *fields[-2:]]
    try:
        frames, labels = int(fields[1]), tuple(sorted({int(f) for f in fields[2:]}))
    except (ValueError, IndexError):
        frames, labels = 0, ()
    if not labels:
        raise KinoscopeError(
            f"line {number} is no record",
            file=file,
            value=line,
            remedy=f"name{separator}frames{separator}label",
        )
    if len(labels) > LABELS:
        raise KinoscopeError(f"line {number} has more than {LABELS} labels", file=file, value=line)
    if classes is not None and (labels[0] < 0 or labels[-1] >= classes):
        raise KinoscopeError(
            f"a label of line {number} lies beyond the {classes} classes",
            file=file,
            field="label",
            value=labels[-1] if labels[-1] >= classes else labels[0],
        )
    return Record(fields[0], frames, labels)


def official_order(labels: tuple[int, ...], generator: torch.Generator | None = None) -> tuple[int, ...]:
    """The order in which the official code hands out a clip's labels: random, anew at each access.

    Three: a permutation. Two: in order with probability 2/3 (with 1/2 at once, else the swap of a new draw).
    """
    if len(labels) == 3:
        return tuple(labels[i] for i in torch.randperm(3, generator=generator).tolist())
    if len(labels) == 2 and float(torch.rand(1, generator=generator)) >= 0.5:
        return official_order(labels, generator)[::-1]
    return labels
