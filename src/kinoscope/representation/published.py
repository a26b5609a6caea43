"""The data sets of the paper as training samples and as evaluation sets (CARL, sections 5 to 7 and 11.1).

Different from the official code: the frames that a sample shows alone are turned into pictures, once for both of its
views (quirk 35); a video that cannot be read costs itself; draws follow from seed, epoch and index alone (quirk 22);
labels may be missing, and the questions that need them are then left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinoscope.errors import KinoscopeError
from kinoscope.media.video import VideoReader, probe
from kinoscope.representation.image_augment import ImageAugment, evaluation_stages
from kinoscope.representation.models import FrameEncoder, TransformerEmbedder
from kinoscope.representation.objectives import Batch
from kinoscope.representation.official_config import PENN_ACTIONS
from kinoscope.representation.official_data import Entry, read_entries, read_kinetics
from kinoscope.representation.sampling import Sampler, chunks, with_contexts
from kinoscope.representation.settings import PublishedData


@dataclass(frozen=True)
class Video:
    """One video: its file, frames (None: not known yet), phase of each frame (-1: none), label of the whole."""

    path: Path
    name: str
    length: int | None
    frame_label: np.ndarray | None
    label: int

    def frames(self) -> int:
        """Frames of the video. Raises KinoscopeError where it cannot be read."""
        return counted(self.path) if self.length is None else self.length


def counted(path: Path) -> int:
    """Frames of a file, as it says itself, or by its duration."""
    info = probe(path)
    return info.frames or max(round((info.duration_s or 0) * info.fps), 1)


@dataclass(frozen=True)
class EvaluationSet:
    """What is judged under one name."""

    name: str
    train: list[Video]
    val: list[Video]


class PublishedSource:
    """Videos of a recipe. Raises KinoscopeError where the files of the data set are missing or wrong."""

    def __init__(self, data: PublishedData) -> None:
        if not data.root:
            raise KinoscopeError(
                "where are the data sets?",
                field="data.root",
                remedy="data.root=FOLDER, the one that `kinoscope prepare` wrote to",
            )
        self.data, self.root = data, Path(data.root)
        self.train = self._training()
        if not self.train:
            raise KinoscopeError(
                "there is no training video", file=self.root, field="data.dataset", value=data.dataset
            )

    def _training(self) -> list[Video]:
        data = self.data
        if data.dataset == "kinetics400":
            rows = read_kinetics(_existing(self.root / "Kinetics400" / "train.csv"))
            return [Video(self.root / name, Path(name).stem, None, None, -1) for name, _ in rows]
        if data.dataset == "finegym":
            folder = self.root / "finegym"
            parts = [f"gym{data.class_num}_train_v1.0.pkl"] + ["additional_v1.0.pkl"] * data.addition_trainset
            return [video for part in parts for video in self._read(folder / part, data.fraction)]
        fraction = data.fraction if data.dataset == "pouring" else 1.0  # officially Penn Action ignores it
        return self._read(self.root / data.dataset / "train.pkl", fraction)

    def evaluation_sets(self) -> list[EvaluationSet]:
        """Those of the data set; of Kinetics-400 and Penn Action, one for each action."""
        data = self.data
        if data.dataset == "finegym":
            folder, gym = self.root / "finegym", f"gym{data.class_num}"
            return [
                EvaluationSet(
                    "finegym",
                    self._read(folder / f"{gym}_train_v1.0.pkl"),
                    self._read(folder / f"{gym}_val.pkl"),
                )
            ]
        if data.dataset == "pouring":
            folder = self.root / "pouring"
            return [
                EvaluationSet("pouring", self._read(folder / "train.pkl"), self._read(folder / "val.pkl"))
            ]
        folder = self.root / "penn_action"
        if data.dataset == "kinetics400" and not folder.is_dir():
            return []
        both = self._read(folder / "train.pkl"), self._read(folder / "val.pkl")
        unknown = sorted(set(data.evaluate_on) - set(PENN_ACTIONS))
        if unknown:
            raise KinoscopeError(
                "Penn Action has no such action",
                field="data.evaluate_on",
                value=unknown,
                remedy=f"{PENN_ACTIONS}",
            )
        sets = []
        for name in data.evaluate_on or PENN_ACTIONS:
            train, val = ([v for v in part if v.label == PENN_ACTIONS.index(name)] for part in both)
            if train and val:
                sets.append(EvaluationSet(name, train, val))
        return sets

    def _read(self, path: Path, fraction: float = 1.0) -> list[Video]:
        return [_video(entry, path.parent) for entry in read_entries(_existing(path), fraction)]


def _video(entry: Entry, folder: Path) -> Video:
    return Video(folder / entry.video_file, entry.name, entry.seq_len, entry.frame_label, entry.label)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise KinoscopeError(
            "a file of the data set is missing",
            file=path,
            field="data.root",
            remedy="`kinoscope prepare` makes it; data.root is the folder above",
        )
    return path


def read_pictures(path: Path, indices: np.ndarray) -> np.ndarray:
    """The frames (N, H, W, 3) uint8 of ascending indices; those past the end are the last one (section 6.3)."""
    with VideoReader(path) as video:
        return np.stack([picture.image for picture in video.at((indices / video.info.fps).tolist())])


def as_clip(pictures: np.ndarray) -> Tensor:
    """(T, H, W, 3) uint8 -> (T, 3, H, W) float in 0 .. 1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


Sample = tuple[Tensor, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Views:
    """Training samples: one or two views of a video, each (frames, length, frame numbers, mask, labels)."""

    def __init__(self, videos: Sequence[Video], sampler: Sampler, augment: ImageAugment, views: int) -> None:
        self.videos, self.sampler, self.augment, self.views = videos, sampler, augment, views

    def __len__(self) -> int:
        return len(self.videos)

    def draw(self, index: int, generator: np.random.Generator) -> list[Sample]:
        """A list of one sample. Raises KinoscopeError for a video that cannot be read."""
        return [self.one(self.videos[index], generator)]

    def one(self, video: Video, generator: np.random.Generator) -> Sample:
        length = video.frames()
        drawn, before = [], None
        for _ in range(self.views):
            drawn.append(self.sampler(length, generator, before))
            before = drawn[0][0] if before is None else before
        wanted, place = np.unique(np.concatenate([load for load, _, _ in drawn]), return_inverse=True)
        pictures = read_pictures(video.path, wanted)
        clips = [self.augment(as_clip(pictures[rows]), generator) for rows in np.split(place, self.views)]
        steps = np.stack([chosen for _, chosen, _ in drawn])
        labels = np.full(length, -1) if video.frame_label is None else video.frame_label
        return (
            torch.stack(clips),
            np.full(self.views, length),
            steps,
            np.stack([m for *_, m in drawn]),
            labels[steps],
        )


class ClassViews(Views):
    """A sample is a whole batch of videos of one action, as TCC trains on Penn Action (section 6.3)."""

    def __init__(
        self, videos: Sequence[Video], sampler: Sampler, augment: ImageAugment, views: int, batch_size: int
    ) -> None:
        super().__init__(videos, sampler, augment, views)
        self.batch_size = batch_size
        self.classes = sorted({video.label for video in videos})
        self.groups = [
            [k for k, video in enumerate(videos) if video.label == label] for label in self.classes
        ]

    def __len__(self) -> int:
        return max(len(self.videos) // self.batch_size, 1)

    def draw(self, index: int, generator: np.random.Generator) -> list[Sample]:
        group = self.groups[int(generator.integers(len(self.groups)))]
        chosen = generator.permutation(len(group))[: self.batch_size]
        return [self.one(self.videos[group[k]], generator) for k in chosen]


def batch_of(samples: Sequence[list[Sample]]) -> Batch:
    """A batch; the axis of views is there where a sample has two."""
    flat = [sample for group in samples for sample in group]
    clips = torch.stack([sample[0] for sample in flat])
    rest = [torch.from_numpy(np.stack([sample[k] for sample in flat])) for k in (1, 2, 3, 4)]
    parts = [part[:, 0] if part.shape[1] == 1 else part for part in (clips, *rest)]
    return Batch(*parts)


def embed_video(
    model: FrameEncoder,
    path: Path,
    length: int,
    *,
    size: int,
    centre_crop: bool,
    frames_per_batch: int = 1000,
    contexts: int = 1,
    stride: int = 1,
    every: int = 1,
) -> np.ndarray:
    """Embeddings (ceil(length / every), D) float32 of a video, in evaluation mode (section 11.1).

    The trunk sees each frame once, few at a time: where embeddings share context frames, their features are shared.
    """
    device = next(model.parameters()).device
    changes = evaluation_stages(size, centre_crop)
    steps = np.arange(0, length, every)
    passes = model.frames_per_pass or 40
    parts = []
    was = model.training
    model.eval()
    with torch.no_grad(), VideoReader(path) as video:
        for piece in chunks(len(steps), frames_per_batch):
            frames = steps[with_contexts(np.arange(piece.start, piece.stop), len(steps), contexts, stride)]
            wanted, place = np.unique(frames, return_inverse=True)
            features = []
            for start in range(0, len(wanted), passes):
                times = (wanted[start : start + passes] / video.info.fps).tolist()
                clip = as_clip(np.stack([picture.image for picture in video.at(times)]))
                for _, change in changes:
                    clip = change(clip)
                features.append(_frame_features(model, clip.to(device)))
            x = torch.cat(features)[torch.from_numpy(place).to(device)][None]
            parts.append(model.head(model.embedder(x, None))[0].float().cpu().numpy())
    model.train(was)
    return np.concatenate(parts)


def _frame_features(model: FrameEncoder, clip: Tensor) -> Tensor:
    features = model.trunk_features(clip)
    if model.use_tail:
        features = model.tail(features)
    # the transformer takes the spatial maximum first of all: kept is one vector a frame
    return features.amax((2, 3)) if isinstance(model.embedder, TransformerEmbedder) else features


def shortened(videos: Sequence[Video], every: int) -> list[Video]:
    """Videos with the labels of every n-th frame."""
    return [v if v.frame_label is None else replace(v, frame_label=v.frame_label[::every]) for v in videos]


def about_input(settings: Any) -> dict[str, Any]:
    """What a model must know to embed a video; plain JSON values."""
    return {
        "input": "frames",
        "label_names": [],
        "image_size": settings.data.image_size,
        "centre_crop": settings.augment.random_crop,
    }
