"""`kinoscope pose VIDEO...`: skeletons of the people in videos, as a neutral skeleton file."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinoscope.media.skeleton import SkeletonFile

HELP = "take skeletons from videos (mediapipe's BlazePose), for every recipe that reads skeletons"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="VIDEO", help="videos, or folders of videos")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the skeleton file (.npz)")
    parser.add_argument(
        "--fps", type=float, help="frames a second to look at (default: the videos' own, or 30)"
    )
    parser.add_argument("--processes", type=int, default=1, help="videos at once (default: %(default)s)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="columns path, label and, if known, subject: one label a video",
    )
    kind.add_argument(
        "--label-by-folder", action="store_true", help="the label of a video is its folder's name"
    )
    kind.add_argument(
        "--annotations",
        type=Path,
        metavar="FILE",
        help="ActivityNet JSON, ELAN, BORIS or VIA: actions in time",
    )


def run(options: argparse.Namespace) -> Any:
    from kinoscope.errors import KinoscopeError
    from kinoscope.media import blazepose
    from kinoscope.media.pose import Poses, pose_file
    from kinoscope.media.video_files import named_videos

    if not blazepose.installed():
        blazepose.Tracker()  # tells what is missing
    for name, value in (("--fps", options.fps), ("--processes", options.processes)):
        if value is not None and not 0 < value < float("inf"):
            raise KinoscopeError("a positive number is needed", field=name, value=value)
    if options.output.suffix != ".npz":
        raise KinoscopeError("a skeleton file ends in .npz", field="--output", value=str(options.output))
    videos = named_videos(options.inputs)
    failed: dict[str, str] = {}
    frames: dict[str, int] = {}
    share: dict[str, float] = {}
    begin = time.perf_counter()

    def report(name: str, got: Poses | KinoscopeError) -> None:
        place = f"[{len(frames) + len(failed) + 1}/{len(videos)}] {name}"
        if isinstance(got, Poses):
            frames[name], share[name] = len(got.joints), round(got.found, 4)
            line = f"{frames[name]} frames, a person in {share[name]:.1%}" + (
                f"; {got.problem}" if got.problem else ""
            )
        else:
            failed[name] = str(got)
            line = f"left out: {got}"
        print(f"{place}: {line}", file=sys.stderr, flush=True)

    skeletons = pose_file(videos, fps=options.fps, processes=options.processes, report=report)
    seconds = time.perf_counter() - begin
    skeletons = labelled(skeletons, options, videos)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    skeletons.save(options.output)
    rate = round(sum(frames.values()) / seconds, 2)
    print(f"{len(frames)} videos ({len(failed)} left out); {rate} frames/s with decoding", file=sys.stderr)
    if not options.json:
        print(options.output)
    return {
        "skeletons": str(options.output),
        "videos": list(skeletons.names),
        "frames": sum(frames.values()),
        "fps": skeletons.fps,
        "found": share,
        "frames_per_s": rate,
        "failed": failed,
    }


def labelled(skeletons: SkeletonFile, options: argparse.Namespace, videos: dict[str, Path]) -> SkeletonFile:
    """The skeletons with what the options say about the videos."""
    from kinoscope.media.labelled import read_database
    from kinoscope.media.pose import with_labels, with_segments

    if options.label_by_folder:
        return with_labels(skeletons, {name: (path.parent.name, "unknown") for name, path in videos.items()})
    if options.labels is not None:
        return with_labels(skeletons, by_stem(read_labels(options.labels), videos))
    if options.annotations is not None:
        return with_segments(skeletons, by_stem(read_database(options.annotations), videos))
    return skeletons


def read_labels(file: Path) -> dict[str, tuple[str, str]]:
    """Video (without folders and ending) -> (label, subject) of a CSV with columns path, label and perhaps subject."""
    from kinoscope.errors import KinoscopeError

    try:
        with open(file, encoding="utf-8-sig", newline="") as lines:
            return {
                Path(row["path"]).stem: (row["label"], row.get("subject") or "unknown")
                for row in csv.DictReader(lines)
            }
    except (OSError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise KinoscopeError(
            "this is no table of labels", file=file, value=str(error), remedy="columns path, label, subject"
        ) from error


def by_stem(table: dict[str, Any], videos: dict[str, Path]) -> dict[str, Any]:
    """The same table by the names that videos have here: the file's name without folders and ending decides."""
    return {name: table[path.stem] for name, path in videos.items() if path.stem in table}
