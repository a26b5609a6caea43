"""What is seen of a window: frame features or frames, from LMDB folders, feature files, stores, videos or pictures.

Every reader offers `window(video, start_s, end_s, sampling, generator)`, which gives what was sampled, (T, D) float32
or (T, H, W, 3) uint8, and the seconds it is from.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kinoscope.anticipation.features import FPS, FeatureStore
from kinoscope.anticipation.sampling import FrameSampling, frame_times, frames_inside
from kinoscope.anticipation.settings import FeatureFiles, Lmdb, SegmentsData, Videos
from kinoscope.errors import KinoscopeError
from kinoscope.media.features import FeatureFolders

VIDEO_ENDINGS = (".MP4", ".mp4", ".avi", ".mkv", ".webm", ".mov")


class WindowInput(Protocol):
    """What stages read windows from."""

    def window(
        self,
        video: str,
        start_s: float,
        end_s: float,
        sampling: FrameSampling,
        generator: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, np.ndarray]: ...


def open_input(data: SegmentsData) -> WindowInput:
    """The reader that the settings ask for."""
    if isinstance(data.input, Lmdb):
        return LmdbInput(data.input)
    if isinstance(data.input, FeatureFiles):
        return FileInput(data.input)
    return VideoInput(data.input)


class LmdbInput:
    """RULSTM's and AVT's stores; feature windows as specification 9.4 has them."""

    def __init__(self, settings: Lmdb) -> None:
        self.read_type, self.store = settings.read_type, FeatureStore(settings.folders)

    def window(
        self,
        video: str,
        start_s: float,
        end_s: float,
        sampling: FrameSampling,
        generator: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        found = self.store.window(stem(video), start_s, end_s, sampling, self.read_type, generator)
        return found.features, found.seconds


class FileInput:
    """Feature files and stores: the row whose time is the last at or before each sampled moment."""

    def __init__(self, settings: FeatureFiles) -> None:
        self.settings = settings
        ext = settings.ext.removesuffix(".gz")
        self.folders = FeatureFolders.of(settings.folders, settings.prefix, ext)

    def encoders(self) -> list[dict[str, Any]]:
        return self.folders.encoders()

    def rate(self, video: str) -> tuple[float, float]:
        """Rows a second, and when the first row's window is over."""
        axis = self.folders.axis(stem(video))
        if axis is not None:
            return axis.fps / axis.stride_frames, (axis.window_frames + axis.offset_frames) / axis.fps
        if self.settings.fps is None:
            raise KinoscopeError(
                "feature files do not tell how many rows a second has",
                field="data.input.fps",
                remedy="set it, or make a store with `kinoscope extract`",
            )
        return self.settings.fps, 1 / self.settings.fps

    def rows(self, video: str) -> Any:
        """(rows, D), read where they are looked at."""
        if not self.settings.ext.endswith(".gz"):
            return self.folders.open(stem(video))
        parts = []
        for folder in self.settings.folders:
            path = Path(folder) / f"{self.settings.prefix}{stem(video)}{self.settings.ext}"
            try:
                parts.append(np.load(io.BytesIO(gzip.decompress(path.read_bytes())), allow_pickle=False))
            except (OSError, ValueError, EOFError) as error:
                raise KinoscopeError(
                    "this feature file cannot be read", file=path, value=str(error)
                ) from error
        return _Rows(np.concatenate(parts, axis=1))

    def window(
        self,
        video: str,
        start_s: float,
        end_s: float,
        sampling: FrameSampling,
        generator: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        rate, first_over = self.rate(video)
        rows = self.rows(video)
        start, end = sampling.window(start_s, end_s, rate, generator)
        # A row may be seen once its window is over: row k at first_over + k / rate.
        last = min(int(np.floor((end - first_over) * rate + 1e-6)), len(rows) - 1)
        first = max(int(np.ceil((start - first_over) * rate - 1e-6)), 0)
        if last < 0:
            raise KinoscopeError(
                "the window ends before the first row of features",
                file=self.settings.folders[0],
                field=video,
                value=(start_s, end_s),
                remedy="leave the segment out, or extract with a shorter window",
            )
        numbers = np.arange(min(first, last), last + 1)
        kept = numbers[sampling.kept(len(numbers), rate)]
        held = rows.rows(int(kept.min()), int(kept.max()) + 1)
        return held[kept - kept.min()], first_over + kept / rate


@dataclass(frozen=True)
class _Rows:
    array: np.ndarray

    def __len__(self) -> int:
        return len(self.array)

    def rows(self, start: int, stop: int) -> np.ndarray:
        return np.asarray(self.array[start:stop], np.float32)


class VideoInput:
    """Videos (frames as a seconds-based reader gives them, both ends included), or extracted frames."""

    def __init__(self, settings: Videos) -> None:
        self.settings = settings

    def path(self, video: str) -> Path:
        """The file of a video in the first root that has it: by its name, below its participant, or just there."""
        name, who = stem(video), video.partition("_")[0]
        endings = (Path(video).suffix,) if Path(video).suffix in VIDEO_ENDINGS else VIDEO_ENDINGS
        for root in self.settings.roots:
            for folder in (Path(root) / who, Path(root)):
                for ending in endings:
                    if (folder / f"{name}{ending}").is_file():
                        return folder / f"{name}{ending}"
        raise KinoscopeError(
            "no root holds this video",
            file=self.settings.roots[0],
            field="data.input.roots",
            value=video,
            remedy="files are searched as <root>/<participant>/<video>.MP4 and <root>/<video>.mp4",
        )

    def window(
        self,
        video: str,
        start_s: float,
        end_s: float,
        sampling: FrameSampling,
        generator: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.settings.frame_pattern is not None:
            return self._pictures(video, start_s, end_s, sampling, generator)
        from kinoscope.media.video import probe, read_frames

        path = self.path(video)
        info = probe(path)
        fps = float(info.fps or FPS)
        start, end = sampling.window(start_s, end_s, fps, generator)
        total = round((info.duration_s or end + 1) * fps)
        numbers = frames_inside(start, end, fps, total)
        if not len(numbers):
            raise KinoscopeError(
                "the window lies outside the video",
                file=path,
                value=(start_s, end_s),
                remedy="the annotations belong to another version of the video",
            )
        kept = sampling.kept(len(numbers), fps)
        seconds = frame_times(start, end, len(numbers))[kept]
        half = 0.5 / fps  # the middle of a frame's time on the screen, so that rounding picks no neighbour
        return read_frames(path, numbers[kept] / fps + half).images, seconds

    def _pictures(
        self,
        video: str,
        start_s: float,
        end_s: float,
        sampling: FrameSampling,
        generator: np.random.Generator | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        from PIL import Image

        fps = self.settings.frame_fps
        start, end = sampling.window(start_s, end_s, fps, generator)
        numbers = np.arange(max(int(np.ceil(start * fps)), 0), int(np.floor(end * fps)) + 1)
        kept = numbers[sampling.kept(max(len(numbers), 1), fps)] if len(numbers) else np.array([0])
        pictures = []
        for number in kept.tolist():
            path = self._picture(video, number + 1)
            try:
                pictures.append(np.asarray(Image.open(path).convert("RGB")))
            except OSError as error:
                raise KinoscopeError("this frame cannot be read", file=path, value=str(error)) from error
        return np.stack(pictures), kept / fps

    def _picture(self, video: str, number: int) -> Path:
        name = str(self.settings.frame_pattern).format(
            video=stem(video), participant=video.partition("_")[0], frame=number
        )
        for root in self.settings.roots:
            if (Path(root) / name).is_file():
                return Path(root) / name
        raise KinoscopeError("no root holds this frame", file=self.settings.roots[0], value=name)


def stem(video: str) -> str:
    """Name of a video without the ending of a video file."""
    return Path(video).stem if Path(video).suffix in VIDEO_ENDINGS else video
