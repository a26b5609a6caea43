"""Several videos of one action in step: a grid as mp4, a sheet of retrieved frames, the numbers (CARL, section 13).

Different from the official programs: the videos that are named are the ones aligned, by their embeddings (quirk 31);
the result is an mp4 at the reference's own rate. Pictures are kept as JPEG, so that memory does not fill.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kinoscope.engine.files import write_json, write_text
from kinoscope.errors import KinoscopeError
from kinoscope.media.video import VideoReader
from kinoscope.representation import evaluate
from kinoscope.representation.align_page import page
from kinoscope.representation.alignment import align
from kinoscope.representation.write_video import write_video
from kinoscope.timeline import TimeAxis

Embed = Callable[[Path], tuple[np.ndarray, TimeAxis]]
HEIGHT = 240  # pixels of a picture in the grid
THUMBNAILS, THUMBNAIL_HEIGHT = 120, 96  # of a video on the page
SHEET_ROWS = 8


@dataclass(frozen=True)
class Embedded:
    """A video with its embeddings (T, D) of length one, and its pictures, one a row, as JPEG."""

    path: Path
    rows: np.ndarray
    axis: TimeAxis
    pictures: list[bytes]

    def picture(self, step: int, height: int) -> Image.Image:
        image = Image.open(io.BytesIO(self.pictures[step]))
        return image.resize((max(round(image.width * height / image.height), 1), height))


def embedded(path: Path, embed: Embed) -> Embedded:
    """One video. Raises KinoscopeError where it cannot be read or has a single frame."""
    rows, axis = embed(path)
    if len(rows) < 2:
        raise KinoscopeError("a video of one frame cannot be aligned", file=path, remedy="give a longer one")
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    times = axis.seconds(np.arange(len(rows))) - 0.5 / axis.fps  # where the middle frame of a window begins
    with VideoReader(path, short_side=HEIGHT) as video:
        shown = [_jpeg(picture.image) for picture in video.at(times.tolist())]
    return Embedded(path, rows.astype(np.float32), axis, shown)


def _jpeg(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=85)
    return out.getvalue()


def align_videos(paths: Sequence[Path], embed: Embed, folder: Path, warp: bool = True) -> dict[str, Any]:
    """Brings all videos into step with the first; writes aligned.mp4, retrieval.png, alignment.json and report.html.

    embed: path -> embeddings and their axis. warp: dynamic time warping, otherwise each frame's nearest neighbour.
    Returns Kendall's tau of every ordered pair and the matches of every video, in seconds.
    """
    if len(paths) < 2:
        raise KinoscopeError("two videos are needed", value=[str(path) for path in paths])
    folder.mkdir(parents=True, exist_ok=True)
    videos = [embedded(path, embed) for path in paths]
    first, others = videos[0], videos[1:]
    matches = [align(first.rows, other.rows, warp) for other in others]
    write_video(
        folder / "aligned.mp4", _grid(first, others, matches), first.axis.fps / first.axis.stride_frames
    )
    retrieval_sheet(videos).save(folder / "retrieval.png")
    taus = evaluate.pairwise_taus([video.rows for video in videos])
    names = [video.path.name for video in videos]
    result = {
        "method": "dtw" if warp else "nearest",
        "kendalls_tau": evaluate.kendalls_tau([video.rows for video in videos]),
        "kendalls_tau_of_pairs": {
            f"{names[i]} -> {names[j]}": float(taus[i, j])
            for i in range(len(names))
            for j in range(len(names))
            if i != j and np.isfinite(taus[i, j])
        },
        "video": str(folder / "aligned.mp4"),
        "sheet": str(folder / "retrieval.png"),
        "report": str(folder / "report.html"),
    }
    times = {
        str(other.path): np.round(other.axis.seconds(match), 4).tolist()
        for other, match in zip(others, matches, strict=True)
    }
    reference = np.round(first.axis.seconds(np.arange(len(first.rows))), 4).tolist()
    write_json(folder / "alignment.json", {**result, "reference_s": reference, "matches_s": times})
    write_text(folder / "report.html", page([_shown(video) for video in videos], result))
    return result


def _grid(first: Embedded, others: Sequence[Embedded], matches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """A picture for each step of the reference: the reference, then the matched frame of each other video."""
    columns = 2 if len(others) == 1 else min(3, len(others) + 1)
    for step in range(len(first.rows)):
        row = [first.picture(step, HEIGHT)]
        row += [o.picture(int(m[step]), HEIGHT) for o, m in zip(others, matches, strict=True)]
        yield tiled(row, columns)


def tiled(images: Sequence[Image.Image], columns: int, gap: int = 4) -> np.ndarray:
    """Pictures in rows of `columns`, each in the middle of a cell of one size; sides are even, as video needs them."""
    width, height = (max(getattr(image, side) for image in images) + gap for side in ("width", "height"))
    rows = -(-len(images) // columns)
    out = np.zeros((rows * height + rows * height % 2, columns * width + columns * width % 2, 3), np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * height, place % columns * width + (width - image.width) // 2
        out[top : top + image.height, left : left + image.width] = np.asarray(image.convert("RGB"))
    return out


def retrieval_sheet(videos: Sequence[Embedded], best: int = 5) -> Image.Image:
    """Frames of the first video at even steps, each before its nearest frames in all other videos together."""
    first, others = videos[0], videos[1:]
    keys = np.concatenate([video.rows for video in others])
    owner = [(video, step) for video in others for step in range(len(video.rows))]
    images = []
    for step in np.linspace(0, len(first.rows) - 1, min(SHEET_ROWS, len(first.rows))).round().astype(int):
        images.append(first.picture(int(step), THUMBNAIL_HEIGHT))
        near = np.argsort(evaluate.squared_distances(first.rows[step : step + 1], keys)[0], kind="stable")
        images += [owner[k][0].picture(owner[k][1], THUMBNAIL_HEIGHT) for k in near[:best]]
    return Image.fromarray(tiled(images, min(best, len(keys)) + 1))


def _shown(video: Embedded) -> dict[str, Any]:
    """What the page holds of a video: embeddings and pictures of up to THUMBNAILS even steps."""
    steps = np.linspace(0, len(video.rows) - 1, min(THUMBNAILS, len(video.rows))).round().astype(int)
    small = []
    for step in steps:
        out = io.BytesIO()
        video.picture(int(step), THUMBNAIL_HEIGHT).save(out, "JPEG", quality=70)
        small.append(out.getvalue())
    return {
        "name": video.path.name,
        "rows": video.rows[steps],
        "seconds": video.axis.seconds(steps),
        "pictures": small,
    }
