"""Many videos into one feature store: one bad video costs one video, a restart goes on, several processes share."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinoscope.encoders.encoder import Encoder
from kinoscope.encoders.extract import features_of
from kinoscope.encoders.sampling import Sampling
from kinoscope.encoders.whole import WholeVideoEncoder
from kinoscope.errors import KinoscopeError
from kinoscope.media.store import FeatureStore, StoreWriter
from kinoscope.media.video import VideoReader
from kinoscope.timeline import TimeAxis


@dataclass
class Summary:
    """What an extraction did. Seconds count decoding, network and disk."""

    videos: int = 0
    skipped: int = 0  # were in the store already
    steps: int = 0
    frames: int = 0
    video_s: float = 0.0
    seconds: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)  # read in part

    def to_dict(self) -> dict[str, Any]:
        rate = self.frames / self.seconds if self.seconds else 0.0
        return {**vars(self), "frames_per_s": round(rate, 2)}


def extract_all(
    encoder: Encoder | WholeVideoEncoder,
    sampling: Sampling,
    videos: dict[str, Path],
    folder: str | Path,
    *,
    dtype: str = "float32",
    shard: tuple[int, int] = (0, 1),
    batch: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Summary:
    """Features of all `videos` into the store at `folder`; videos that it holds already are left alone.

    shard: (number of this process, number of processes); each takes its share of the videos and its own part of the
    store. report: gets a line for each video. Raises KinoscopeError where the store belongs to another encoder.
    """
    identity = {**encoder.identity, "sampling": sampling.model_dump(mode="json")}
    summary, number, shards = Summary(), *shard
    mine = dict(list(videos.items())[number::shards])
    with StoreWriter(folder, identity, encoder.channels, dtype=dtype, part=number) as writer:
        done = _done(folder)
        begin = time.perf_counter()
        for place, (name, path) in enumerate(mine.items(), 1):
            where = f"[{place}/{len(mine)}] {name}"
            try:
                source = _source(path)
                if done.get(name) == source:
                    summary.skipped += 1
                    continue
                report(f"{where}: {_extract(encoder, sampling, name, path, source, writer, batch, summary)}")
            except KinoscopeError as error:  # one bad video costs one video
                summary.failed[name] = str(error)
                report(f"{where}: left out: {error}")
        summary.seconds = time.perf_counter() - begin
    return summary


def _extract(
    encoder: Encoder | WholeVideoEncoder,
    sampling: Sampling,
    name: str,
    path: Path,
    source: dict[str, Any],
    writer: StoreWriter,
    batch: int | None,
    summary: Summary,
) -> str:
    begin = time.perf_counter()
    if isinstance(encoder, Encoder):
        steps, frames, axis, problem = _streamed(encoder, sampling, name, path, source, writer, batch)
    else:
        rows = encoder.of_video(path, sampling)
        frames, axis, problem = float(rows.frames), rows.axis, rows.problem
        steps = writer.add(name, [rows.values], axis, source=source, problem=problem)
    seconds = time.perf_counter() - begin
    summary.videos += 1
    summary.steps += steps
    summary.frames += round(frames)
    summary.video_s += frames / axis.fps
    if problem is not None:
        summary.problems[name] = problem
    text = f"{steps} steps of {frames / axis.fps:.1f} s in {seconds:.1f} s ({frames / seconds:.1f} frames/s)"
    return text + (f"; {problem}" if problem is not None else "")


def _streamed(
    encoder: Encoder,
    sampling: Sampling,
    name: str,
    path: Path,
    source: dict[str, Any],
    writer: StoreWriter,
    batch: int | None,
) -> tuple[int, float, TimeAxis, str | None]:
    """Pictures through a network, block by block: (steps, frames that were covered, axis, what was wrong)."""
    with VideoReader(path, **encoder.preparation.reader_options()) as video:
        axis = sampling.axis(video.info.fps)

        def problem() -> str | None:
            frames, problems = video.covered_s[1] * axis.fps, []
            if frames < axis.window_frames - 0.5:
                problems.append(f"shorter than one window: {frames:.0f} of {axis.window_frames:g} frames")
            if video.problem is not None:
                problems.append(video.problem)
            return "; ".join(problems) or None

        # closed before the video is: the thread that decodes ahead must not outlive it
        with closing(features_of(video, encoder, sampling, batch)) as blocks:
            steps = writer.add(name, blocks, axis, source=source, problem=problem)
        return steps, video.covered_s[1] * axis.fps, axis, problem()


def _done(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Source of every video that any part of the store holds."""
    try:
        store = FeatureStore(folder)
    except KinoscopeError:
        if any(Path(folder).glob("part-*.json")):
            raise
        return {}
    return {name: store.entry(name).source for name in store.videos}


def _source(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise KinoscopeError("there is no such video", file=path)
    stat = path.stat()
    return {"file": path.name, "bytes": stat.st_size, "changed_ns": stat.st_mtime_ns}
