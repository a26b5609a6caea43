"""Official downloads to the layout that the recipes read: `kinoscope prepare pouring SOURCE TARGET` (section 8).

TARGET is the recipes' `data.root`. Videos are written in parallel, each whole or not at all, and one that is there is
not written again; what is damaged or missing is listed in `<data set>/skipped.json` and left out.

| data set | read below SOURCE |
|---|---|
| pouring | pouring_train*.tfrecord, pouring_val*.tfrecord |
| penn-action | frames/<id>/*.jpg, labels/<id>.mat, <split>/<action>/<id>*.npy; or penn_action_{train,val}*.tfrecord |
| finegym | finegym_annotation_info_v1.0.json, gym{99,288}_*element*.txt, FineGym_Raw_database/<id>.{mp4,mkv,webm} |
| kinetics400 | train/<class>/*.mp4 |

Different from the official scripts: records keep the order of the files, events that of their names (quirk 30); no tail
is lost (28); an event is cut where it begins and brought to 640 x 360 at 25 frames a second in one pass (29).
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from kinoscope.engine.files import write_bytes, write_json
from kinoscope.errors import KinoscopeError
from kinoscope.media.video import VideoReader
from kinoscope.representation import finegym
from kinoscope.representation.official_config import PENN_ACTIONS
from kinoscope.representation.official_data import DAMAGED, Entry
from kinoscope.representation.published import counted
from kinoscope.representation.tfrecord import VideoRecord, read_records
from kinoscope.representation.write_video import write_video

FPS = 25
BUCKET = "https://storage.googleapis.com/tcc-pouring"
POURING = ("pouring_train-0-of-2.tfrecord", "pouring_train-1-of-2.tfrecord", "pouring_val-0-of-1.tfrecord")
LEFT_OUT = ("strum_guitar", "jump_rope")  # actions of Penn Action without phases
RAW = (".mp4", ".mkv", ".webm")
A = TypeVar("A")
B = TypeVar("B")


def prepare(dataset: str, source: Path, target: Path) -> dict[str, Any]:
    """Writes TARGET/<data set>; {"videos": {split: count}, "skipped": {name: why}}. Raises KinoscopeError."""
    if not source.is_dir():
        raise KinoscopeError("there is no such folder", file=source, remedy=_how(dataset))
    skipped: dict[str, str] = {}
    counts = DATASETS[dataset](source, target, skipped)
    folder = target / FOLDERS[dataset]
    write_json(folder / "skipped.json", skipped)
    print(f"{counts}; {len(skipped)} left out (skipped.json)", file=sys.stderr)
    return {"videos": counts, "skipped": skipped, "folder": str(folder)}


def _how(dataset: str) -> str:
    """How the files are had, in commands; nothing is downloaded here."""
    if dataset == "pouring":
        return (
            "; ".join(f"curl -O {BUCKET}/{name}" for name in POURING)
            + "; note their sha256sum for your records"
        )
    return "unpack the download of its authors there; docs/coming_from/carl.md names the files"


def _parallel(run: Callable[[A], B], jobs: Sequence[A]) -> Iterator[tuple[A, B | KinoscopeError]]:
    """(job, its answer or its error), in order; threads, since encoding runs outside Python."""

    def tried(job: A) -> B | KinoscopeError:
        try:
            return run(job)
        except KinoscopeError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, (job, answer) in enumerate(zip(jobs, pool.map(tried, jobs), strict=True), 1):
            if number % 50 == 0 or number == len(jobs):
                print(f"{number} of {len(jobs)}", file=sys.stderr)
            yield job, answer


# -- records --------------------------------------------------------------------------------------------------


def _from_records(
    name: str, source: Path, target: Path, skipped: dict[str, str], label_of: Callable[[str], int | None]
) -> dict[str, int]:
    """Videos and pickles of record files; label_of: name -> label of the video, None to leave it out."""
    folder, counts = target / name, {}

    def run(path: Path) -> tuple[list[tuple[str, np.ndarray]], dict[str, str]]:
        """(name, phases) of the videos of a file; one that is damaged gives those before the damage."""
        done, faults = [], {}
        try:
            for record in read_records(path):
                if label_of(record.name) is not None:
                    try:
                        done.append(
                            (record.name, _record_video(record, folder / "videos" / f"{record.name}.mp4"))
                        )
                    except KinoscopeError as error:
                        faults[record.name] = str(error)
        except KinoscopeError as error:
            faults[path.name] = f"{error}: the records from there on are lost"
        return done, faults

    for split in ("train", "val"):
        rows: list[dict[str, Any]] = []
        for _, answer in _parallel(run, sorted(source.rglob(f"{name}_{split}*"))):
            assert not isinstance(answer, KinoscopeError)
            skipped.update(answer[1])
            for video, labels in answer[0]:
                rows.append(_row(len(rows), video, f"videos/{video}.mp4", labels, label_of(video) or 0, name))
        _write_split(folder / f"{split}.pkl", rows, name)
        counts[split] = len(rows)
    return counts


def _record_video(record: VideoRecord, place: Path) -> np.ndarray:
    """Writes the video of a record; the phase of each frame, -1 where the record has none."""
    if not place.exists():
        try:
            frames = record.frames()
        except (OSError, ValueError) as error:  # Pillow's, of a damaged JPEG
            raise KinoscopeError(
                "a frame of this record cannot be read", field=record.name, value=str(error)
            ) from error
        write_video(place, frames, FPS)
    labels = record.frame_labels
    return np.full(len(record.jpegs), -1) if labels is None else labels


def _penn_label(name: str) -> int | None:
    """The label of `<4-digit id>_<action>`."""
    return PENN_ACTIONS.index(name[5:]) if name[5:] in PENN_ACTIONS else None


def _row(number: int, name: str, file: str, labels: np.ndarray, label: int, dataset: str) -> dict[str, Any]:
    row = {"id": number, "name": name, "video_file": file, "seq_len": len(labels)}
    row["frame_label"] = torch.from_numpy(np.asarray(labels, np.int64))
    return row if dataset == "pouring" else {**row, "action_label": label}


def _write_split(path: Path, rows: list[dict[str, Any]], dataset: str) -> None:
    """The official pickle; Penn Action has the videos of each action beside the list."""
    content: Any = rows
    if dataset == "penn_action":
        content = (
            rows,
            [[k for k, r in enumerate(rows) if r["action_label"] == a] for a in range(len(PENN_ACTIONS))],
        )
    write_bytes(path, pickle.dumps(content))


def _pouring(source: Path, target: Path, skipped: dict[str, str]) -> dict[str, int]:
    if not any(source.rglob("pouring_*")):
        raise KinoscopeError("no record of Pouring lies here", file=source, remedy=_how("pouring"))
    return _from_records("pouring", source, target, skipped, lambda name: -1)


# -- Penn Action ----------------------------------------------------------------------------------------------


def _penn_action(source: Path, target: Path, skipped: dict[str, str]) -> dict[str, int]:
    if any(source.rglob("penn_action_*.tfrecord")):
        return _from_records(
            "penn_action",
            source,
            target,
            skipped,
            lambda n: PENN_ACTIONS.index(n[5:]) if n[5:] in PENN_ACTIONS else None,
        )
    labels = {split: _phase_files(source, split) for split in ("train", "val")}
    if not any(labels.values()):
        raise KinoscopeError(
            "there are no phase labels (<split>/<action>/<id>*.npy)",
            file=source,
            remedy="put the folder penn_action_labels there",
        )
    folders = sorted(path for path in source.rglob("frames/*") if path.is_dir())
    actions = {path.name: _action(source, path.name) for path in folders}
    counts = {}
    for split, files in labels.items():
        jobs = [path for path in folders if path.name in files and actions[path.name] in PENN_ACTIONS]

        def run(folder: Path, files: dict[str, Path] = files) -> np.ndarray:
            name = f"{folder.name}_{actions[folder.name]}"
            return _penn_video(folder, files[folder.name], target / "penn_action" / "videos" / f"{name}.mp4")

        rows: list[dict[str, Any]] = []
        for folder, phases in _parallel(run, jobs):
            action = actions[folder.name]
            name = f"{folder.name}_{action}"
            if isinstance(phases, KinoscopeError):
                skipped[name] = str(phases)
                continue
            label = PENN_ACTIONS.index(action)
            rows.append(_row(len(rows), name, f"videos/{name}.mp4", phases, label, "penn_action"))
        _write_split(target / "penn_action" / f"{split}.pkl", rows, "penn_action")
        counts[split] = len(rows)
    for path in folders:
        if actions[path.name] not in LEFT_OUT and not any(path.name in files for files in labels.values()):
            skipped[path.name] = "it has no phase labels"
    return counts


def _phase_files(source: Path, split: str) -> dict[str, Path]:
    """{video id: its file of phases}."""
    return {path.name[:4]: path for path in sorted(source.rglob(f"{split}/*/*.npy"))}


def _action(source: Path, video: str) -> str:
    """The action of a video out of its .mat file; "" where that cannot be read."""
    from scipy.io import loadmat

    file = next(iter(sorted(source.rglob(f"labels/{video}.mat"))), None)
    if file is None:
        return ""
    try:
        return str(np.asarray(loadmat(str(file))["action"]).reshape(-1)[0])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return ""


def _penn_video(folder: Path, phases: Path, place: Path) -> np.ndarray:
    """Frames squashed to 224 x 224, written; the phase of each. The longer of both is thinned out to the shorter."""
    try:
        labels = np.load(phases).reshape(-1).astype(np.int64)
    except (OSError, ValueError) as error:
        raise KinoscopeError("these phases cannot be read", file=phases, value=str(error)[:120]) from error
    files = sorted(folder.glob("*.jpg"))
    count = min(len(files), len(labels))
    if not count:
        raise KinoscopeError("this video has no frames or no labels", file=folder)
    if not place.exists():
        write_video(place, (_squashed(files[k]) for k in thinned(len(files), count)), FPS)
    return labels[thinned(len(labels), count)]


def thinned(length: int, count: int) -> np.ndarray:
    """Element floor(j * length / count) for each j.

    >>> thinned(7, 3).tolist()
    [0, 2, 4]
    """
    return np.arange(count) * length // count


def _squashed(file: Path) -> np.ndarray:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))
    except OSError as error:
        raise KinoscopeError("this frame cannot be read", file=file, value=str(error)[:120]) from error


# -- FineGym --------------------------------------------------------------------------------------------------


def _finegym(source: Path, target: Path, skipped: dict[str, str]) -> dict[str, int]:
    """Both gyms, and the events that neither of them lists (the additional training set)."""
    annotations = _annotations(source / "finegym_annotation_info_v1.0.json")
    lists = {
        f"gym{n}_{part}": finegym.read_elements(source / file)
        for n in (99, 288)
        for part, file in (
            ("train_v1.0", f"gym{n}_train_element_v1.0.txt"),
            ("val", f"gym{n}_val_element.txt"),
        )
        if (source / file).is_file()
    }
    if not lists:
        raise KinoscopeError(
            "there is no element list", file=source, remedy="gym99_train_element_v1.0.txt and others"
        )
    folder = target / "finegym"
    listed = sorted({finegym.event_of(element) for table in lists.values() for element in table})
    more = finegym.unlabelled_events(annotations, list(lists.values()))
    lengths: dict[str, int] = {}
    for names, place in ((listed, "processed_videos"), (more, "additional_processed_videos")):
        jobs = [(name, folder / place / f"{name}.mp4") for name in names]

        def run(job: tuple[str, Path]) -> int:
            return _event_video(annotations, *job, source / "FineGym_Raw_database")

        for (name, _), answer in _parallel(run, jobs):
            if isinstance(answer, KinoscopeError):
                skipped[name] = str(answer)
            else:
                lengths[name] = answer
    counts = {}
    for part, table in lists.items():
        kept = {element: label for element, label in table.items() if finegym.event_of(element) in lengths}
        entries = finegym.events(annotations, kept, lambda name: (float(FPS), lengths[name]))
        _write_gym(folder / f"{part}.pkl", entries)
        counts[part] = len(entries)
    additional = [
        Entry(k, name, f"additional_processed_videos/{name}.mp4", lengths[name], np.full(lengths[name], -1))
        for k, name in enumerate(name for name in more if name in lengths)
    ]
    _write_gym(folder / "additional_v1.0.pkl", additional)
    return {**counts, "additional": len(additional)}


def _annotations(path: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        found: Mapping[str, Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KinoscopeError(
            "the annotations cannot be read", file=path, value=str(error)[:120], remedy=_how("finegym")
        ) from error
    return found


def _event_video(annotations: Mapping[str, Mapping[str, Any]], name: str, place: Path, raw: Path) -> int:
    """Cuts one event out of its video, 640 x 360 at 25 frames a second; its number of frames."""
    if place.exists():
        return counted(place)
    video, event = name.rsplit("_E_", 1)
    file = next((raw / f"{video}{end}" for end in RAW if (raw / f"{video}{end}").is_file()), None)
    if file is None:
        raise KinoscopeError("its video is missing", file=raw / video, remedy="download it, then start again")
    start, end = annotations[video][f"E_{event}"]["timestamps"][0]
    times = float(start) + np.arange(max(round((float(end) - float(start)) * FPS), 1)) / FPS
    with VideoReader(file, size=(360, 640)) as reader:
        shown = (picture.image for picture in reader.at(times.tolist()) if not picture.missing)
        count = write_video(place, shown, FPS)
    if not count:
        raise KinoscopeError("the video ends before this event", file=file, field=name, value=start)
    return count


def _write_gym(path: Path, entries: Sequence[Entry]) -> None:
    rows = [
        {
            "id": e.id,
            "name": e.name,
            "video_file": e.video_file,
            "seq_len": e.seq_len,
            "frame_label": torch.from_numpy(e.frame_label).float(),
            "event_label": e.label,
        }
        for e in entries
    ]
    write_bytes(path, pickle.dumps(rows))


# -- Kinetics-400 ---------------------------------------------------------------------------------------------


def _kinetics400(source: Path, target: Path, skipped: dict[str, str]) -> dict[str, int]:
    """Looks every video over; the list of the good ones, with paths relative to TARGET."""
    videos = sorted((source / "train").glob("*/*.mp4"))
    if not videos:
        raise KinoscopeError("there is no train/<class>/*.mp4", file=source, remedy=_how("kinetics400"))
    labels = {name: k for k, name in enumerate(sorted({path.parent.name for path in videos}))}

    def look(path: Path) -> None:
        if f"{path.parent.name}/{path.name}" in DAMAGED:
            raise KinoscopeError("it is known to be damaged", file=path)
        with VideoReader(path) as reader:
            next(reader.all())

    lines: list[str] = []
    for path, answer in _parallel(look, videos):
        if isinstance(answer, KinoscopeError):
            skipped[f"{path.parent.name}/{path.name}"] = str(answer)
        else:
            lines.append(f"{os.path.relpath(path.resolve(), target.resolve())},{labels[path.parent.name]}")
    write_bytes(target / "Kinetics400" / "train.csv", ("\n".join(lines) + "\n").encode())
    return {"train": len(lines)}


DATASETS = {
    "pouring": _pouring,
    "penn-action": _penn_action,
    "finegym": _finegym,
    "kinetics400": _kinetics400,
}
FOLDERS = {
    "pouring": "pouring",
    "penn-action": "penn_action",
    "finegym": "finegym",
    "kinetics400": "Kinetics400",
}
