"""Events of a video that is still being made, each decided once.

Features (or poses) are computed as frames come; the last `lookback_s` of them are kept. Every `hop_s` the model looks
at what is kept, and an event that ended at least `delay_s` ago is written, unless it is one that is written already
(same label, overlapping by `SAME`). What is written is never taken back, and it does not depend on how fast the video
came. So an event is known delay_s to delay_s + hop_s of video after its end, plus the time for computing; one that only
a later look sees, at most twice that. Later ones are not told.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.from_video import VideoModel, encoder_of, reads, require_pose_joints, unlabelled
from kinoscope.media.live import LiveDecoder
from kinoscope.media.video import VideoReader
from kinoscope.media.video_decoder import Decoder
from kinoscope.timeline import Events, TimeAxis

SAME = 0.3  # temporal IoU from which two events of one label are the same one
LIVE_BATCH_S = 0.25  # pictures that the encoder takes at once: as many as come in this time


@dataclass(frozen=True)
class Pace:
    """Seconds of video: between looks, from an event's end to its decision, and how far back is looked."""

    hop_s: float = 0.5
    delay_s: float = 1.0
    lookback_s: float = 30.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < float("inf"):
                raise KinoscopeError("a positive number is needed", field=name, value=value)
        if self.lookback_s < self.delay_s + 2 * self.hop_s:
            raise KinoscopeError(
                "what is kept must reach further back than the decision",
                field="lookback_s",
                value=self.lookback_s,
            )


@dataclass
class Measured:
    """What a watch did. latency_s: from the end of each event to its decision, in seconds of video."""

    video_s: float = 0.0
    seconds: float = 0.0
    looks: int = 0
    look_s: float = 0.0  # of the model, all looks together
    latency_s: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        latency = np.array(self.latency_s or [np.nan])
        return {
            "video_s": round(self.video_s, 3),
            "seconds": round(self.seconds, 3),
            "events": len(self.latency_s),
            "latency_median_s": round(float(np.median(latency)), 3) if self.latency_s else None,
            "latency_max_s": round(float(latency.max()), 3) if self.latency_s else None,
            "look_mean_s": round(self.look_s / max(self.looks, 1), 4),
        }


class Decider:
    """Which events of overlapping looks are written, and when. Looks must come in order of time."""

    def __init__(self, pace: Pace) -> None:
        self.pace, self._limit = pace, 0.0
        self._written: list[tuple[float, float, int]] = []

    def decide(self, events: Events, now_s: float, last: bool = False) -> Iterator[dict[str, Any]]:
        """The new events, in order of their end. last: nothing more comes, so nothing is waited for."""
        limit = now_s if last else now_s - self.pace.delay_s
        since = (
            self._limit - self.pace.delay_s - self.pace.hop_s
        )  # a look may correct the one before by so much
        ripe = (events.end_s <= limit + (1e9 if last else 0)) & (events.end_s > since)
        for row in np.lexsort((-events.score, events.end_s)):
            if not ripe[row]:
                continue
            start, end, label = float(events.start_s[row]), float(events.end_s[row]), int(events.label[row])
            if any(label == other and _overlap(start, end, a, b) >= SAME for a, b, other in self._written):
                continue
            self._written.append((start, end, label))
            yield {
                "label": events.name(label),
                "start_s": round(start, 3),
                "end_s": round(end, 3),
                "score": round(float(events.score[row]), 4),
                "decided_at_s": round(now_s, 3),
            }
        self._limit = max(self._limit, limit)
        oldest = now_s - self.pace.lookback_s
        self._written = [event for event in self._written if event[1] > oldest]


def _overlap(a0: float, a1: float, b0: float, b1: float) -> float:
    """Temporal IoU; instants are the same where they lie within 0.1 s."""
    both = min(a1, b1) - max(a0, b0)
    either = max(a1, b1) - min(a0, b0)
    return both / either if either > 0.1 else float(both >= -0.1)


def watch(
    source: str,
    model: VideoModel,
    write: Callable[[dict[str, Any]], None],
    *,
    pace: Pace | None = None,
    everything: bool = False,
    idle_s: float = 5.0,
) -> Measured:
    """Writes one plain dict an event of `source` (see `LiveDecoder`), as it is decided. Raises KinoscopeError.

    A model that ranks coming actions writes what it expects at every look instead.
    """
    pace = pace or Pace()
    kind = reads(model.model)
    if kind == "video":
        raise KinoscopeError("this model looks at whole clips", field="MODEL", remedy="kinoscope predict")
    steps: _Features | _Poses = _Poses(model) if kind == "skeletons" else _Features(model)
    begin, measured, decider = time.perf_counter(), Measured(), Decider(pace)
    options = steps.reader_options()
    with VideoReader(_opened(source, idle_s), **options) as video:
        axis = steps.axis(video.info.fps)
        hop, kept = _steps(pace.hop_s, axis), _steps(pace.lookback_s, axis)
        rows: deque[Any] = deque(maxlen=kept)
        count = 0
        for row in steps.of(video):
            rows.append(row)
            count += 1
            if count % hop == 0:
                _look(steps, list(rows), axis, count, decider, measured, write, everything)
        if count == 0:
            raise KinoscopeError("there is not one step in this video", file=source)
        _look(steps, list(rows), axis, count, decider, measured, write, everything, last=True)
        measured.video_s = video.covered_s[1]
    measured.seconds = time.perf_counter() - begin
    return measured


def _opened(source: str, idle_s: float) -> Decoder:
    """The source while it is made; a file that can be read only when it is finished (mp4), if it is."""
    try:
        return LiveDecoder(source, idle_s)
    except KinoscopeError:
        if not Path(source).is_file():
            raise
    return Decoder(source)


def _steps(seconds: float, axis: TimeAxis) -> int:
    return max(1, round(seconds * axis.fps / axis.stride_frames))


def _look(
    steps: _Features | _Poses,
    rows: list[Any],
    axis: TimeAxis,
    count: int,
    decider: Decider,
    measured: Measured,
    write: Callable[[dict[str, Any]], None],
    everything: bool,
    last: bool = False,
) -> None:
    """One look of the model at the rows that are kept, and what is decided by it."""
    begin = time.perf_counter()
    first_s = (count - len(rows)) * axis.stride_frames / axis.fps
    now_s = first_s + axis.covered_s(len(rows))
    answer = steps.ask(rows, axis, everything)
    measured.looks += 1
    measured.look_s += time.perf_counter() - begin
    if isinstance(answer, Events):
        for event in decider.decide(_shifted(answer, first_s), now_s, last):
            measured.latency_s.append(round(max(now_s - event["end_s"], 0.0), 3))
            write(event)
    elif answer is not None and not last:
        row = answer.rows()[-1]
        write({"time_s": round(row["time_s"] + first_s, 3), "next": row["next"]})


def _shifted(events: Events, seconds: float) -> Events:
    return replace(events, start_s=events.start_s + seconds, end_s=events.end_s + seconds)


class _Features:
    """A model of features: rows come out of its encoder."""

    def __init__(self, model: VideoModel) -> None:
        self.model = model

    def reader_options(self) -> dict[str, Any]:
        encoder_of(self.model.model)
        self.encoder, self.sampling = self.model.encoder()
        if not hasattr(self.encoder, "preparation"):
            raise KinoscopeError(
                "the features of this model are made of whole videos",
                field="encoder",
                value=self.encoder.name,
            )
        options: dict[str, Any] = self.encoder.preparation.reader_options()
        return options

    def axis(self, fps: float) -> TimeAxis:
        axis: TimeAxis = self.sampling.axis(fps)
        return axis

    def of(self, video: VideoReader) -> Iterator[Any]:
        from kinoscope.encoders.extract import features_of

        fps = self.sampling.fps or video.info.fps
        batch = 1 if self.encoder.clips else max(1, round(LIVE_BATCH_S * fps))
        with closing(features_of(video, self.encoder, self.sampling, batch)) as blocks:
            for block in blocks:
                yield from block

    def ask(self, rows: list[Any], axis: TimeAxis, everything: bool) -> Any:
        from kinoscope.media.store import StoreWriter

        identity = encoder_of(self.model.model)
        with tempfile.TemporaryDirectory(prefix="kinoscope-watch-") as folder:
            with StoreWriter(Path(folder) / "features", identity, self.encoder.channels) as writer:
                writer.add("live", [np.stack(rows)], axis)
            return self.model.model.predict(Path(folder) / "features", everything)


class _Poses:
    """A model of skeletons: rows are poses."""

    def __init__(self, model: VideoModel) -> None:
        require_pose_joints(model.model)
        self.model = model

    def reader_options(self) -> dict[str, Any]:
        return {}

    def axis(self, fps: float) -> TimeAxis:
        return TimeAxis(fps, 1, 1)

    def of(self, video: VideoReader) -> Iterator[Any]:
        from kinoscope.media.ahead import ahead
        from kinoscope.media.pose import DECODED_AHEAD, follow

        with closing(ahead(video.grid(video.info.fps), DECODED_AHEAD)) as pictures:  # before the video is
            yield from follow(pictures, video.info.fps)

    def ask(self, rows: list[Any], axis: TimeAxis, everything: bool) -> Any:
        from kinoscope.media.pose import Poses, as_file

        joints, confidence, pixels = (np.stack(part) for part in zip(*rows, strict=True))
        poses = Poses(axis.fps, joints, confidence, pixels)
        if not poses.found:
            return None  # nobody is there
        with tempfile.TemporaryDirectory(prefix="kinoscope-watch-") as folder:
            file = unlabelled(as_file({"live": poses})).save(Path(folder) / "skeletons.npz")
            try:
                return self.model.model.predict(file, everything)
            except KinoscopeError:
                return None  # too short, or without motion: there is nothing to tell yet
