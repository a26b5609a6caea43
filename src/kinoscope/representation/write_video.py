"""Pictures to a video file, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np


def write_video(path: Path, pictures: Iterable[np.ndarray], fps: float) -> int:
    """Pictures (H, W, 3) uint8 of one size, with even sides, as H.264; their number.

    MPEG-4 where H.264 is not built in. The file appears under its name when it is complete, and not without a picture.
    """
    import av

    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    count = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(str(part), "w") as out:
            stream: Any = out.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
            stream.pix_fmt = "yuv420p"
            for picture in pictures:
                if not count:
                    stream.height, stream.width = picture.shape[:2]
                out.mux(
                    stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"))
                )
                count += 1
            if count:
                out.mux(stream.encode())
        if count:
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return count
