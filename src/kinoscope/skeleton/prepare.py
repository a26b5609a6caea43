"""Official raw downloads to the 50-frame arrays that the recipes read: `kinoscope prepare ntu60 SOURCE TARGET`.

Files are read in parallel and kept in blocks below TARGET/.blocks, so that a stopped run goes on where it was.
Damaged files are listed in `skipped.json` and left out; names in a `*missing*.txt` of SOURCE are left out as well.

1. Clips go straight to 50 frames: the arrays of 300 frames (30 GB for NTU-60) are never written. 2. The labels are
written beside them (officially copied by hand).
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.engine.files import write_json
from kinoscope.errors import KinoscopeError
from kinoscope.media.layouts import NTU_25
from kinoscope.skeleton import ntu, pku
from kinoscope.skeleton.downsample import downsample
from kinoscope.skeleton.label_files import read_labels
from kinoscope.skeleton.skeleton_files import MAX_FRAMES, centre_cropped, read_skeleton

FRAMES, BLOCK = 50, 500
NTU = {"ntu60": {"xsub": "xsub", "xview": "xview"}, "ntu120": {"xsub": "xsub120", "xset": "xset120"}}
PKU = {"pku-mmd-1": 1, "pku-mmd-2": 2}


def prepare(dataset: str, source: Path, target: Path, workers: int = 0) -> dict[str, Any]:
    """Writes TARGET/<benchmark>/{train,val}_{position.npy,label.pkl}; counts and the files left out, with why."""
    if not source.is_dir():
        raise KinoscopeError("there is no such folder", file=source, remedy="give the folder of the download")
    if arrays := sorted(source.rglob("*_data.npy")) or sorted(source.rglob("*_position.npy")):
        return _from_arrays(arrays, source, target)
    missing = {name for file in source.rglob("*missing*.txt") for name in ntu.listed(file)}
    skipped: dict[str, str] = {}
    if dataset in NTU:
        files = {path.name: path for path in source.rglob("*.skeleton")}
        splits = {}
        for benchmark, rule in NTU[dataset].items():
            splits[benchmark] = ntu.split(files, rule, missing)
        label = lambda name: ntu.parse_name(name).label  # noqa: E731
    else:
        part = PKU[dataset]
        files = _cut(source, target / ".clips", part, skipped)
        splits = {
            name: pku.split(list(files), pku.training_videos(_holding(source, file), part, name), missing)
            for name, file in pku.SPLITS[part].items()
        }
        label = pku.clip_label
    if not files:
        raise KinoscopeError(
            "no skeleton file lies here",
            file=source,
            remedy="unpack the download first; folders may be nested",
        )
    clips, faults = _read_all([files[n] for n in sorted(files)], target / ".blocks", dataset in PKU, workers)
    skipped |= faults
    counts = {}
    for benchmark, parts in splits.items():
        for part_name, names in parts.items():
            kept = [name for name in names if name in clips]
            _write(target / benchmark, part_name, kept, [label(name) for name in kept], clips)
            counts[f"{benchmark}/{part_name}"] = len(kept)
    write_json(target / "skipped.json", skipped)
    print(f"{counts}; {len(skipped)} files left out (skipped.json)", file=sys.stderr)
    return {"clips": counts, "skipped": skipped}


def _from_arrays(arrays: Sequence[Path], source: Path, target: Path) -> dict[str, Any]:
    """Official arrays of 300 frames brought to 50, or of 50 frames taken over; labels beside them.

    Clips without a skeleton are left out. A part that is complete in TARGET is not made again.
    """
    counts: dict[str, int] = {}
    skipped: dict[str, str] = {}
    for path in arrays:
        part, benchmark = path.name.split("_")[0], str(path.parent.relative_to(source))
        labels = path.with_name(f"{part}_label.pkl")
        if not labels.exists():
            raise KinoscopeError(
                "the labels of these arrays are missing",
                file=path,
                field=labels.name,
                remedy="the official conversion leaves them in the folder of the 300-frame arrays: put them here",
            )
        names, of = read_labels(labels)
        x = np.load(path, mmap_mode="r")
        if len(x) != len(names) or x.shape[1] != 3 or x.shape[3] != NTU_25.count:
            raise KinoscopeError(
                "the array must be (N, 3, T, 25, 2) with a name a row", file=path, value=(x.shape, len(names))
            )
        folder, kept = target / benchmark, {}
        done = folder / f"{part}_label.pkl"
        if done.exists() and (folder / f"{part}_position.npy").exists() and folder != path.parent:
            counts[f"{benchmark}/{part}"] = len(read_labels(done)[0])
            continue
        for i, name in enumerate(names):
            try:
                clip = (
                    x[i] if x.shape[2] == FRAMES else downsample(x[i], t_length=FRAMES, with_motion=False)[0]
                )
                kept[name] = np.array(clip)
            except KinoscopeError as error:
                skipped[name] = str(error)
        good = [(name, label) for name, label in zip(names, of, strict=True) if name in kept]
        _write(folder, part, [name for name, _ in good], [label for _, label in good], kept)
        counts[f"{benchmark}/{part}"] = len(good)
    write_json(target / "skipped.json", skipped)
    print(f"{counts}; {len(skipped)} clips left out (skipped.json)", file=sys.stderr)
    return {"clips": counts, "skipped": skipped}


def _holding(source: Path, name: str) -> Path:
    found = sorted(source.rglob(name))
    if not found:
        raise KinoscopeError("a file of the download is missing", file=source, field=name)
    return found[0].parent


def _cut(source: Path, target: Path, part: int, skipped: dict[str, str]) -> dict[str, Path]:
    """Clips of PKU-MMD's long sequences as files; a sequence and its labels have the same name."""
    target.mkdir(parents=True, exist_ok=True)
    texts = [
        path for path in sorted(source.rglob("*.txt")) if "-" in path.stem and path.stem[-1] in pku.VIEWS
    ]
    labels = {path.stem: path for path in texts if "label" in path.parent.name.lower()}
    files = {}
    for sequence in (path for path in texts if path not in labels.values()):
        if sequence.stem not in labels:
            skipped[sequence.name] = "it has no label file"
            continue
        try:
            for name, text in pku.cut(sequence, labels[sequence.stem], part):
                files[name] = target / name
                if not files[name].exists():
                    whole = files[name].with_suffix(".part")
                    whole.write_text(text)
                    os.replace(whole, files[name])
        except KinoscopeError as error:
            skipped[sequence.name] = str(error)
    return files


def _clip(job: tuple[Path, bool]) -> np.ndarray | str:
    path, shortened = job
    try:
        raw = read_skeleton(path, shortened=shortened)
        if not shortened and raw.shape[1] > MAX_FRAMES:
            raise KinoscopeError("the recording is longer than 300 frames", file=path, value=raw.shape[1])
        return downsample(centre_cropped(raw).astype(np.float32), t_length=FRAMES, with_motion=False)[0]
    except KinoscopeError as error:
        return str(error)


def _read_all(
    files: Sequence[Path], folder: Path, shortened: bool, workers: int
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """({file name: clip}, {file name: fault}); finished blocks are read, not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    clips: dict[str, np.ndarray] = {}
    faults: dict[str, str] = {}
    with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
        for first in range(0, len(files), BLOCK):
            block, place = files[first : first + BLOCK], folder / f"{first:06d}.npz"
            names = [path.name for path in block]
            kept = _block(place, names)
            if kept is None:
                done = list(pool.map(_clip, [(path, shortened) for path in block], chunksize=8))
                bad = {n: c for n, c in zip(names, done, strict=True) if isinstance(c, str)}
                good = [c for c in done if not isinstance(c, str)]
                x = np.stack(good) if good else np.zeros((0, 3, FRAMES, 25, 2), np.float32)
                with open(place.with_suffix(".part"), "wb") as out:
                    np.savez(out, x=x, names=np.array(names), faults=np.array(json.dumps(bad)))
                os.replace(place.with_suffix(".part"), place)
                kept = x, bad
            faults |= kept[1]
            clips |= dict(zip((n for n in names if n not in kept[1]), kept[0], strict=True))
            print(f"{min(first + BLOCK, len(files))} of {len(files)} files", file=sys.stderr)
    return clips, faults


def _block(place: Path, names: list[str]) -> tuple[np.ndarray, dict[str, str]] | None:
    """A finished block of just these files."""
    if not place.exists():
        return None
    with np.load(place) as kept:
        if kept["names"].tolist() != names:
            return None
        return kept["x"], json.loads(str(kept["faults"]))


def _write(
    folder: Path, part: str, names: list[str], labels: list[int], clips: dict[str, np.ndarray]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shape = (len(names), 3, FRAMES, 25, 2)
    if names:
        array = np.lib.format.open_memmap(folder / f"{part}_position.npy", "w+", np.float32, shape)
        for row, name in enumerate(names):
            array[row] = clips[name]
        array.flush()
    else:
        np.save(folder / f"{part}_position.npy", np.zeros(shape, np.float32))
    (folder / f"{part}_label.pkl").write_bytes(pickle.dumps((names, labels)))
