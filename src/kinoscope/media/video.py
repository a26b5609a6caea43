"""Pictures of a video at given times: `read_frames` for a few, `VideoReader` for a stream of them, `probe` for facts.

    frames = read_frames("dance.mp4", [0.5, 1.0, 9.25])            # seeks where that saves work
    with VideoReader("dance.mp4", short_side=256) as video:
        for picture in video.grid(fps=15):                          # decodes once, never seeks
            picture.image                                           # (H, W, 3) uint8, upright

Times are seconds from the first frame, so a file of variable rate, or one that starts below zero, needs no special
care. The picture of a time is the one on the screen then, where a frame counts from half a frame (at most 25 ms)
before its own time: containers round times, and k / fps has to mean frame k. Memory does not grow with the video.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kinoscope.errors import KinoscopeError
from kinoscope.media.video_decoder import Decoder, VideoInfo

__all__ = ["Frames", "Picture", "VideoInfo", "VideoReader", "probe", "read_frames"]

EARLY_S = 0.025  # a frame is never shown earlier than this
KNOWN_GAP_S = 0.5  # times nearer than this are reached by decoding, not by seeking
BLIND_GAP_S = 4.0  # the same where the container has no index; doubled whenever a seek gained nothing
STEPS_BACK_S = (0.0, 2.0, 15.0)  # a seek that lands too late is tried again from so much earlier


@dataclass(frozen=True)
class Picture:
    """What is on the screen at `wanted_s`: a frame that begins at `time_s`."""

    wanted_s: float
    time_s: float
    image: np.ndarray  # (H, W, 3) uint8
    missing: bool  # the video ends before `wanted_s`; the image is its last frame


@dataclass(frozen=True)
class Frames:
    """Pictures of N times, in the order in which the times were given."""

    images: np.ndarray  # (N, H, W, 3) uint8
    times_s: np.ndarray  # (N,) when each frame begins
    missing: np.ndarray  # (N,) bool: the video ended before this time, its last frame stands in
    covered_s: tuple[float, float]  # what could be read, as far as it was asked for
    problem: str | None  # what was wrong with the file, if anything


class VideoReader:
    """Pictures of one video, decoded as they are asked for. Use it in `with`.

    path: a file, or a decoder of anything else that gives frames (`media.live`). short_side scales the picture so that
    its shorter side has so many pixels; size is (height, width) instead. Raises KinoscopeError for a file without a
    frame that can be decoded.
    """

    def __init__(
        self,
        path: str | Path | Decoder,
        *,
        short_side: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        self._decoder = path if isinstance(path, Decoder) else Decoder(path)
        self.info = self._decoder.info
        self.size = _size(self.info, short_side, size)
        self.covered_s = (0.0, 0.0)
        self._early = min(EARLY_S, 0.5 / self.info.fps)
        self._blind_gap = BLIND_GAP_S
        self._reformatter: Any = None
        self._coming: tuple[float, Any] | None = self._decoder.next()
        self._shown: tuple[float, Any] | None = None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._decoder.close()

    @property
    def problem(self) -> str | None:
        """What was wrong with the file as far as it was read; None for a sound one."""
        parts = [self._decoder.problem] if self._decoder.problem else []
        if self._decoder.damaged:
            parts.append(f"{self._decoder.damaged} packets could not be decoded")
        declared, end = self.info.duration_s, self.covered_s[1]
        slack = max(0.5, 2 / self.info.fps) + max(
            0.0, self.info.start_s
        )  # some count from the container's zero
        if self._coming is None and declared is not None and end < declared - slack:
            parts.append(f"the video ends at {end:.2f} s of {declared:.2f} s")
        return "; ".join(parts) or None

    def at(self, times: Iterable[float]) -> Iterator[Picture]:
        """A picture for each of the ascending `times` (seconds; may be endless, they are taken one by one)."""
        before, converted = -np.inf, None
        image = np.empty(0, np.uint8)
        for wanted in times:
            if not wanted >= before:
                raise KinoscopeError(
                    "times must ascend", field="times", value=wanted, remedy="sort them, or use read_frames"
                )
            before = wanted
            self._go_to(wanted)
            assert self._shown is not None
            time, frame = self._shown
            if frame is not converted:
                image, converted = self._image(frame), frame
            missing = self._coming is None and wanted > self.covered_s[1]
            yield Picture(float(wanted), time, image, missing)

    def grid(self, fps: float, start_s: float = 0.0) -> Iterator[Picture]:
        """Pictures of the times start_s + k / fps, to the end of the video."""
        if not (fps > 0 and np.isfinite(fps)):
            raise KinoscopeError("a frame rate is a positive number", field="fps", value=fps)
        rounding = 0.25 / max(fps, self.info.fps)  # of a duration: less than this is no frame more
        for picture in self.at(start_s + k / fps for k in itertools.count()):
            if self._coming is None and picture.wanted_s > self.covered_s[1] - rounding:
                return
            yield picture

    def all(self) -> Iterator[Picture]:
        """Every frame from here on, at its own time."""
        while self._coming is not None:
            self._advance()
            assert self._shown is not None
            time, frame = self._shown
            yield Picture(time, time, self._image(frame), False)

    def _go_to(self, wanted: float) -> None:
        if self._shown is not None and wanted < self._shown[0] - self._early:
            self._jump(wanted)  # a second pass over the same reader
        elif self._coming is not None and self._seek_pays(wanted):
            place = self._coming[0]
            self._jump(wanted)
            if self._coming is not None and self._coming[0] <= place:
                self._blind_gap *= 2
        while self._coming is not None and (self._shown is None or self._coming[0] <= wanted + self._early):
            self._advance()

    def _advance(self) -> None:
        """The coming frame is shown; how long is known from its follower."""
        assert self._coming is not None
        self._shown = self._coming
        self._coming = self._decoder.next()
        time, frame = self._shown
        if self._coming is not None:
            end = self._coming[0]
        else:  # the last frame lasts as long as it says, or as long as the average frame
            own = float(getattr(frame, "duration", 0) or 0) * float(frame.time_base or 0)
            end = time + (own if 0 < own <= 10 / self.info.fps else 1 / self.info.fps)
        self.covered_s = (min(self.covered_s[0], time), max(self.covered_s[1], end))

    def _seek_pays(self, wanted: float) -> bool:
        assert self._coming is not None
        here = self._coming[0]
        if wanted - here < KNOWN_GAP_S:
            return False
        key = self._decoder.key_frame_before(wanted)
        if key is not None and key > here:
            return True
        return not self._decoder.index_is_whole and wanted - here > self._blind_gap

    def _jump(self, wanted: float) -> None:
        for back in STEPS_BACK_S:
            self._shown = None
            self._decoder.seek(max(0.0, wanted - back))
            self._coming = self._decoder.next()
            if self._coming is not None and self._coming[0] <= wanted + self._early:
                return
        self._decoder.rewind()  # the container's index leads astray: decode up to the time
        self._coming = self._decoder.next()

    def _image(self, frame: Any) -> np.ndarray:
        """RGB, upright, of the reader's size, also where the stream changes its size on the way."""
        if self._reformatter is None:
            from av.video.reformatter import VideoReformatter

            self._reformatter = VideoReformatter()  # one for all frames: its tables are costly
        height, width = self.size if self.info.rotation % 180 == 0 else self.size[::-1]
        rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24")
        image: np.ndarray = rgb.to_ndarray()
        if self.info.rotation:
            image = np.ascontiguousarray(np.rot90(image, self.info.rotation // 90))
        return image


def probe(path: str | Path) -> VideoInfo:
    """What a video file is: codec, size as shown, rate, duration. Raises KinoscopeError where it cannot be read."""
    with Decoder(path) as decoder:
        return decoder.info


def read_frames(
    path: str | Path,
    times: ArrayLike,
    *,
    short_side: int | None = None,
    size: tuple[int, int] | None = None,
) -> Frames:
    """The pictures that are on the screen at `times` (seconds from the first frame; any order, repeats allowed).

    Dense times are decoded in one go, sparse ones are sought. A time past the end gets the last frame and is marked
    in `missing`. Raises KinoscopeError for a file that cannot be read and for a time that is no number.
    """
    wanted = np.asarray(times, np.float64).reshape(-1)
    if not np.isfinite(wanted).all():
        raise KinoscopeError("a time is a finite number of seconds", field="times", value=wanted.tolist())
    order = np.argsort(wanted, kind="stable")
    with VideoReader(path, short_side=short_side, size=size) as video:
        images = np.empty((len(wanted), *video.size, 3), np.uint8)
        begins, missing = np.zeros(len(wanted)), np.zeros(len(wanted), bool)
        for place, picture in zip(order, video.at(wanted[order].tolist()), strict=True):
            images[place], begins[place], missing[place] = picture.image, picture.time_s, picture.missing
        return Frames(images, begins, missing, video.covered_s, video.problem)


def _size(info: VideoInfo, short_side: int | None, size: tuple[int, int] | None) -> tuple[int, int]:
    if size is not None and short_side is not None:
        raise KinoscopeError("give either short_side or size", field="size", value=size)
    if size is None and short_side is not None:
        scale = short_side / min(info.height, info.width)
        size = (max(1, round(info.height * scale)), max(1, round(info.width * scale)))
    height, width = size or (info.height, info.width)
    if height < 1 or width < 1:
        raise KinoscopeError("a picture has at least one pixel", field="size", value=(height, width))
    return height, width
