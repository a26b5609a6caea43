"""Motion clips as training and test data: any file in the neutral skeleton format, no label needed to train.

A frame is its aligned pose, its velocities and the velocity of the root (`kinoscope.media.pose_features`). Labels and
key events serve the evaluation alone: a frame's phase is 0 before the key event of its clip and 1 from it on.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from kinoscope.errors import KinoscopeError
from kinoscope.media.pose_features import Standardiser, file_features
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.representation.augment import PoseAugment
from kinoscope.representation.objectives import Batch
from kinoscope.representation.sampling import Sampler
from kinoscope.representation.settings import MotionsData


@dataclass(frozen=True)
class Clip:
    """One clip. features (T, C) float32, of motion in metres and metres a second; label and key_event: -1 for none.

    frame_labels: (T,) the phase of each frame, -1 for none, where it is not told by a key event.
    """

    name: str
    features: np.ndarray
    label: int = -1
    key_event: int = -1
    frame_labels: np.ndarray | None = None

    @property
    def phases(self) -> np.ndarray | None:
        """(T,) phase of each frame, -1 for none; of a key event 0 before it, 1 from it on. None: nothing is known."""
        if self.frame_labels is not None:
            return self.frame_labels
        if not 0 <= self.key_event < len(self.features):
            return None
        return (np.arange(len(self.features)) >= self.key_event).astype(np.int64)


class Source(Protocol):
    """Training and test clips of a recipe, whatever they were made of."""

    train: list[Clip]
    test: list[Clip]
    label_names: tuple[str, ...]
    skipped: dict[str, str]
    standardise: Standardiser

    def baselines(self) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
        """{name: (training, test) features} that need no training."""

    def about(self) -> dict[str, Any]:
        """What a model must know of its input; plain JSON values."""


def fitting_frames(clips: Sequence[Clip]) -> int:
    """Frames of a view that suit clips: three fifths of the median length, in eights, 8 to 240 (published)."""
    middle = statistics.median(len(clip.features) for clip in clips)
    return min(max(round(0.6 * middle / 8) * 8, 8), 240)


def read_clips(skeletons: SkeletonFile, skipped: dict[str, str]) -> list[Clip]:
    """The clips of a file; those without motion go to `skipped`."""
    still = skeletons.without_motion()
    skipped.update(still)
    features = file_features(skeletons)
    events = skeletons.key_event
    if skeletons.label is None:
        labels = np.full(len(skeletons), -1)
    else:
        labels = skeletons.label
    return [
        Clip(name, features[name], int(labels[k]), -1 if events is None else int(events[k]))
        for k, name in enumerate(skeletons.names)
        if name not in still
    ]


class MotionSource:
    """Training and test clips of a recipe, and how their features are standardised.

    Raises KinoscopeError where there is no training clip, or where test clips have other joints or labels.
    """

    def __init__(self, data: MotionsData) -> None:
        train, test = _divide(data)
        self.skipped: dict[str, str] = {}
        self.train = read_clips(train, self.skipped)
        if not self.train:
            raise KinoscopeError(
                "there is no training clip with motion", field="data.train", value=data.train
            )
        self.test = [] if test is None else read_clips(test, self.skipped)
        if test is not None and test.joint_names != train.joint_names:
            raise KinoscopeError(
                "training and test clips have other joints",
                field="data.test",
                value=list(test.joint_names),
                remedy=f"expected {list(train.joint_names)}",
            )
        self.label_names = train.label_names
        if test is not None and test.label_names != train.label_names:
            self.test = _relabelled(self.test, test.label_names, train.label_names)
        self.joint_names = train.joint_names
        self.standardise = Standardiser.fit([clip.features for clip in self.train])

    def baselines(self) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
        """Poses, and poses with velocity, standardised."""
        first, second = (
            [self.standardise(clip.features) for clip in clips] for clips in (self.train, self.test)
        )
        width = 3 * (first[0].shape[1] // 6)  # joints come before their velocities
        return {
            "poses": ([x[:, :width] for x in first], [x[:, :width] for x in second]),
            "poses_with_velocity": (first, second),
        }

    def about(self) -> dict[str, Any]:
        return {
            "label_names": list(self.label_names),
            "input": "motions",
            "joint_names": list(self.joint_names),
        }


def _divide(data: MotionsData) -> tuple[SkeletonFile, SkeletonFile | None]:
    whole = SkeletonFile.load(data.train)
    if data.test is not None:
        return whole, SkeletonFile.load(data.test)
    if data.split == "none":
        return whole, None
    return whole.split(data.test_subjects)


def _relabelled(clips: list[Clip], names: Sequence[str], wanted: Sequence[str]) -> list[Clip]:
    """Clips whose labels index `wanted` instead of `names`; the training file's names come first."""
    extra = [name for name in names if name not in wanted]
    if extra:
        raise KinoscopeError(
            "the test clips have labels that the training clips lack", field="data.test", value=extra
        )
    table = [list(wanted).index(name) for name in names]
    return [Clip(c.name, c.features, table[c.label] if c.label >= 0 else -1, c.key_event) for c in clips]


class TwoViews:
    """Training samples: two views of a clip, each with its own frames and its own random changes.

    Clips are repeated until there are `least` samples, so that a handful of clips fills a batch. synchronous: clips of
    a class show one moment, and the second view may be of any of them.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        standardise: Standardiser,
        sampler: Sampler,
        augment: PoseAugment,
        least: int = 1,
        synchronous: bool = False,
    ) -> None:
        self.clips, self.standardise, self.sampler, self.augment = clips, standardise, sampler, augment
        self.repeats = math.ceil(least / len(clips))
        self.synchronous = synchronous

    def __len__(self) -> int:
        return len(self.clips) * self.repeats

    def draw(self, index: int, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
        """(features (2, T, C), lengths (2,), frame numbers (2, T), mask (2, T)) of a clip."""
        clip = self.clips[index % len(self.clips)]
        second = clip
        if self.synchronous:
            beside = [other for other in self.clips if other.label == clip.label]
            second = beside[int(generator.integers(len(beside)))]
        views, steps, masks = [], [], []
        before = None
        for features in (clip.features, second.features):
            load, chosen, mask = self.sampler(len(features), generator, before)
            before = load if before is None else before
            view = self.standardise(self.augment.turn(features[load], generator))
            changed = self.augment.change(view, generator)
            views.append(changed * self.standardise.std + self.standardise.mean)
            steps.append(chosen)
            masks.append(mask)
        lengths = np.array([len(clip.features), len(second.features)])
        return np.stack(views), lengths, np.stack(steps), np.stack(masks)


def batch_views(samples: Sequence[tuple[np.ndarray, ...]]) -> Batch:
    """Samples as a batch with an axis of two views."""
    clips, lengths, steps, mask = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
    return Batch(clips, lengths, steps, mask)
