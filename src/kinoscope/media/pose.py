"""Skeletons of videos, each followed on its own, into one neutral skeleton file.

The poses of mediapipe have their origin between the hips; what a body travels is added here, from where the hips are
in the picture and how many metres a pixel measures (the body's size in metres over its size in pixels, smoothed over
the past only, so that a stream gives what a file gives). Frames without a person hold NaN and confidence 0.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.media.ahead import ahead
from kinoscope.media.blazepose import JOINTS, PARENTS, Pose, Tracker
from kinoscope.media.labelled import Database
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.media.video import Picture, VideoReader, probe

USUAL_FPS = 30.0  # of videos whose rates differ
SCALE_S = 1.0  # time constant of the smoothed metres a pixel
DECODED_AHEAD = 8  # pictures


@dataclass(frozen=True)
class Poses:
    """One video: joints (T, 33, 3) metres, y up, NaN where nobody was found; confidence (T, 33); pixels (T, 33, 2)."""

    fps: float
    joints: np.ndarray
    confidence: np.ndarray
    pixels: np.ndarray
    problem: str | None = None

    @property
    def found(self) -> float:
        """Share of the frames in which a person was found."""
        return float(np.isfinite(self.joints[:, 0, 0]).mean())


class Traveller:
    """Adds to poses around the hips where the hips are, in metres from the middle of the picture."""

    def __init__(self, fps: float) -> None:
        self._metres_a_pixel: float | None = None
        self._share = 1 - np.exp(-1 / (SCALE_S * fps))

    def __call__(self, pose: Pose, height: int, width: int) -> np.ndarray:
        """Joints (33, 3) of one picture."""
        spread = float(np.linalg.norm(pose.pixels - pose.pixels.mean(0)))
        now = float(np.linalg.norm(pose.metres[:, :2] - pose.metres[:, :2].mean(0)) / max(spread, 1e-6))
        old = self._metres_a_pixel
        self._metres_a_pixel = now if old is None else old + self._share * (now - old)
        hips = pose.pixels[[23, 24]].mean(0) - np.array([width / 2, height / 2])
        return pose.metres + np.array([hips[0], -hips[1], 0.0], np.float32) * np.float32(self._metres_a_pixel)


def follow(pictures: Iterable[Picture], fps: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(joints, confidence, pixels) of every picture as it comes; NaN, zeros, NaN where nobody is found."""
    tracker, travel, count = Tracker(), Traveller(fps), len(JOINTS)
    try:
        for picture in pictures:
            pose = tracker(picture.image, picture.wanted_s)
            if pose is None:
                nowhere = np.full((count, 3), np.nan, np.float32)
                yield nowhere, np.zeros(count, np.float32), nowhere[:, :2]
            else:
                yield travel(pose, *picture.image.shape[:2]), pose.confidence, pose.pixels
    finally:
        tracker.close()


def poses_of(path: str | Path, fps: float | None = None) -> Poses:
    """Poses of one video, in this process. Raises KinoscopeError for a file that cannot be read."""
    with VideoReader(path) as video:
        rate = fps or video.info.fps
        rows = list(follow(ahead(video.grid(rate), DECODED_AHEAD), rate))
        joints, confidence, pixels = (np.stack(part) for part in zip(*rows, strict=True))
        return Poses(rate, joints, confidence, pixels, video.problem)


def pose_file(
    videos: dict[str, Path],
    *,
    fps: float | None = None,
    processes: int = 1,
    report: Callable[[str, Poses | KinoscopeError], None] = lambda name, got: None,
) -> SkeletonFile:
    """The streams of all videos that can be read; several videos are followed in processes of their own.

    fps: frames a second of the file (default: the videos' own where it is one, else 30). report: gets the poses or the
    error of each video. Raises KinoscopeError where not one video shows a person.
    """
    rates, streams = [], {}
    for name, path in videos.items():
        try:
            rates.append(round(probe(path).fps, 3))
        except KinoscopeError as error:
            report(name, error)
        else:
            streams[name] = path
    if fps is None:
        fps = (rates[0] if len(set(rates)) == 1 else USUAL_FPS) if rates else None
    found: dict[str, Poses] = {}

    def keep(name: str, got: Poses | KinoscopeError) -> None:
        if isinstance(got, Poses):
            found[name] = got
        report(name, got)

    if len(streams) == 1:  # nothing else is lost if mediapipe falls over it
        for name, path in streams.items():
            with silenced():
                got = _tried(path, fps)
            keep(name, got)
    else:
        workers: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for _ in range(processes):
            workers.put(Worker())

        def one(path: Path) -> Poses | KinoscopeError:
            worker = workers.get()
            try:
                return worker(path, fps)
            finally:
                workers.put(worker)

        with ThreadPoolExecutor(processes) as threads:
            for name, got in zip(streams, threads.map(one, streams.values()), strict=True):
                keep(name, got)
        while not workers.empty():
            workers.get().close()
    return as_file(found)


def with_labels(file: SkeletonFile, labels: dict[str, tuple[str, str]]) -> SkeletonFile:
    """The items that `labels` names, as trimmed sequences; labels: item -> (label, subject)."""
    kept = [k for k, name in enumerate(file.names) if name in labels]
    if not kept:
        raise KinoscopeError(
            "no video has a label", value=file.names[:3], remedy=f"labels are of {list(labels)[:3]}"
        )
    file = file.take(kept)
    told = [labels[name] for name in file.names]
    names, subjects = sorted({label for label, _ in told}), sorted({subject for _, subject in told})
    return replace(
        file,
        label=np.array([names.index(label) for label, _ in told]),
        label_names=tuple(names),
        segments=None,
        subject=np.array([subjects.index(subject) for _, subject in told]),
        subject_names=tuple(subjects),
    )


def with_segments(file: SkeletonFile, database: Database) -> SkeletonFile:
    """The items that `database` annotates (`media.labelled`), as untrimmed streams; one subject each."""
    kept = [k for k, name in enumerate(file.names) if name in database]
    if not kept:
        raise KinoscopeError(
            "no video is annotated", value=file.names[:3], remedy=f"known are {list(database)[:3]}"
        )
    file = file.take(kept)
    rows = [(k, row) for k, name in enumerate(file.names) for row in database[name]["annotations"]]
    names = sorted({str(row["label"]) for _, row in rows})
    lengths = np.diff(file.offset)
    segments = []
    for item, row in rows:
        first, last = (round(float(second) * file.fps) for second in row["segment"])
        first, last = max(first, 0), min(max(last, first + 1), int(lengths[item]))
        if first < last:  # not beyond the end of the video
            segments.append((item, first, last, names.index(str(row["label"]))))
    return replace(
        file,
        label=None,
        segments=np.array(segments, np.int64).reshape(-1, 4),
        label_names=tuple(names),
        subject=np.arange(len(file)),
        subject_names=tuple(file.names),
    )


class Worker:
    """A process that takes the poses of one video after another, and is started anew if one brings it down."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="kinoscope-pose-")

    def __call__(self, path: Path, fps: float | None = None) -> Poses | KinoscopeError:
        """The poses of a video, or what is wrong with it."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answer = Path(self._folder.name) / "poses.npz"
        answer.unlink(missing_ok=True)
        try:
            self._process.stdin.write(json.dumps([str(path), fps, str(answer)]) + "\n")
            self._process.stdin.flush()
            self._process.stdout.readline()
        except BrokenPipeError:
            pass
        if not answer.is_file():
            code = self._process.wait()
            return KinoscopeError(
                "no poses could be taken", file=path, value=f"the process ended with {code}"
            )
        with np.load(answer) as arrays:
            if "error" in arrays:
                return KinoscopeError(str(arrays["error"]))
            problem = str(arrays["problem"]) or None
            return Poses(
                float(arrays["fps"]), arrays["joints"], arrays["confidence"], arrays["pixels"], problem
            )

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
        self._folder.cleanup()


def in_own_process(path: Path, fps: float | None = None) -> Poses | KinoscopeError:
    """`poses_of` in a new process: mediapipe keeps state, prints, and might fall over a strange file."""
    worker = Worker()
    try:
        return worker(path, fps)
    finally:
        worker.close()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """What is printed to standard error goes nowhere: mediapipe's compiled part has a lot to say."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def as_file(found: dict[str, Poses]) -> SkeletonFile:
    """Poses as one neutral skeleton file, an item a video."""
    if not found:
        raise KinoscopeError("not one video could be read")
    lengths = [len(poses.joints) for poses in found.values()]
    return SkeletonFile.from_arrays(
        {
            "joints": np.concatenate([poses.joints for poses in found.values()]),
            "confidence": np.concatenate([poses.confidence for poses in found.values()]),
            "pixels": np.concatenate([poses.pixels for poses in found.values()]).astype(np.float16),
            "offset": np.cumsum([0, *lengths]),
            "joint_names": np.array(JOINTS),
            "parents": np.array(PARENTS),
            "fps": np.array(next(iter(found.values())).fps),
            "up_axis": np.array("y"),
            "source": np.array(list(found)),
        }
    )


def _tried(path: Path, fps: float | None) -> Poses | KinoscopeError:
    try:
        return poses_of(path, fps)
    except KinoscopeError as error:
        return error


def _serve() -> None:
    """A worker's process: a line in; poses, or the sentence that says what is wrong, into a file; a line out."""
    for line in sys.stdin:
        path, fps, answer = json.loads(line)
        got = _tried(Path(path), fps)
        partial = Path(answer).with_suffix(".partial.npz")
        if isinstance(got, Poses):
            np.savez(partial, **{**vars(got), "problem": np.array(got.problem or "")})
        else:
            np.savez(partial, error=np.array(str(got)))
        partial.rename(answer)
        print("done", flush=True)


if __name__ == "__main__":
    _serve()
