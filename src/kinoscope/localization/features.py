"""Feature data sets: the four official readers and any own data in their form (ActionFormer specification 3).

| reader | conventions |
|---|---|
| thumos | files at a stride; also for own data |
| anet | repeated annotations left out; features may be stretched to one length or have a fixed length |
| epic | npz files; classes without any annotation are told to the classifier |
| ego4d | several folders joined by channel; `annotations` may be missing |

Differences from the official readers: a video whose features are missing or damaged is left out and named, with
every reader; a video without annotations is trained on as background; label ids are checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinoscope.errors import KinoscopeError
from kinoscope.localization.annotations import UNKNOWN_S, Annotations, Video
from kinoscope.localization.evaluate import read_truth
from kinoscope.localization.items import Item
from kinoscope.localization.resize import Grid, check_axis, cut_to_features, grid_of, keeps_rows, resize
from kinoscope.localization.settings import FeatureData, Model
from kinoscope.localization.truncation import Draws, random_window
from kinoscope.media.features import FeatureFolders, Features, is_hdf5, joined, names_in, read_array, store_at
from kinoscope.timeline import Events

LONG = 9216  # steps from which on a file to predict is read piece by piece


class FeatureSource:
    """Training and test videos of an annotation file, with features in folders or one HDF5 file."""

    def __init__(self, data: FeatureData, model: Model) -> None:
        self.data = data
        self.annotations = Annotations.read(Path(data.annotations))
        self.folders = folders_of(data)
        self.input_dim, self.num_classes = data.input_dim, data.num_classes
        self.max_seq_len = data.max_seq_len
        self.longest = int(data.max_seq_len * model.max_buffer_len_factor)
        self.label_names = names_of(self.annotations, data.num_classes)
        self._check_labels()
        absent = set(range(data.num_classes)) - self.annotations.used_labels
        self.empty_label_ids: tuple[int, ...] = () if data.num_classes == 1 else tuple(sorted(absent))
        self.skipped: dict[str, str] = {}
        self.train_ids = self._present(data.train_subsets)
        self.test_ids = self._present(data.test_subsets)
        if not self.train_ids and not self.test_ids:
            raise KinoscopeError(
                "not one video of these subsets has features",
                file=data.annotations,
                field="data.features",
                value=next(iter(self.skipped.values()), [*data.train_subsets, *data.test_subsets]),
                remedy=f"the file's subsets are {sorted({v.subset for v in self.annotations.videos.values()})}",
            )

    def _check_labels(self) -> None:
        if self.num_classes == 1:
            return
        if wrong := sorted(k for k in self.annotations.used_labels if not 0 <= k < self.num_classes):
            raise KinoscopeError(
                f"label ids outside 0..{self.num_classes - 1}",
                file=self.data.annotations,
                field="label_id",
                value=wrong[:10],
                remedy=f"set data.num_classes={max(wrong) + 1}, or mend the file",
            )

    def _present(self, subsets: Sequence[str]) -> list[str]:
        """Videos of the subsets that can be used; what is wrong with the others goes to `skipped`."""
        present = []
        for video in self.annotations.ids(subsets):
            if (missing := self.folders.missing(video)) is not None:
                self.skipped[video] = f"there is no feature file {missing}"
            elif self.fps(video) is None:
                self.skipped[video] = "its frame rate is unknown; set data.default_fps"
            elif self.data.reader == "anet" and self.annotations.videos[video].duration_s is None:
                self.skipped[video] = "its duration is unknown"
            else:
                present.append(video)
        return present

    def fps(self, video: str) -> float | None:
        if self.data.default_fps is not None:
            return self.data.default_fps
        axis = self.folders.axis(video)  # features are at the rate that the encoder saw, not the video's own
        return self.annotations.videos[video].fps if axis is None else axis.fps

    def training_item(self, index: int, generator: np.random.Generator) -> Item:
        """Training video `index`, cut or cropped at random. Raises KinoscopeError where its features are bad."""
        video = self.train_ids[index]
        return self.item(video, Draws(generator))

    def test_items(self, indices: Sequence[int], skipped: dict[str, str]) -> Iterator[Item]:
        for index in indices:
            video = self.test_ids[index]
            try:
                item = self.item(video)
                if item.feats.shape[1] > self.longest:
                    raise KinoscopeError(
                        f"longer than the model's {self.longest} steps",
                        value=item.feats.shape[1],
                        remedy="raise model.max_buffer_len_factor",
                    )
            except KinoscopeError as error:
                skipped[video] = str(error)
                continue
            yield item

    def item(self, video: str, draws: Draws | None = None) -> Item:
        """One video on the feature grid: for training with `draws`, else whole."""
        entry, data = self._entry(video), self.data
        features, grid = opened(self.folders, data, video, entry.duration_s, self._fps(video))
        segments, labels = grid.steps(entry.segments_s, self._fps(video)), entry.labels
        start, stop = 0, grid.length
        if draws is not None:
            if data.reader == "anet":
                segments, labels = cut_to_features(
                    segments, labels, grid.length, grid.offset, data.trunc_thresh
                )
            window = random_window(
                grid.length,
                segments,
                draws,
                data.max_seq_len,
                data.trunc_thresh,
                grid.offset,
                data.crop_ratio,
                has_action=len(segments) > 0,
            )
            start, stop = window.start, window.stop
            segments, labels = window.segments, labels[window.rows]
        return _item(
            video,
            steps(features, grid, start, stop),
            grid,
            self._fps(video),
            entry.duration_s,
            segments,
            labels,
        )

    def _entry(self, video: str) -> Video:
        entry = self.annotations.videos[video]
        if self.data.reader == "anet":
            entry = entry.without_repetitions()
        if self.num_classes == 1:
            rows = tuple((start, end, 0) for start, end, _ in entry.rows)
            entry = Video(entry.subset, entry.duration_s, entry.fps, rows)
        return entry

    def _fps(self, video: str) -> float:
        fps = self.fps(video)
        if fps is None:
            raise KinoscopeError("its frame rate is unknown", field=video, remedy="set data.default_fps")
        return fps

    def test_truth(self) -> Events:
        """Ground truth of the first test subset (specification 10.1), videos without features included."""
        return self._truth

    @cached_property
    def _truth(self) -> Events:
        if not self.annotations.ids(self.data.test_subsets[:1]):
            return Events.empty(self.label_names)
        truth = read_truth(Path(self.data.annotations), self.data.test_subsets[0])
        return Events(truth.source, truth.start_s, truth.end_s, truth.label, truth.score, self.label_names)

    def test_durations(self) -> dict[str, float]:
        """Seconds; the end of the last action where the file gives no duration."""
        durations = {}
        for video in self.annotations.ids(self.data.test_subsets[:1]):
            entry = self.annotations.videos[video]
            last = max((row[1] for row in entry.rows), default=0.0)
            durations[video] = last if entry.duration_s is None else entry.duration_s
        return durations

    def about(self) -> dict[str, Any]:
        rates = [fps for video in self.train_ids or self.test_ids if (fps := self.fps(video)) is not None]
        return {
            "label_names": list(self.label_names),
            "input": "features",
            "input_dim": self.input_dim,
            "num_classes": self.num_classes,
            "max_seq_len": self.max_seq_len,
            "axis": {
                "fps": float(np.median(rates)),
                "stride_frames": self.data.feat_stride * self.data.downsample_rate,
                "window_frames": self.data.num_frames,
            },
            "encoders": self.folders.encoders(),
        }


def folders_of(data: FeatureData) -> FeatureFolders:
    """Where the features of a recipe lie. Raises KinoscopeError where it names none."""
    if not data.features:
        raise KinoscopeError(
            "where are the features?", field="data.features", remedy="set data.features=FOLDER"
        )
    return FeatureFolders.of(data.features, data.file_prefix, data.file_ext, data.input_dim)


def names_of(annotations: Annotations, num_classes: int) -> tuple[str, ...]:
    """Label names by number; classes that the file lacks are named by their number."""
    names = annotations.label_names
    return names + tuple(str(k) for k in range(len(names), num_classes))


def every_of(data: FeatureData) -> int:
    """Every how many-th row of a file is a step."""
    return data.downsample_rate if keeps_rows(data) else 1


def opened(
    folders: FeatureFolders, data: FeatureData, video: str, duration_s: float | None, fps: float
) -> tuple[Features, Grid]:
    """The features of a video and its steps."""
    if (axis := folders.axis(video)) is not None:
        check_axis(data, axis, f"{folders.folders[0]}:{video}")
    features = folders.open(video, every_of(data))
    return features, grid_of(data, len(features), duration_s, fps)


def steps(features: Features, grid: Grid, start: int, stop: int) -> Tensor:
    """Steps [start, stop) of a video, [C, T] float32; only these rows are read where the file has them as steps."""
    if not grid.resized:
        return _tensor(features.rows(start, stop)).T  # a view: nothing is held twice
    return resize(_tensor(features.rows()).T, grid.length)[:, start:stop].contiguous()


def _tensor(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(rows if rows.flags.writeable else rows.copy())


def _item(
    video: str,
    feats: Tensor,
    grid: Grid,
    fps: float,
    duration_s: float | None,
    segments: np.ndarray,
    labels: np.ndarray,
) -> Item:
    return Item(
        video,
        feats,
        torch.from_numpy(np.ascontiguousarray(segments, np.float32)),
        torch.from_numpy(np.ascontiguousarray(labels, np.int64)),
        fps,
        UNKNOWN_S if duration_s is None else duration_s,
        float(grid.stride),
        float(grid.num_frames),
    )


# -- files that no annotation speaks of -----------------------------------------------------------------------


def file_items(path: Path, data: FeatureData, fps: float, on_demand: bool = False) -> Iterator[Item]:
    """Items of one feature file (of an HDF5 file or a store: of everything in it), for prediction.

    on_demand: of files that allow it, long videos are read piece by piece (`Item.read`). Duration: the end of the last
    feature. A model of several folders takes one file with all channels, or a file of its first folder that has its
    companions in folders of the published names beside it.
    """
    store = store_at(path)
    for name in store.videos if store else names_in(path) if is_hdf5(path) else [path.name]:
        if store is not None:
            check_axis(data, store.axis(name), f"{path}:{name}")
            features = FeatureFolders.of(str(path), "", "", data.input_dim).open(name, every_of(data))
            fps = data.default_fps or store.axis(name).fps
        else:
            features = _of_file(path, data, name)
        frames = (len(features.parts[0]) - 1) * data.feat_stride + data.num_frames
        duration = frames / fps if data.feat_stride > 0 else None
        grid = grid_of(data, len(features), duration, fps)
        video = (name if store or is_hdf5(path) else path.stem).removeprefix(data.file_prefix)
        nothing = np.empty((0, 2)), np.empty(0)
        if on_demand and features.on_disk and not grid.resized and grid.length > LONG:
            features.check()
            feats = torch.empty(features.width, grid.length, device="meta")
            read = partial(_read, features)
            yield replace(_item(video, feats, grid, fps, duration, *nothing), read=read)
        else:
            yield _item(video, steps(features, grid, 0, grid.length), grid, fps, duration, *nothing)


def _read(features: Features, start: int, stop: int) -> Tensor:
    return torch.from_numpy(features.copied(start, stop)).T


def _of_file(path: Path, data: FeatureData, name: str) -> Features:
    widths = (data.input_dim,) if isinstance(data.input_dim, int) else tuple(data.input_dim)
    every = every_of(data)
    own = read_array(path, None, name)
    folders = (data.features,) if isinstance(data.features, str) else data.features
    companions = [path.parent.parent / Path(folder).name / path.name for folder in folders]
    if len(folders) > 1 and own.shape[1] != sum(widths) and all(file.is_file() for file in companions):
        parts = [read_array(file) for file in companions]
        return joined(parts, [str(file) for file in companions], sum(widths), every)
    if own.shape[1] != sum(widths):
        own = read_array(path, sum(widths), name)  # tells what is wrong
    return joined([own], [str(path)], sum(widths), every)
