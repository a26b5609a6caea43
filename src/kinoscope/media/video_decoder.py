"""One opened video stream: its frames in the order of presentation, from any place in it.

The only file that talks to FFmpeg (through PyAV). What is damaged inside a file costs the damaged packets; what
cannot be read at all is a KinoscopeError. Times are seconds from the first frame, whatever number the file gives it.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from kinoscope.errors import KinoscopeError

OPENING_S = 30.0  # a local file that answers no faster is broken
MAX_PIXELS = 8192 * 8192  # a flipped bit in a header must not ask for all memory
MAX_HOLD_S = 300.0  # a longer gap between two frames is a damaged timestamp, not a still picture
WHOLE_INDEX = ("mov", "avi")  # containers whose index lists every key frame as soon as they are open
COPY_AGAIN = "copy or download this video again"


@dataclass(frozen=True)
class VideoInfo:
    """What a container says about its video. Sizes are in pixels, as shown (after rotation)."""

    path: str
    codec: str
    width: int
    height: int
    rotation: int  # degrees anticlockwise that the stored picture is turned by to be shown: 0, 90, 180 or 270
    fps: float  # the average rate
    start_s: float  # time of the first frame on the container's own clock, which times here leave out
    duration_s: float | None  # as declared; files may declare none, or a wrong one
    frames: int | None  # as declared
    audio: bool
    lead_s: float = (
        0.0  # how long sound plays before the first frame: players count from the beginning of all streams
    )


class Decoder:
    """Frames of one video with their times. Close it, or use it in `with`.

    Raises KinoscopeError where there is no such file, no video in it, or not one frame that can be decoded.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._require()
        self.damaged = 0  # packets that could not be decoded
        self.problem: str | None = None  # why reading stopped before the declared end
        self._container = self._open()
        try:
            self._stream = self._video_stream()
            self._frames = self._decode()
            self._first = next(self._frames, None)
            if self._first is None:
                raise KinoscopeError("not one frame can be decoded", file=path, remedy=COPY_AGAIN)
            self._start = self._origin(self._first[0])
            self.info = self._info(self._first[1])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._container.close()

    def next(self) -> tuple[float, Any] | None:
        """The coming frame with its time; None at the end."""
        got, self._first = self._first, None
        if got is None:
            got = next(self._frames, None)
        return None if got is None else (got[0] - self._start, got[1])

    def seek(self, seconds: float) -> None:
        """Goes on from the last key frame that the container knows at or before `seconds`."""
        self._first, self.problem = None, None
        self._frames.close()
        stamp = math.floor((seconds + self._start) / self._unit)
        try:
            self._container.seek(stamp, stream=self._stream, backward=True)
        except (av.FFmpegError, OverflowError):
            self.rewind()
            return
        self._frames = self._decode()

    def rewind(self) -> None:
        """Starts again by opening the file again: works where seeking does not."""
        self._frames.close()
        self.close()
        self._first, self.problem = None, None
        self._container = self._open()
        self._stream = self._video_stream()
        self._frames = self._decode()

    def key_frame_before(self, seconds: float) -> float | None:
        """Decoding time of the last known key frame at or before `seconds`; None where the index knows none."""
        entries = getattr(self._stream, "index_entries", None)
        if entries is None or not len(entries):
            return None
        try:
            place = entries.search_timestamp(math.floor((seconds + self._start) / self._unit))
        except OverflowError:
            return None
        return None if place < 0 else entries[place].timestamp * self._unit - self._start

    @property
    def index_is_whole(self) -> bool:
        """Whether a key frame that the index does not list does not exist."""
        return self._container.format.name.startswith(WHOLE_INDEX) and hasattr(self._stream, "index_entries")

    @property
    def _unit(self) -> float:
        return float(self._stream.time_base or 1e-6)

    def _require(self) -> None:
        if not self.path.is_file():
            raise KinoscopeError("there is no such video", file=self.path)

    def _open(self) -> Any:
        try:
            return av.open(str(self.path), metadata_errors="replace", timeout=(OPENING_S, OPENING_S))
        except (av.FFmpegError, ValueError, OSError) as error:
            raise KinoscopeError(
                "this is no video that can be read", file=self.path, value=_short(error), remedy=COPY_AGAIN
            ) from error

    def _video_stream(self) -> Any:
        streams = [s for s in self._container.streams.video if not _is_cover(s) and _codec(s) is not None]
        if not streams:
            kinds = sorted({stream.type for stream in self._container.streams})
            raise KinoscopeError("there is no video in this file", file=self.path, value=kinds)
        stream = streams[0]
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        return stream

    def _decode(self) -> Generator[tuple[float, Any]]:
        """Frames from the current place on, on the container's clock; damaged packets are left out."""
        last: float | None = None
        for frame in self._frames_of_packets():
            if frame.pts is not None:
                time = float(frame.pts) * self._unit
            else:  # a bare stream carries no times: every frame takes its turn
                time = 0.0 if last is None else last + 1 / frame_rate(self._stream)
            if last is not None and time <= last:
                continue  # a frame that goes back in time is shown by no player either
            if last is not None and time - last > MAX_HOLD_S:
                self.problem = f"timestamps jump by {time - last:.0f} s"
                return
            last = time
            yield time, frame

    def _frames_of_packets(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, ValueError) as error:
                self.problem = f"reading stopped: {_short(error)}"
                packet = None
            last = packet is None or packet.size == 0
            try:  # an empty packet, or None, flushes what the decoder still holds
                decoded = self._stream.codec_context.decode(packet)
            except (av.FFmpegError, ValueError):
                self.damaged += 1
                decoded = []
            yield from decoded
            if last:
                return

    def _origin(self, first: float) -> float:
        """The container's time that counts as zero: the first frame's, or the declared one if frames were lost."""
        declared = self._stream.start_time
        if declared is None or not self.damaged:
            return first
        start = float(declared) * self._unit
        return start if 0 <= first - start <= MAX_HOLD_S else first

    def _lead(self) -> float:
        begin = (
            self._container.start_time or 0
        )  # microseconds; a browser shifts times below zero, not those above
        return self._start - min(begin, 0) / 1e6

    def _info(self, frame: Any) -> VideoInfo:
        rotation = round(getattr(frame, "rotation", 0) / 90) * 90 % 360
        width, height = (frame.width, frame.height) if rotation % 180 == 0 else (frame.height, frame.width)
        duration = self._stream.duration
        seconds = None if duration is None else float(duration) * self._unit
        if seconds is None and self._container.duration is not None:
            seconds = self._container.duration / 1e6
        return VideoInfo(
            path=str(self.path),
            codec=self._stream.codec_context.name,
            width=width,
            height=height,
            rotation=rotation,
            fps=frame_rate(self._stream),
            start_s=self._start,
            duration_s=seconds if seconds is not None and seconds > 0 else None,
            frames=self._stream.frames or None,
            audio=bool(self._container.streams.audio),
            lead_s=self._lead(),
        )


def frame_rate(stream: Any) -> float:
    """The average rate of a stream; what is absent or absurd is replaced by the next best guess, at last by 25."""
    for rate in (stream.average_rate, getattr(stream, "guessed_rate", None), stream.base_rate):
        if rate and 0.01 <= float(rate) <= 1000:
            return float(rate)
    return 25.0


def _codec(stream: Any) -> str | None:
    context = getattr(stream, "codec_context", None)
    return None if context is None else context.name


def _is_cover(stream: Any) -> bool:
    """An album cover in a music file is a video stream of one picture."""
    disposition = getattr(stream, "disposition", None)
    return disposition is not None and bool(disposition & type(disposition).attached_pic)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
