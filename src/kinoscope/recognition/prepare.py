"""Downloads to the layout that the recipes read: `kinoscope prepare activitynet SOURCE TARGET` (specification 7, 11.7).

SOURCE holds the videos, in any folders, and the official class and split files (of Something-Something the official
JSON or CSV files do as well). TARGET gets both and a folder of frames a video, 360 pixels high. A stopped run goes on
where it was; damaged videos are listed in `skipped.json` and left out of the split files.

What differs from the official scripts:
1. The frames that are there are counted anew: split files for another frame rate would silently miss frames.
2. Videos are decoded in processes of this program; ffmpeg is not needed.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from kinoscope.engine.files import write_json, write_text
from kinoscope.errors import KinoscopeError
from kinoscope.recognition.data import VIDEOS
from kinoscope.recognition.splits import LAYOUTS, Layout, Record, class_names, read_split

NAMES = {
    "activitynet": "actnet",
    "fcvid": "fcvid",
    "mini-kinetics": "minik",
    "something-v1": "something-v1",
    "something-v2": "something-v2",
}
HEIGHT = 360  # pixels of a frame
IMAGES = (".jpg", ".jpeg")


def prepare(dataset: str, source: Path, target: Path, workers: int = 0) -> dict[str, Any]:
    """Writes class file, split files and frames below TARGET; counts, and the videos left out with why."""
    if not source.is_dir():
        raise KinoscopeError("there is no such folder", file=source, remedy="give the folder of the download")
    layout = LAYOUTS[NAMES[dataset]]
    root = target / layout.folder
    names, splits = _lists(layout, source)
    wanted = {record.name for records in splits.values() for record in records}
    counts, skipped = _frames(_found(source, wanted), root / layout.frames, layout, workers)
    skipped |= dict.fromkeys(
        wanted - set(counts) - set(skipped), "no video or folder of frames in the source"
    )
    write_text(root / layout.classes, "\n".join(names) + "\n")
    kept = {}
    for file, records in splits.items():
        lines = [
            layout.separator.join([r.name, str(counts[r.name]), *map(str, r.labels)])
            for r in records
            if r.name in counts
        ]
        write_text(root / file, "".join(f"{line}\n" for line in lines))
        kept[file] = len(lines)
    write_json(root / "skipped.json", skipped)
    print(f"{kept}; {len(skipped)} videos left out (skipped.json)", file=sys.stderr)
    return {"videos": kept, "skipped": skipped}


def _file(source: Path, name: str) -> Path | None:
    return next(iter(sorted(source.rglob(name))), None)


def _lists(layout: Layout, source: Path) -> tuple[list[str], dict[str, list[Record]]]:
    """Class names, and records of the split files by file name."""
    classes = _file(source, layout.classes)
    parts = {name: _file(source, name) for name in (layout.train, layout.test)}
    if classes is not None and all(parts.values()):
        names = class_names(classes)
        return names, {
            name: read_split(file, layout.separator, len(names), keep_short=True)
            for name, file in parts.items()
            if file is not None
        }
    if not layout.folder:
        lacking = [name for name in (layout.classes, *parts) if _file(source, name) is None]
        raise KinoscopeError(
            f"the official files {', '.join(lacking)} are missing",
            file=source,
            remedy="put the AR-Net split files beside the videos",
        )
    return _something(layout, source)


def _something(layout: Layout, source: Path) -> tuple[list[str], dict[str, list[Record]]]:
    """The same from Something-Something's own label, train and validation files (CSV of V1, JSON of V2)."""
    files: dict[str, Path | None] = {}
    for part in ("labels", "train", "validation"):
        for suffix in (".json", ".csv"):
            files[part] = files.get(part) or _file(source, f"*{part}{suffix}")
        if files[part] is None:
            raise KinoscopeError(
                f"the file of {part} is missing",
                file=source,
                remedy="put the official CSV or JSON files there",
            )
    rows = {part: _rows(file) for part, file in files.items() if file is not None}
    names = sorted(row[0] for row in rows["labels"])
    number = {name: k for k, name in enumerate(names)}
    splits = {}
    for file, part in ((layout.train, "train"), (layout.test, "validation")):
        try:
            splits[file] = [Record(video, 0, (number[label],)) for video, label in rows[part]]
        except (KeyError, ValueError) as error:
            raise KinoscopeError("a line has no known label", file=files[part], value=str(error)) from error
    return names, splits


def _rows(file: Path) -> list[list[str]]:
    """Rows [label] of the label file, [video, label] of the others; templates lose their brackets."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".csv":
        return [row for row in csv.reader(text.splitlines(), delimiter=";") if row]
    content = json.loads(text)
    if isinstance(content, dict):
        return [[label] for label in content]
    return [[str(item["id"]), item["template"].replace("[", "").replace("]", "")] for item in content]


def _found(source: Path, wanted: set[str]) -> dict[str, Path]:
    """Video file or folder of frames of every name that is there."""
    found: dict[str, Path] = {}
    for path in sorted(source.rglob("*")):
        if path.suffix.lower() in VIDEOS and path.is_file():
            for name in (path.stem, path.name):
                if name in wanted:
                    found[name] = path
        elif path.name in wanted and path.is_dir():
            found.setdefault(path.name, path)
    return found


def _frames(
    found: dict[str, Path], target: Path, layout: Layout, workers: int
) -> tuple[dict[str, int], dict[str, str]]:
    """Frames of every video that can be read, and why the others cannot."""
    target.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    skipped: dict[str, str] = {}
    with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
        jobs = {
            pool.submit(_extract, path, target / name, layout.image): name for name, path in found.items()
        }
        for number, job in enumerate(as_completed(jobs), 1):
            name, (count, fault) = jobs[job], job.result()
            if fault:
                skipped[name] = fault
            else:
                counts[name] = count
            if number % 500 == 0:
                print(f"{number} of {len(jobs)} videos", file=sys.stderr)
    return counts, skipped


def _extract(path: Path, folder: Path, image: str) -> tuple[int, str]:
    """Writes the frames of one video; their number, and what is wrong with the video. A finished folder is kept."""
    if folder.is_dir():
        return len(list(folder.iterdir())), ""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        count = 0
        for count, picture in enumerate(_pictures(path), 1):
            picture.save(part / image.format(count), quality=95)
        if not count:
            raise ValueError("no frame")
    except Exception as error:  # whatever a damaged file makes a decoder say
        shutil.rmtree(part, ignore_errors=True)
        return 0, f"{path}: {' '.join(str(error).split())[:200]}"
    part.rename(folder)
    return count, ""


def _pictures(path: Path) -> Iterable[Any]:
    """Pictures of a video, or of a folder of frames in the order of their names, 360 pixels high."""
    from PIL import Image

    if path.is_dir():
        for file in sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGES):
            with Image.open(file) as picture:
                yield picture.convert("RGB")
        return
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            width = round(frame.width * HEIGHT / frame.height)
            yield frame.to_image(width=width, height=HEIGHT)
