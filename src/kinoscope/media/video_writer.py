"""Videos that players and browsers show: H.264 (or MPEG-4, where FFmpeg lacks it) in mp4, every frame at its time."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.media.video import Picture, VideoReader

TIME_BASE = Fraction(1, 90000)
CODECS = (("libx264", {"crf": "23", "preset": "veryfast", "g": "30"}), ("mpeg4", {"qscale": "4"}))
PREVIEW_SIDE = 360  # pixels of the shorter side, at most


def write_mp4(pictures: Iterable[Picture], fps: float, target: Path) -> Path:
    """Writes pictures of one size to `target` (.mp4, without sound), complete or not at all; the path.

    The picture at time_s is shown from then on; an odd size loses a row or a column. Raises KinoscopeError.
    """
    import av

    codec, options = next((name, choice) for name, choice in CODECS if name in av.codecs_available)
    partial = target.with_name(target.name + ".partial.mp4")
    try:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as container:
            rate = Fraction(fps).limit_denominator(1001)
            stream: Any = container.add_stream(codec, rate=rate, options=options)
            for number, picture in enumerate(pictures):
                height, width = (side - side % 2 for side in picture.image.shape[:2])
                if number == 0:
                    stream.width, stream.height, stream.pix_fmt = max(width, 2), max(height, 2), "yuv420p"
                    stream.codec_context.time_base = TIME_BASE
                image = picture.image
                if min(height, width) < 2:  # no encoder takes a line
                    image = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)[
                        : max(height, 2), : max(width, 2)
                    ]
                frame = av.VideoFrame.from_ndarray(
                    np.ascontiguousarray(image[: max(height, 2), : max(width, 2)]), format="rgb24"
                )
                frame.pts, frame.time_base = round(picture.time_s / TIME_BASE), TIME_BASE
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except (av.FFmpegError, OSError) as error:
        partial.unlink(missing_ok=True)
        raise KinoscopeError(
            "the copy of a video cannot be written", file=target, value=str(error)[:160]
        ) from error
    partial.replace(target)
    return target


def write_preview(path: str | Path, target: Path) -> Path:
    """A small copy that every browser plays, whose time zero is the first frame; the path. Raises KinoscopeError."""
    with VideoReader(path) as probe:
        short = min(probe.info.height, probe.info.width)
    with VideoReader(path, short_side=min(short, PREVIEW_SIDE)) as video:
        return write_mp4(video.all(), video.info.fps, target)
