"""Skeleton streams as training and test data: any file in the neutral format, settings that fit it.

The features of a frame are its root-centred joints turned to the shoulder line, their velocities and the
velocity of the root (123 channels for the 20 joints of a Kinect), standardised by the training streams.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from kinoscope import builtin
from kinoscope.errors import KinoscopeError
from kinoscope.localization.instants import as_instants
from kinoscope.localization.items import Item
from kinoscope.localization.settings import Model, StreamsData
from kinoscope.localization.spotting import starts
from kinoscope.media.pose_features import Standardiser, file_features, turned
from kinoscope.media.skeleton import Motion, SkeletonFile
from kinoscope.timeline import Events, TimeAxis


class StreamSource:
    """Training and test streams. A stream without any motion is left out and named in `skipped`."""

    empty_label_ids: tuple[int, ...] = ()  # every class of a file is taught, if only by absence

    def __init__(self, data: StreamsData, model: Model) -> None:
        self.data = data
        train, test = _divide(data)
        if data.instants is not None:
            train, test = as_instants(train, data.instants), as_instants(test, data.instants)
        if train.label_names != test.label_names:
            raise KinoscopeError(
                "training and test streams name other labels", field="data.test", value=test.label_names
            )
        self.skipped: dict[str, str] = {**train.without_motion(), **test.without_motion()}
        self.train = {m.name: m for m in train if m.name not in self.skipped}
        self.test = {m.name: m for m in test}
        self.train_ids, self.test_ids = list(self.train), list(self.test)
        self.label_names = tuple(train.label_names)
        features = {name: f for name, f in file_features(train, data.smooth_s).items() if name in self.train}
        if not features:
            raise KinoscopeError(
                "there is no training stream with motion", field="data.train", value=data.train
            )
        self.standardise = Standardiser.fit(list(features.values()))
        self._features = {name: self.standardise(f) for name, f in features.items()}
        self._test_file = test
        self.joint_names = tuple(train.joint_names)
        self.input_dim: int | tuple[int, ...] = next(iter(features.values())).shape[1]
        self.num_classes = len(self.label_names)
        longest = max(len(f) for f in features.values())
        self.max_seq_len = data.max_seq_len or _rounded_up(longest, model)

    def training_item(self, index: int, generator: np.random.Generator) -> Item:
        """Stream `index`, cut to `max_seq_len` steps at random where it is longer."""
        motion = self.train[self.train_ids[index]]
        item = stream_item(motion, self._features[motion.name], self.data.instants is not None)
        item = warped(item, self.data.warp, generator)
        if self.data.scale or self.data.turn_deg:
            item = replace(item, feats=self._another_body(item.feats, generator))
        if self.data.noise:
            drift = generator.standard_normal((item.feats.shape[0], 1), np.float32)
            item = replace(item, feats=item.feats + self.data.noise * torch.from_numpy(drift))
        item = _cut(item, self.max_seq_len, generator)
        half = self.data.instant_width_s * item.fps / 2
        return (
            item
            if self.data.instants is None
            else replace(item, segments=item.segments + torch.tensor([-half, half]))
        )

    def _another_body(self, feats_CT: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
        """The same motion by a taller or smaller body, that stands a little turned."""
        limit = math.log1p(self.data.scale)
        scale = math.exp(generator.uniform(-limit, limit))
        angle = math.radians(generator.uniform(-self.data.turn_deg, self.data.turn_deg))
        raw_TC = self.standardise.undo(feats_CT.numpy().T)
        points = turned(raw_TC.reshape(len(raw_TC), -1, 3) * scale, np.array(angle, np.float32))
        feats_TC = self.standardise(points.reshape(raw_TC.shape))
        return torch.from_numpy(np.ascontiguousarray(feats_TC.T))

    def test_items(self, indices: Sequence[int], skipped: dict[str, str]) -> Iterator[Item]:
        for index in indices:
            name = self.test_ids[index]
            if name in self.skipped:
                skipped[name] = self.skipped[name]
                continue
            part = self._test_file.take([index])
            features = self.standardise(file_features(part, self.data.smooth_s)[part.names[0]])
            yield stream_item(self.test[name], features, self.data.instants is not None)

    def test_truth(self) -> Events:
        events = self._test_file.events()
        return events if self.data.instants is None else starts(events)

    def test_durations(self) -> dict[str, float]:
        return {name: motion.duration_s for name, motion in self.test.items()}

    def about(self) -> dict[str, Any]:
        return {
            "label_names": list(self.label_names),
            "input": "streams",
            "joint_names": list(self.joint_names),
            "standardise": self.standardise.to_dict(),
            "input_dim": self.input_dim,
            "num_classes": self.num_classes,
            "max_seq_len": self.max_seq_len,
        }


def stream_item(motion: Motion, features: np.ndarray, instants: bool = False) -> Item:
    """One stream on its own grid: one step a frame; features (T, C), standardised.

    A step lies in the middle of its frame; with `instants` at its beginning, and segments are their first frames.
    """
    table = np.asarray(motion.segments)
    if instants:
        steps = np.repeat(table[:, :1], 2, axis=1).astype(np.float32)
    else:
        steps = TimeAxis(motion.fps, 1, 1).steps(table[:, :2] / motion.fps).astype(np.float32)
    return Item(
        motion.name,
        torch.from_numpy(np.ascontiguousarray(features.T, np.float32)),
        torch.from_numpy(steps),
        torch.from_numpy(table[:, 2].astype(np.int64)),
        motion.fps,
        motion.duration_s,
        1.0,
        0.0 if instants else 1.0,
    )


def warped(item: Item, share: float, generator: np.random.Generator) -> Item:
    """The stream played faster or slower by a random factor in [1 - share, 1 / (1 - share)].

    Poses keep their values and velocities too: what varies is how long an action takes.
    """
    if not share:
        return item
    limit = -math.log1p(-share)
    factor = math.exp(generator.uniform(-limit, limit))
    length = max(round(item.feats.shape[1] * factor), 1)
    feats = torch.nn.functional.interpolate(item.feats[None], size=length, mode="linear")[0]
    scale = length / item.feats.shape[1]
    return replace(item, feats=feats, segments=(item.segments + 0.5) * scale - 0.5)


def _divide(data: StreamsData) -> tuple[SkeletonFile, SkeletonFile]:
    """Training and test streams, from two files or from one that is split."""
    whole = SkeletonFile.load(builtin.resolve(data.train))
    if data.test is not None:
        return whole, SkeletonFile.load(builtin.resolve(data.test))
    if data.split == "subject":
        return whole.split(data.test_subjects)
    count = max(len(whole) // 5, 1)
    return whole.take(range(len(whole) - count)), whole.take(range(len(whole) - count, len(whole)))


def _rounded_up(longest: int, model: Model) -> int:
    """The next length that every level's attention window divides."""
    windows = model.backbone.n_mha_win_size
    levels = model.backbone.arch[2] + 1
    each = windows if isinstance(windows, tuple) else (windows,) * levels
    strides = [model.backbone.scale_factor**level for level in range(levels)]
    unit = math.lcm(*(s * (w // 2) * 2 if w > 1 else s for s, w in zip(strides, each, strict=True)))
    return math.ceil(longest / unit) * unit


def _cut(item: Item, length: int, generator: np.random.Generator) -> Item:
    """A random window of `length` steps of a longer stream, with the segments that overlap it."""
    steps = item.feats.shape[1]
    if steps <= length:
        return item
    start = int(generator.integers(0, steps - length + 1))
    segments = (item.segments - start).clamp(0, length)
    keep = segments[:, 1] - segments[:, 0] >= 0.5 * (item.segments[:, 1] - item.segments[:, 0])
    keep &= (item.segments[:, 1] >= start) & (item.segments[:, 0] < start + length)  # instants have no length
    window = item.feats[:, start : start + length]
    return replace(item, feats=window, segments=segments[keep], labels=item.labels[keep])
