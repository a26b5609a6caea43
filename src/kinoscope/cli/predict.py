"""`kinoscope predict MODEL INPUT...`: events, scores or embeddings for new inputs, videos above all."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HELP = "predict for video, feature or skeleton files"
TIMED = ("vtt", "elan")  # a file a video
MOST_SHOWN = 12  # videos whose skeletons or windows a report draws: as many as it plays


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="run folder, weights folder or official checkpoint")
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="videos, folders of videos, or the model's own kind"
    )
    parser.add_argument("--recipe", help="the recipe that an official checkpoint belongs to")
    parser.add_argument(
        "--all", action="store_true", help="the raw list, not only events above their threshold"
    )
    parser.add_argument(
        "--at",
        type=float,
        nargs="+",
        metavar="SECONDS",
        help="anticipation: only at these moments (default: every second)",
    )
    parser.add_argument("--format", choices=("json", "csv", "activitynet", "spotting", *TIMED), default="csv")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write there; a folder for vtt and elan of several videos"
    )
    parser.add_argument(
        "--encoder-weights",
        type=Path,
        metavar="FILE",
        help="weights of the encoder, if no package brings them",
    )
    parser.add_argument(
        "--annotated", type=Path, metavar="DIR", help="write copies of the videos with what was found"
    )
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="write a page with the videos and what was found"
    )


def run(options: argparse.Namespace) -> Any:
    from kinoscope.engine.files import write_text
    from kinoscope.errors import KinoscopeError
    from kinoscope.models import load

    model = load(options.model, options.recipe, encoder_weights=options.encoder_weights)
    more: dict[str, Any] = {}
    if options.at is not None:
        if not hasattr(model, "anticipates"):
            raise KinoscopeError("this model is not asked about moments", field="--at", value=options.at)
        more["at"] = options.at
    done: dict[str, Any] = {}
    failed: dict[str, str] = {}
    overlays: dict[str, Any] = {}
    inputs = named(options.inputs)
    for name, path in inputs.items():
        try:
            done[name] = model.predict(path, everything=options.all, name=name, **more)
            if options.report is not None and len(overlays) < MOST_SHOWN:
                overlays[name] = model.overlay
        except KinoscopeError as error:  # one bad input costs that input
            print(f"kinoscope: left out: {error}", file=sys.stderr)
            failed[str(path)] = str(error)
    if not done:
        raise KinoscopeError("not one input could be read", value=[str(path) for path in inputs.values()])
    parts = list(done.values())
    written = []
    if options.format in TIMED:
        written += timed_files(done, inputs, options)
    else:
        text = model.render(parts, "json" if options.json else options.format)
        if options.output is not None:
            write_text(options.output, text)
            written.append(options.output)
        elif not options.json:
            sys.stdout.write(text)
    if options.annotated is not None:
        written += annotated(done, inputs, options.annotated)
    result = {**model.to_json(parts), "skipped": failed}
    if options.report is not None:
        written.append(page(result, done, inputs, overlays, options.report))
    for path in written:
        print(f"written: {path}", file=sys.stderr)
    return {**result, "written": [str(path) for path in written]}


def named(inputs: list[str]) -> dict[str, Path]:
    """Name in the answer -> file: folders of videos are opened, everything else is taken as it is."""
    from kinoscope.media.video_files import is_video, named_videos

    videos = [
        given for given in inputs if is_video(given) or (Path(given).is_dir() and not is_store(Path(given)))
    ]
    found = named_videos(videos)
    return {**found, **{Path(given).stem: Path(given) for given in inputs if given not in videos}}


def is_store(folder: Path) -> bool:
    """Whether a folder holds features rather than videos: a store of ours, or an LMDB."""
    from kinoscope.media.features import store_at

    return store_at(folder) is not None or (folder / "data.mdb").is_file()


def captions(prediction: Any, name: str, path: Path) -> list[Any]:
    """What the prediction says about moments of a video."""
    from kinoscope.media.video import probe
    from kinoscope.media.video_files import is_video
    from kinoscope.timeline.captions import captions_of

    if not is_video(path):  # a file of one or of many streams
        return captions_of(prediction, None, 0.0)
    return captions_of(prediction, name, probe(path).duration_s or 0.0)


def timed_files(done: dict[str, Any], inputs: dict[str, Path], options: argparse.Namespace) -> list[Path]:
    """Subtitles or ELAN documents, one a video; a single one may go to standard output."""
    from kinoscope.engine.files import write_text
    from kinoscope.errors import KinoscopeError
    from kinoscope.timeline.captions import elan, webvtt

    if len(done) > 1 and options.output is None:
        raise KinoscopeError(
            f"{options.format} is one file a video", field="--output", remedy="name a folder"
        )
    written = []
    for name, prediction in done.items():
        found = captions(prediction, name, inputs[name])
        if options.format == "vtt":
            text, suffix = webvtt(found), ".vtt"
        else:
            text, suffix = elan(found, inputs[name].resolve().as_uri()), ".eaf"
        if options.output is None:
            sys.stdout.write(text)
            continue
        single = len(done) == 1 and not options.output.is_dir()
        target = options.output if single else options.output / f"{name}{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, text)
        written.append(target)
    return written


def annotated(done: dict[str, Any], inputs: dict[str, Path], folder: Path) -> list[Path]:
    """Copies of the videos that were given as videos."""
    from kinoscope.media.annotate import write_annotated
    from kinoscope.media.video_files import is_video

    written = []
    for name, prediction in done.items():
        if is_video(inputs[name]):
            target = folder / f"{name}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            written.append(write_annotated(inputs[name], captions(prediction, name, inputs[name]), target))
    return written


def page(
    result: dict[str, Any],
    done: dict[str, Any],
    inputs: dict[str, Path],
    overlays: dict[str, Any],
    folder: Path,
) -> Path:
    """The report of a prediction: its files and the page beside them."""
    from kinoscope.engine.files import write_json
    from kinoscope.media.video_files import is_video
    from kinoscope.report import write

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "predictions.json", result)
    rows = {name: [list(c) for c in captions(part, name, inputs[name])] for name, part in done.items()}
    write_json(folder / "captions.json", rows)
    write_json(
        folder / "videos.json", {name: str(inputs[name].resolve()) for name in done if is_video(inputs[name])}
    )
    moving = {name: part.shown for name, part in done.items() if getattr(part, "shown", None)}
    write_json(folder / "overlays.json", {**overlays, **moving})
    return write(folder)
