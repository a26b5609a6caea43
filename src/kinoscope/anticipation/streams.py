"""Skeleton streams as anticipation samples: what was seen up to tau_a before an action, and which action it is.

Nothing of the future is touched: a motion is cut after its last observed frame *before* features are computed
from it, bodies are turned to their mean shoulder line so far, and velocities look back one frame. A step is the mean
of the frames of 1/frame_rate seconds, counted from the start of the stream; the last one may be shorter. A window is
the stream so far; in a long stream its start moves on by half of tau_o whenever tau_o is full. So an earlier step
never changes while a stream grows, and a decoder can keep what it knows of it. A window that would end before the
stream is one blank step.

Training windows are made from training streams alone. Some (`mix`) are spliced: every action, with the pause before
it, is played by a random person who did the same action elsewhere. The order of the actions stays a real one, so
that it, and not the looks of one recording, tells what comes next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kinoscope import builtin
from kinoscope.anticipation.pose_stream import PoseStream
from kinoscope.anticipation.settings import StreamsData
from kinoscope.errors import KinoscopeError
from kinoscope.media.pose_features import BodyPlan, Standardiser, body_plan
from kinoscope.media.skeleton import Motion, SkeletonFile

NOTHING = -1  # label of a step without action
ROUNDING_S = 1e-9  # a frame at the very end of a window is seen


@dataclass(frozen=True)
class Sample:
    """One window.

    features: (n, D) float32, n <= T steps. current: (n,) the action that goes on at each step; upcoming: (n,) the one
    that starts next, tau_a after the step before or later (what that step should have told); target: the action to
    come. -1: none.
    last_s: time of the last observed frame (-1: none); start_s, end_s: of the action to come. from_start: the window
    begins with the stream.
    """

    video: str
    features: np.ndarray
    current: np.ndarray
    upcoming: np.ndarray
    target: int
    last_s: float
    start_s: float
    end_s: float
    from_start: bool = True


@dataclass(frozen=True)
class Track:
    """A stream as frame features (F, C), with its segments (S, 3) first frame, one past the last, label, by time."""

    name: str
    fps: float
    features: np.ndarray
    segments: np.ndarray


def last_frame(end_s: float, fps: float) -> int:
    """Number of the last frame at or before `end_s`; -1 where there is none.

    >>> last_frame(0.5, 30.0), last_frame(-0.1, 30.0)
    (15, -1)
    """
    return max(math.floor((end_s + ROUNDING_S) * fps), -1)


def frame_features(motion: Motion, plan: BodyPlan, up_axis: str) -> np.ndarray:
    """(F, 6 V + 3) of all frames of a motion."""
    return PoseStream(plan, motion.fps, up_axis).push(motion.joints)


def by_time(segments: np.ndarray) -> np.ndarray:
    """Segments (S, 3) in order of their start."""
    return segments[np.argsort(segments[:, 0], kind="stable")]


def first_step(steps: int, most: int) -> int:
    """Step with which the window of a stream of `steps` steps begins: 0, or a multiple of half of `most`.

    >>> [first_step(steps, 8) for steps in (5, 8, 9, 12, 13)]
    [0, 0, 4, 4, 8]
    """
    half = max(most // 2, 1)
    return max(-(-(steps - most) // half), 0) * half


def step_starts(last: int, fps: float, frame_rate: float) -> np.ndarray:
    """First frame of every step that has begun by frame `last`.

    >>> step_starts(20, fps=30.0, frame_rate=4.0).tolist()
    [0, 8, 15]
    """
    size = max(fps / frame_rate, 1.0)
    starts = np.round(np.arange(int((last + 1) / size) + 2) * size).astype(np.int64)
    return starts[starts <= last]


def window(track: Track, last: int, data: StreamsData) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """(n, C) features, (n,) current and (n,) upcoming actions of the window that ends with frame `last`; whether it
    begins with the stream."""
    starts = step_starts(last, track.fps, data.frame_rate)
    begin = first_step(len(starts), data.num_frames)
    starts = starts[begin:]
    stops = np.append(starts[1:], last + 1)
    seen = track.features[starts[0] : last + 1]
    means = np.add.reduceat(seen, starts - starts[0], axis=0) / (stops - starts)[:, None]
    middle = (starts + stops - 1) // 2
    first, end, label = track.segments.T
    on = (first <= middle[:, None]) & (middle[:, None] < end)
    current = (
        np.where(on.any(1), label[on.argmax(1)], NOTHING) if len(label) else np.full(len(starts), NOTHING)
    )
    # A step is told from the steps before it, whose last frame is starts - 1.
    later = first >= starts[:, None] - 1 + data.tau_a * track.fps
    upcoming = np.full(len(starts), NOTHING)
    if len(label):
        upcoming = np.where(later.any(1), label[later.argmax(1)], NOTHING)
    return means.astype(np.float32), current, upcoming, begin == 0


class WindowReader:
    """Cuts standardised windows out of motions of one skeleton."""

    def __init__(self, data: StreamsData, joint_names: Sequence[str], standardise: Standardiser) -> None:
        self.data, self.joint_names, self.standardise = data, tuple(joint_names), standardise
        self.plan = body_plan(self.joint_names)

    @classmethod
    def from_about(cls, data: StreamsData, about: dict[str, Any]) -> WindowReader:
        """Inverse of `about`."""
        return cls(data, about["joint_names"], Standardiser.from_dict(about["standardise"]))

    def about(self) -> dict[str, Any]:
        return {"joint_names": list(self.joint_names), "standardise": self.standardise.to_dict()}

    def at(
        self, motion: Motion, up_axis: str, end_s: float, label: int, start_s: float, stop_s: float
    ) -> Sample:
        """The window of a motion that ends at `end_s`, for the action `label` from `start_s` to `stop_s`."""
        last = min(last_frame(end_s, motion.fps), len(motion.joints) - 1)
        if last < 0:
            return self.blank(motion.name, label, start_s, stop_s)
        seen = replace(motion, joints=motion.joints[: last + 1])
        track = Track(
            motion.name, motion.fps, frame_features(seen, self.plan, up_axis), by_time(motion.segments)
        )
        features, current, upcoming, begins = window(track, last, self.data)
        seen_s = last / motion.fps
        return Sample(
            motion.name,
            self.standardise(features),
            current,
            upcoming,
            label,
            seen_s,
            start_s,
            stop_s,
            begins,
        )

    def blank(self, name: str, label: int, start_s: float, stop_s: float) -> Sample:
        """The window of an action before which nothing can be observed."""
        nothing = np.full(1, NOTHING)
        features = np.zeros((1, len(self.standardise.mean)), np.float32)
        return Sample(name, features, nothing, nothing, label, -1.0, start_s, stop_s)


class StreamSource:
    """Training and test windows, one an annotated action. A stream without motion is left out and named."""

    def __init__(self, data: StreamsData, reader: WindowReader | None = None) -> None:
        """reader: of a trained model; without, the training streams standardise."""
        self.data = data
        train, test = _divide(data)
        for name in ("label_names", "joint_names"):
            if getattr(train, name) != getattr(test, name):
                raise KinoscopeError(
                    f"training and test streams differ in their {name.replace('_', ' ')}",
                    field="data.test",
                    value=list(getattr(test, name)),
                    remedy=f"expected {list(getattr(train, name))}",
                )
        self.skipped = {**train.without_motion(), **test.without_motion()}
        self.links = [(k, int(p)) for k, p in enumerate(test.parents) if p >= 0]
        self.label_names, self.up_axis = tuple(train.label_names), test.up_axis
        self.test = [m for m in test if m.name not in self.skipped]
        plan = body_plan(train.joint_names)
        self.tracks = [
            Track(m.name, m.fps, frame_features(m, plan, train.up_axis), by_time(m.segments))
            for m in train
            if m.name not in self.skipped
        ]
        self.rows = _rows([track.segments for track in self.tracks])
        self.test_rows = _rows([m.segments for m in self.test])
        if not self.rows:
            raise KinoscopeError(
                "no training stream has an annotated action and motion", field="data.train", value=data.train
            )
        self.reader = reader or WindowReader(
            data, train.joint_names, Standardiser.fit([track.features for track in self.tracks])
        )
        self.input_dim = len(self.reader.standardise.mean)
        self._donors: dict[tuple[int, bool], list[tuple[int, int]]] = {}
        for which, row in self.rows:
            key = int(self.tracks[which].segments[row, 2]), row == 0
            self._donors.setdefault(key, []).append((which, row))

    def about(self) -> dict[str, Any]:
        """What a model must carry along to read other streams of this kind."""
        return {"label_names": list(self.label_names), "input_dim": self.input_dim, **self.reader.about()}

    def train_times(self) -> list[list[tuple[float, float, int]]]:
        """(start_s, end_s, label) of the actions of every training stream, in order of time."""
        return [
            [
                (first / track.fps, end / track.fps, int(label))
                for first, end, label in track.segments.tolist()
            ]
            for track in self.tracks
        ]

    def train_orders(self) -> list[list[int]]:
        """The labels of every training stream, in order of time."""
        return [track.segments[:, 2].tolist() for track in self.tracks]

    def test_orders(self) -> list[list[int]]:
        """The same of the test streams."""
        return [by_time(motion.segments)[:, 2].tolist() for motion in self.test]

    def training_sample(self, index: int, generator: np.random.Generator) -> Sample:
        """The window before training action `index`, changed at random as the settings say."""
        data = self.data
        which, row = self.rows[index]
        track = self.tracks[which]
        # Every step is trained, so whole streams teach most; no action follows their end.
        whole = generator.random() < data.whole
        row = len(track.segments) - 1 if whole else row
        if generator.random() < data.mix:
            track = self._spliced(which, row, generator)
        track = faster(track, data.warp, generator)
        first, end, label = (int(x) for x in track.segments[row])
        start_s, end_s, lead = first / track.fps, end / track.fps, data.tau_a
        spare = (first - (track.segments[row - 1, 0] if row else 0)) / track.fps - lead
        if spare > 0 and generator.random() < data.earlier:
            lead += spare * generator.random()
        last = len(track.features) - 1 if whole else last_frame(start_s - lead, track.fps)
        if last < 0:
            return self.reader.blank(track.name, label, start_s, end_s)
        features, current, upcoming, begins = window(track, last, data)
        shown = self.reader.standardise(changed(features, data, generator))
        if data.noise:
            shown = shown + data.noise * generator.standard_normal(shown.shape[1], np.float32)
        seen_s, target = last / track.fps, NOTHING if whole else label
        return Sample(track.name, shown, current, upcoming, target, seen_s, start_s, end_s, begins)

    def test_sample(self, index: int) -> Sample:
        """The window before test action `index`."""
        which, row = self.test_rows[index]
        motion = self.test[which]
        first, end, label = (int(x) for x in by_time(motion.segments)[row])
        start_s = first / motion.fps
        return self.reader.at(
            motion, self.up_axis, start_s - self.data.tau_a, label, start_s, end / motion.fps
        )

    def _spliced(self, which: int, row: int, generator: np.random.Generator) -> Track:
        """The stream up to action `row`, each action with the pause before it from a random training stream."""
        own = self.tracks[which]
        parts, segments, done = [], [], 0
        for k in range(row + 1):
            label = int(own.segments[k, 2])
            donors = self._donors[label, k == 0]
            donor, at = donors[int(generator.integers(len(donors)))]
            track = self.tracks[donor]
            first, end = (int(x) for x in track.segments[at, :2])
            begin = int(track.segments[at - 1, 1]) if at else 0
            begin = min(begin, first)
            parts.append(track.features[begin:end])
            segments.append((done + first - begin, done + end - begin, label))
            done += end - begin
        return Track(own.name, own.fps, np.concatenate(parts), np.array(segments))


def faster(track: Track, share: float, generator: np.random.Generator) -> Track:
    """The stream played faster or slower by a random factor in [1 - share, 1 / (1 - share)]: speeds change too."""
    if not share:
        return track
    limit = -math.log1p(-share)
    factor = math.exp(generator.uniform(-limit, limit))
    joints = (track.features.shape[1] - 3) // 2
    features = track.features.copy()
    features[:, joints:] *= factor
    return replace(track, fps=track.fps * factor, features=features)


def changed(features: np.ndarray, data: StreamsData, generator: np.random.Generator) -> np.ndarray:
    """(T, C) turned about the vertical and resized by random amounts, one a window."""
    points = features.reshape(len(features), -1, 3)
    if data.turn:
        angle = generator.uniform(-data.turn, data.turn)
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float32)
        points = points @ matrix
    if data.resize:
        points = points * np.float32(1 + generator.uniform(-data.resize, data.resize))
    features = points.reshape(features.shape)
    return features


def _rows(segments: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """(stream, action in order of time) of every annotated action."""
    return [(which, row) for which, table in enumerate(segments) for row in range(len(table))]


def _divide(data: StreamsData) -> tuple[SkeletonFile, SkeletonFile]:
    """Training and test streams, from two files or from one that is split."""
    whole = SkeletonFile.load(builtin.resolve(data.train))
    if data.test is not None:
        return whole, SkeletonFile.load(builtin.resolve(data.test))
    if data.split == "subject":
        return whole.split(data.test_subjects)
    count = max(len(whole) // 5, 1)
    return whole.take(range(len(whole) - count)), whole.take(range(len(whole) - count, len(whole)))
