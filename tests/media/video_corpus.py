"""Videos made for tests: every frame carries its number as a bar code, and its true time is known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS, BLOCK = 10, 16
HEIGHT, WIDTH = 48, BITS * BLOCK


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """RGB picture (height, width, 3) whose upper 32 rows show `number` in binary: white blocks are ones."""
    image = np.full((height, width, 3), 128, np.uint8)
    for bit in range(BITS):
        image[:32, bit * BLOCK : (bit + 1) * BLOCK] = 235 if number >> bit & 1 else 20
    return image


def number_in(image: np.ndarray) -> int:
    """The number that `picture` drew, read from a decoded picture."""
    middles = [image[8:24, bit * BLOCK + 5 : (bit + 1) * BLOCK - 5].mean() for bit in range(BITS)]
    return sum(1 << bit for bit, value in enumerate(middles) if value > 128)


def write_clock(
    path: Path,
    codec: str,
    times_s: np.ndarray,
    *,
    rate: Fraction = Fraction(30),
    time_base: Fraction = Fraction(1, 90000),
    pix_fmt: str = "yuv420p",
    height: int = HEIGHT,
    width: int = WIDTH,
    options: dict[str, str] | None = None,
    rotation: int = 0,
    audio: bool = False,
) -> Path:
    """A video whose frame k shows k from `times_s[k]` on."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = time_base
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=8000) if audio else None
        for number, time in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(picture(number, height, width), format="rgb24")
            frame.pts, frame.time_base = round(float(time) / time_base), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _mux_silence(container, sound, float(times_s[-1]))
    return path


def write_sound(path: Path, seconds: float = 1.0) -> Path:
    """A file without any video."""
    with av.open(str(path), "w") as container:
        _mux_silence(container, container.add_stream("aac", rate=8000), seconds)
    return path


def _mux_silence(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    for k in range(int(seconds * 8000 / 1024) + 1):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, k * 1024, Fraction(1, 8000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
