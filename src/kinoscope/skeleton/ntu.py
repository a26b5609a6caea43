"""NTU RGB+D 60 and 120: file names, splits, and arrays of 300 frames.

1. NTU-120's protocols, which the official code lacks, are the data set's own. 2. Damaged files are listed
   and left
   out. 3. Files are read in parallel.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.skeleton.skeleton_files import MAX_FRAMES, centre_cropped, read_skeleton

XSUB = frozenset((1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38))
XSUB_120 = XSUB | frozenset(
    (
        45,
        46,
        47,
        49,
        50,
        52,
        53,
        54,
        55,
        56,
        57,
        58,
        59,
        70,
        74,
        78,
        80,
        81,
        82,
        83,
        84,
        85,
        86,
        89,
        91,
        92,
        93,
        94,
        95,
        97,
        98,
        100,
        103,
    )
)


@dataclass(frozen=True)
class Name:
    """The fields of `SsssCcccPpppRrrrAaaa.skeleton`; `label` is zero-based."""

    setup: int
    camera: int
    performer: int
    label: int


def parse_name(name: str) -> Name:
    """The three characters after S, C, P and A; KinoscopeError where a name has another form."""
    try:
        fields = {letter: int(name[(at := name.index(letter) + 1) : at + 3]) for letter in "SCPA"}
    except ValueError as error:
        raise KinoscopeError("NTU files are named SsssCcccPpppRrrrAaaa", field="name", value=name) from error
    return Name(fields["S"], fields["C"], fields["P"], fields["A"] - 1)


TRAINING: dict[str, Callable[[Name], bool]] = {
    "xsub": lambda name: name.performer in XSUB,
    "xview": lambda name: name.camera in (2, 3),
    "xsub120": lambda name: name.performer in XSUB_120,
    "xset120": lambda name: name.setup % 2 == 0,
}


def listed(file: str | Path | None) -> set[str]:
    """File names that a list of missing samples (bare names, one a line) excludes."""
    if file is None:
        return set()
    return {f"{line.strip()}.skeleton" for line in Path(file).read_text().splitlines()}


def split(names: Iterable[str], benchmark: str, missing: set[str]) -> dict[str, list[str]]:
    """Sorted file names of `train` and `val`."""
    if benchmark not in TRAINING:
        raise KinoscopeError("there is no such benchmark", field="benchmark", value=benchmark)
    parts: dict[str, list[str]] = {"train": [], "val": []}
    for name in sorted(names):
        if name not in missing:
            parts["train" if TRAINING[benchmark](parse_name(name)) else "val"].append(name)
    return parts


def _read(job: tuple[Path, bool]) -> np.ndarray | str:
    path, shortened = job
    try:
        clip = read_skeleton(path, shortened=shortened)
        if not shortened and clip.shape[1] > MAX_FRAMES:
            raise KinoscopeError("the recording is longer than 300 frames", file=path, value=clip.shape[1])
    except KinoscopeError as error:
        return str(error)
    return centre_cropped(clip).astype(np.float32)


def convert(
    folder: Path,
    names: Sequence[str],
    labels: Sequence[int],
    target: Path,
    part: str,
    *,
    shortened: bool = False,
    workers: int = 0,
) -> dict[str, str]:
    """Writes `<part>_data.npy` (N, 3, 300, 25, 2) and `<part>_label.pkl`; returns the files left out,
    with why."""
    jobs = [(folder / name, shortened) for name in names]
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            clips = list(pool.map(_read, jobs, chunksize=16))
    else:
        clips = [_read(job) for job in jobs]
    bad = {name: clip for name, clip in zip(names, clips, strict=True) if isinstance(clip, str)}
    kept = [i for i, clip in enumerate(clips) if not isinstance(clip, str)]
    target.mkdir(parents=True, exist_ok=True)
    shape = (len(kept), 3, MAX_FRAMES, 25, 2)
    if kept:
        data = np.lib.format.open_memmap(target / f"{part}_data.npy", "w+", np.float32, shape)
        for row, i in enumerate(kept):
            clip = clips[i]
            assert isinstance(clip, np.ndarray)
            data[row, :, : clip.shape[1]] = clip
        data.flush()
    else:
        np.save(target / f"{part}_data.npy", np.zeros(shape, np.float32))
    table = ([names[i] for i in kept], [int(labels[i]) for i in kept])
    (target / f"{part}_label.pkl").write_bytes(pickle.dumps(table))
    return bad
