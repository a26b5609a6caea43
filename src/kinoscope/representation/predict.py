"""A trained encoder: frame embeddings of new inputs, its own evaluation, its answers written down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinoscope.encoders import Encoder, Sampling
from kinoscope.engine.files import write_json
from kinoscope.engine.weights import Weights, save_weights
from kinoscope.errors import KinoscopeError
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.recipe import to_yaml
from kinoscope.representation.data import MotionSource, read_clips
from kinoscope.representation.inference import embed_clips
from kinoscope.representation.judge import judge_beside
from kinoscope.representation.official import load_official as load_checkpoint
from kinoscope.representation.settings import RepresentationSettings, VideosData
from kinoscope.representation.stages import clip_encoder, source_of
from kinoscope.representation.synchrony import synchrony
from kinoscope.timeline import TimeAxis


@dataclass(frozen=True)
class Embeddings:
    """One clip's embeddings (T, D) float32, of length one where the model normalises; one row a step of `axis`."""

    source: str
    values: np.ndarray
    axis: TimeAxis

    def to_json(self) -> dict[str, Any]:
        return {"fps": self.axis.fps, "embeddings": np.round(self.values.astype(float), 6).tolist()}


class RepresentationModel:
    """`predict(input)` for one file, `evaluate(folder)` for the recipe's test clips."""

    def __init__(self, settings: RepresentationSettings, about: dict[str, Any]) -> None:
        self.settings, self.about = settings, about
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = clip_encoder(settings, about["channels"], about["num_frames"]).eval().to(self.device)

    def predict(self, path: str | Path, everything: bool = False) -> list[Embeddings]:
        """Embeddings of a video, or of every clip of a skeleton file, as the model was trained on one or the other.

        Clips without motion are an error unless others have some. `everything` changes nothing: there is one embedding
        a frame. Raises KinoscopeError where the file does not fit the model.
        """
        if self.about["input"] == "videos":
            rows, axis = self.features(path)
            return [Embeddings(Path(path).stem, rows, axis)]
        return self._of_skeletons(path)

    def features(self, video: str | Path) -> tuple[np.ndarray, TimeAxis]:
        """Embeddings (T, D) of one video and where they lie: the model as an encoder for other tasks."""
        if self.about["input"] != "videos":
            raise KinoscopeError(
                "this model was trained on motion, not on videos",
                file=video,
                remedy="give a skeleton file (.npz), or a model of representation/carl_videos",
            )
        from kinoscope.representation.videos import frame_features

        rows, axis = frame_features(video, *self.frame_encoder)
        return embed_clips(self.network, [rows], self.device)[0], axis

    @cached_property
    def frame_encoder(self) -> tuple[Encoder, Sampling]:
        """The frozen network below the transformer, with the weights that the recipe names."""
        from kinoscope import encoders

        weights = self.settings.data.weights if isinstance(self.settings.data, VideosData) else None
        return encoders.from_identity(self.about["encoder"], weights)

    def _of_skeletons(self, path: str | Path) -> list[Embeddings]:
        skeletons = SkeletonFile.load(path)
        self._same_joints(skeletons.joint_names, path)
        skipped: dict[str, str] = {}
        clips = read_clips(skeletons, skipped)
        if not clips:
            name, why = next(iter(skipped.items()))
            raise KinoscopeError(why, file=path, field=name, remedy="give a clip in which a body moves")
        axis = TimeAxis(skeletons.fps, 1, 1)
        found = embed_clips(self.network, [clip.features for clip in clips], self.device)
        return [Embeddings(clip.name, values, axis) for clip, values in zip(clips, found, strict=True)]

    def _same_joints(self, names: Sequence[str], file: str | Path) -> None:
        if list(names) != list(self.about["joint_names"]):
            raise KinoscopeError(
                "these are other joints than the model was trained on",
                file=file,
                field="joint_names",
                value=list(names),
                remedy=f"expected {self.about['joint_names']}",
            )

    def evaluate(self, folder: Path) -> dict[str, Any]:
        """The recipe's tasks on its test clips, beside raw features; `evaluation.json` lands in `folder`."""
        source = source_of(self.settings.data)
        if isinstance(source, MotionSource):
            self._same_joints(source.joint_names, str(self.settings.data.train))
        if not source.test:
            raise KinoscopeError(
                "there are no test clips", field="data.test", remedy="name a file, or data.split=subject"
            )
        train, test = (
            embed_clips(self.network, [clip.features for clip in clips], self.device)
            for clips in (source.train, source.test)
        )
        result = judge_beside(source, train, test, self.settings.evaluation, source.skipped)
        if isinstance(self.settings.data, VideosData) and self.settings.data.synchronous:
            result |= synchrony(self.network, source, test, self.device)
        write_json(folder / "evaluation.json", result)
        return result

    def save(self, folder: Path) -> None:
        """The model as a weights folder."""
        save_weights(folder, self.network.state_dict(), to_yaml(self.settings), self.about)

    def render(self, parts: Sequence[list[Embeddings]], kind: str) -> str:
        """The embeddings as csv (source, time in seconds, values) or json."""
        if kind == "json":
            return json.dumps(self.to_json(parts)) + "\n"
        if kind != "csv":
            raise KinoscopeError(
                "embeddings are not written in that format",
                field="--format",
                value=kind,
                remedy="one of csv, json",
            )
        width = parts[0][0].values.shape[1]
        rows = [",".join(["source", "time_s", *(f"e{k}" for k in range(width))])]
        for clip in (clip for part in parts for clip in part):
            for t, row in enumerate(clip.values):
                numbers = ",".join(f"{value:.6g}" for value in row)
                rows.append(f"{_quoted(clip.source)},{t / clip.axis.fps:.4f},{numbers}")
        return "\n".join(rows) + "\n"

    def to_json(self, parts: Sequence[list[Embeddings]]) -> dict[str, Any]:
        return {"embeddings": {clip.source: clip.to_json() for part in parts for clip in part}}


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text


def load(weights: Weights, settings: RepresentationSettings) -> RepresentationModel:
    """The model of a weights folder."""
    model = RepresentationModel(settings, weights.about)
    model.network.load_state_dict(weights.state)
    return model


def load_official(path: Path, settings: RepresentationSettings) -> RepresentationModel:
    """An official checkpoint is one of video frames: it is read and named, but no recipe of motion can run it."""
    _, cfg = load_checkpoint(path)
    raise KinoscopeError(
        "this checkpoint reads video frames, not motion",
        file=path,
        field="--recipe",
        value=cfg["DATASETS"],
        remedy="load its network with kinoscope.representation.official.load_official",
    )
