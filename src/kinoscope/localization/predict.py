"""A trained localizer: predicts for new inputs, evaluates itself, writes its answers.

Without `everything`, only events above the threshold of their class (fitted on the validation split when the
model was evaluated, `thresholds.py`) are answered: a handful instead of hundreds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinoscope.engine.weights import Weights, save_weights
from kinoscope.errors import KinoscopeError
from kinoscope.localization.annotations import Annotations
from kinoscope.localization.build import model_config
from kinoscope.localization.features import file_items, names_of
from kinoscope.localization.fusion import with_video_classes
from kinoscope.localization.inference import predict_items
from kinoscope.localization.items import Item
from kinoscope.localization.judge import judge
from kinoscope.localization.models import Localizer, localizer
from kinoscope.localization.official import load_official as load_checkpoint
from kinoscope.localization.settings import LocalizationSettings, StreamsData
from kinoscope.localization.sources import open_source
from kinoscope.localization.spotting import write_spotting
from kinoscope.localization.streams import stream_item
from kinoscope.media.features import store_at
from kinoscope.media.pose_features import Standardiser, file_features
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.recipe import to_yaml
from kinoscope.timeline import Events


class Shape:
    """What the network must know of its data, from `about.json`."""

    def __init__(self, about: dict[str, Any]) -> None:
        size = about["input_dim"]
        self.input_dim: int | tuple[int, ...] = tuple(size) if isinstance(size, list) else size
        self.num_classes: int = about["num_classes"]
        self.max_seq_len: int = about["max_seq_len"]


class LocalizationModel:
    """`predict(input)` for one file, `evaluate(folder)` for the recipe's test videos."""

    def __init__(
        self, settings: LocalizationSettings, about: dict[str, Any], folder: Path | None = None
    ) -> None:
        self.settings, self.about, self.folder = settings, about, folder
        self.config = model_config(settings.model, Shape(about))
        self.network: Localizer = localizer(self.config).eval()
        self.label_names: tuple[str, ...] = tuple(about["label_names"])
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network.to(self.device)
        self.rates: dict[
            str, tuple[float, int]
        ] = {}  # frames a second and frames of every video that was seen

    def predict(self, path: str | Path, everything: bool = False) -> Events:
        """Events of one input file in seconds, best first within a video.

        path: a skeleton file for a model of streams, else a feature file (npy, npz, or HDF5 with one data set a
        video). Raises KinoscopeError where the file does not fit. A model without classes of its own
        (`data.num_classes=1`) takes them from `decode.ext_score_file` where that knows the video.
        """
        skipped: dict[str, str] = {}
        found = self._named(self._events(self._items(Path(path), skipped), self.label_names))
        for video, why in skipped.items():
            raise KinoscopeError(why, file=path, field=video)
        return found if everything else found[self._telling(found)]

    def _named(self, found: Events) -> Events:
        """The events of a class-agnostic model with the classes of a video classifier, or as plain actions."""
        if self.config.num_classes > 1 or len(self.label_names) == 1:
            return found
        file = self.settings.decode.ext_score_file
        if file is not None and Path(file).is_file():
            unknown: dict[str, str] = {}
            fused = with_video_classes(found, file, self.label_names, unknown)
            if not unknown:
                return fused
        return replace(found, label_names=("action",))

    def _events(self, items: Iterator[Item], label_names: tuple[str, ...]) -> Events:
        return predict_items(
            self.network,
            self.config,
            self._noted(items),
            self.settings.decode,
            label_names,
            self.device,
            self.settings.train.precision,
        )

    def _noted(self, items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            self.rates[item.video_id] = (item.fps, round(item.duration * item.fps))
            yield item

    def _items(self, path: Path, skipped: dict[str, str]) -> Iterator[Item]:
        data = self.settings.data
        if not isinstance(data, StreamsData):
            if (store := store_at(path)) is not None:
                self._same_kind({"encoders": [store.encoder]})
            yield from file_items(path, data, self._fps(), on_demand=True)
            return
        streams = SkeletonFile.load(path)
        if tuple(streams.joint_names) != tuple(self.about["joint_names"]):
            raise KinoscopeError(
                "these are other joints than the model was trained on",
                file=path,
                field="joint_names",
                value=list(streams.joint_names),
                remedy=f"expected {self.about['joint_names']}",
            )
        still = streams.without_motion()
        if len(still) == len(streams):
            skipped.update(still)
            return
        standardise = Standardiser.from_dict(self.about["standardise"])
        features = file_features(streams, data.smooth_s)
        for motion in streams:
            if motion.name not in still:
                instants = data.instants is not None
                yield stream_item(motion, standardise(features[motion.name]), instants)

    def _same_kind(self, about: dict[str, Any]) -> None:
        """Refuses features on another time axis or of another encoder than the model was trained on; says both."""
        for what in ("stride_frames", "window_frames"):
            mine, theirs = (table.get("axis", {}).get(what) for table in (self.about, about))
            if None not in (mine, theirs) and mine != theirs:
                raise KinoscopeError(
                    f"the model was trained on features with the axis {self.about['axis']}",
                    field=what,
                    value=about["axis"],
                    remedy="extract features with that stride and window",
                )
        mine, theirs = self.about.get("encoders"), about.get("encoders")
        if mine and theirs and mine != theirs:
            raise KinoscopeError(
                f"the model was trained on features of {mine}",
                field="encoder",
                value=theirs,
                remedy="extract features with that encoder",
            )

    def _fps(self) -> float:
        """Frames a second of the videos behind a feature file."""
        data = self.settings.data
        known = getattr(data, "default_fps", None) or self.about.get("axis", {}).get("fps")
        if known is None:
            raise KinoscopeError(
                "the frame rate of the videos is unknown",
                field="data.default_fps",
                remedy="load the model with data.default_fps=30, or whatever the features were extracted at",
            )
        return float(known)

    def _telling(self, found: Events) -> np.ndarray:
        """Which events reach the threshold of their class."""
        table = self._thresholds()
        limits = np.array([table.get(name, 0.3) for name in found.label_names])
        return np.asarray(found.score >= limits[found.label])

    def _thresholds(self) -> dict[str, float]:
        for folder in (self.folder, *(self.folder.parents[:2] if self.folder else ())):
            if folder is not None and (folder / "evaluation.json").is_file():
                table = json.loads((folder / "evaluation.json").read_text()).get("thresholds", {})
                return {str(name): float(value) for name, value in table.items()}
        return {}

    def evaluate(self, folder: Path) -> dict[str, Any]:
        """The recipe's protocol on its test videos; predictions, ground truth and metrics land in `folder`."""
        source = open_source(self.settings.data, self.settings.model)
        self._same_kind(source.about())
        skipped: dict[str, str] = dict(source.skipped)
        found = self._events(source.test_items(range(len(source.test_ids)), skipped), source.label_names)
        file = self.settings.decode.ext_score_file
        found = with_video_classes(found, file, source.label_names, skipped)
        return judge(found, source, self.settings.protocol, folder, skipped)

    def save(self, folder: Path) -> None:
        """The model as a weights folder."""
        save_weights(folder, self.network.state_dict(), to_yaml(self.settings), self.about)

    def render(self, parts: Sequence[Events], kind: str) -> str:
        """The answers as csv, json, WebVTT, the submission of ActivityNet or of the spotting benchmarks."""
        events = Events.concat(list(parts))
        if kind == "csv":
            return events.to_csv()
        if kind == "json":
            return events.dumps() + "\n"
        if kind == "activitynet":
            return json.dumps(submission(events)) + "\n"
        if kind == "spotting":
            fps = {video: rate for video, (rate, _) in self.rates.items()}
            frames = {video: count for video, (_, count) in self.rates.items()}
            return json.dumps(write_spotting(events, fps, frames)) + "\n"
        raise KinoscopeError("events are not written in that format", field="--format", value=kind)

    def to_json(self, parts: Sequence[Events]) -> dict[str, Any]:
        return Events.concat(list(parts)).to_json()


def submission(events: Events) -> dict[str, Any]:
    """The ActivityNet submission format, which THUMOS14 and Ego4D tools read too."""
    table = {
        video: [
            {"label": mine.name(int(k)), "score": float(s), "segment": [float(a), float(b)]}
            for k, s, a, b in zip(mine.label, mine.score, mine.start_s, mine.end_s, strict=True)
        ]
        for video, mine in events.by_source()
    }
    return {"version": "VERSION 1.3", "results": table, "external_data": {"used": False, "details": ""}}


def load(weights: Weights, settings: LocalizationSettings) -> LocalizationModel:
    """The model of a weights folder."""
    model = LocalizationModel(settings, weights.about, weights.folder)
    model.network.load_state_dict(weights.state)
    return model


def load_official(path: Path, settings: LocalizationSettings) -> LocalizationModel:
    """An official checkpoint (its averaged weights) under the recipe that it belongs to."""
    data = settings.data
    if isinstance(data, StreamsData):
        raise KinoscopeError("no official checkpoint is of this recipe", file=path, field="--recipe")
    names = tuple(str(k) for k in range(data.num_classes))
    if Path(data.annotations).is_file():
        names = names_of(Annotations.read(Path(data.annotations)), data.num_classes)
    about = {
        "label_names": list(names),
        "input": "features",
        "input_dim": data.input_dim,
        "num_classes": data.num_classes,
        "max_seq_len": data.max_seq_len,
    }
    model = LocalizationModel(settings, about)
    load_checkpoint(model.network, path)
    return model
