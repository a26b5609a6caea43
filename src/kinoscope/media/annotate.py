"""A copy of a video with what was predicted written into the picture: the text that holds, and a bar of all of it."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from kinoscope.media.video import Picture, VideoReader
from kinoscope.media.video_writer import write_mp4
from kinoscope.timeline.captions import Caption

BAR, MARGIN = 10, 4  # pixels
SHOWN = 4  # texts at once


def write_annotated(path: str | Path, captions: Sequence[Caption], target: Path) -> Path:
    """Writes the copy to `target` (.mp4, without sound), every frame at its own time; the path.

    Raises KinoscopeError where the video cannot be read or the copy cannot be written.
    """
    with VideoReader(path) as video:
        duration = video.info.duration_s or max((caption.end_s for caption in captions), default=0.0)
        bar = bar_of(captions, duration, video.size[1])

        def pictures() -> Iterator[Picture]:
            for picture in video.all():
                draw(image := picture.image.copy(), captions, picture.time_s, bar, duration)
                yield replace(picture, image=image)

        return write_mp4(pictures(), video.info.fps, target)


def draw(
    image: np.ndarray, captions: Sequence[Caption], time_s: float, bar: np.ndarray, duration_s: float
) -> None:
    """Into `image` (H, W, 3): texts that hold at `time_s` above, the bar with the place in it below."""
    holding = [c for c in captions if c.start_s <= time_s < max(c.end_s, c.start_s + 0.5)]
    top = MARGIN
    for caption in sorted(holding, key=lambda c: -c.score)[:SHOWN]:
        box = text_box(
            f"{caption.text} {caption.score:.2f}", max(12, image.shape[0] // 20), colour(caption.text)
        )
        height, width = min(box.shape[0], image.shape[0] - top), min(box.shape[1], image.shape[1] - MARGIN)
        if height <= 0 or width <= 0:
            break
        image[top : top + height, MARGIN : MARGIN + width] = box[:height, :width]
        top += height + MARGIN
    if len(bar) <= image.shape[0]:
        image[-len(bar) :] = bar
        at = min(int(time_s / duration_s * image.shape[1]) if duration_s else 0, image.shape[1] - 1)
        image[-len(bar) :, max(at - 1, 0) : at + 1] = 255


def bar_of(captions: Sequence[Caption], duration_s: float, width: int) -> np.ndarray:
    """(BAR, width, 3): the whole video from left to right, in the colours of its captions; the surest lie on top."""
    bar = np.full((BAR, width, 3), 40, np.uint8)
    for caption in sorted(captions, key=lambda c: c.score):
        if duration_s > 0:
            first, last = (int(time / duration_s * width) for time in (caption.start_s, caption.end_s))
            bar[:, first : max(last, first + 1)] = colour(caption.text)
    return bar


@cache
def colour(text: str) -> tuple[int, int, int]:
    """A colour for a label: the same in every video."""
    import zlib

    hue = zlib.crc32(text.encode()) % 360 / 360
    red, green, blue = colorsys.hls_to_rgb(hue, 0.45, 0.7)
    return round(red * 255), round(green * 255), round(blue * 255)


@cache
def text_box(text: str, size: int, ground: tuple[int, int, int]) -> np.ndarray:
    """(h, w, 3) white text on a ground."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("RGB", (round(right - left) + 2 * MARGIN, round(bottom - top) + 2 * MARGIN), ground)
    ImageDraw.Draw(image).text((MARGIN - left, MARGIN - top), text, "white", font)
    return np.asarray(image)
