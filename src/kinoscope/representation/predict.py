"""A trained encoder: frame embeddings of new inputs, its own evaluation, its answers written down."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinoscope import encoders
from kinoscope.engine.files import write_json
from kinoscope.engine.weights import Weights, save_weights
from kinoscope.errors import KinoscopeError
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.media.video import probe
from kinoscope.recipe import to_yaml
from kinoscope.representation.data import MotionSource, read_clips
from kinoscope.representation.inference import embed_clips
from kinoscope.representation.judge import can_be_judged, judge_beside
from kinoscope.representation.models import FrameEncoder
from kinoscope.representation.official import architecture
from kinoscope.representation.official import load_official as load_checkpoint
from kinoscope.representation.published import PublishedSource, about_input, counted, embed_video
from kinoscope.representation.published_stage import evaluated, image_encoder
from kinoscope.representation.settings import PublishedData, RepresentationSettings, VideosData
from kinoscope.representation.stages import clip_encoder, source_of
from kinoscope.representation.synchrony import synchrony
from kinoscope.representation.videos import frame_features
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
    """`predict(input)` for one file, `evaluate(folder)` for the recipe's test clips.

    about: what the network reads; `input` is `motions` (skeleton files), `videos` (features of a frozen network) or
    `frames` (pictures). network: other than the one that the settings describe (an official checkpoint's).
    """

    def __init__(
        self, settings: RepresentationSettings, about: dict[str, Any], network: FrameEncoder | None = None
    ) -> None:
        self.settings, self.about = settings, about
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if network is None:
            pictures = about["input"] == "frames"
            network = (
                image_encoder(settings)
                if pictures
                else clip_encoder(settings, about["channels"], about["num_frames"])
            )
        self.network = network.eval().to(self.device)

    def predict(self, path: str | Path, everything: bool = False) -> list[Embeddings]:
        """Embeddings of a video, or of every clip of a skeleton file, as the model was trained on one or the other.

        Clips without motion are an error unless others have some. `everything` changes nothing: there is one embedding
        a frame. Raises KinoscopeError where the file does not fit the model.
        """
        if self.about["input"] == "motions":
            return self._of_skeletons(path)
        rows, axis = self.features(path)
        return [Embeddings(Path(path).stem, rows, axis)]

    def features(self, video: str | Path) -> tuple[np.ndarray, TimeAxis]:
        """Embeddings (T, D) of one video and where they lie: the model as an encoder for other tasks."""
        if self.about["input"] == "motions":
            raise KinoscopeError(
                "this model was trained on motion, not on videos",
                file=video,
                remedy="give a skeleton file (.npz), or a model of representation/carl_videos",
            )
        if self.about["input"] == "frames":
            sampling = self.settings.sampling
            rows = embed_video(
                self.network,
                Path(video),
                counted(Path(video)),
                size=self.about["image_size"],
                centre_crop=self.about["centre_crop"],
                frames_per_batch=self.settings.evaluation.frames_per_batch,
                contexts=sampling.num_contexts,
                stride=sampling.context_stride,
            )
            return rows, TimeAxis(probe(video).fps, 1, 1)
        rows, axis = frame_features(video, *self.frame_encoder)
        return embed_clips(self.network, [rows], self.device)[0], axis

    @property
    def identity(self) -> dict[str, Any]:
        """What made these features, for a feature store: the weights by their checksum; plain JSON values."""
        digest = hashlib.sha256()
        for value in self.network.state_dict().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
        below = {"of": self.about["encoder"]} if "encoder" in self.about else {}
        return {"name": "representation", "weights": f"sha256:{digest.hexdigest()[:16]}", **below}

    @cached_property
    def frame_encoder(self) -> tuple[Any, encoders.Sampling]:
        """The frozen network below the transformer, with the weights that the recipe names."""
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
        data = self.settings.data
        if isinstance(data, PublishedData):
            result = evaluated(self.network, self.settings, PublishedSource(data), {})
            write_json(folder / "evaluation.json", result)
            return result
        source = source_of(data)
        if isinstance(source, MotionSource):
            self._same_joints(source.joint_names, str(data.train))
        if not can_be_judged(source):
            raise KinoscopeError(
                "there are no two test clips", field="data.test", remedy="name a file, or data.split=subject"
            )
        train, test = (
            embed_clips(self.network, [clip.features for clip in clips], self.device)
            for clips in (source.train, source.test)
        )
        result = judge_beside(source, train, test, self.settings.evaluation, source.skipped)
        if isinstance(data, VideosData) and data.synchronous:
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
    """An official checkpoint; its own number of layers counts. Raises KinoscopeError for a recipe of other input."""
    network, cfg = load_checkpoint(path)
    if not isinstance(settings.data, PublishedData):
        raise KinoscopeError(
            "this checkpoint reads video frames",
            file=path,
            field="--recipe",
            value=cfg["DATASETS"],
            remedy="take a recipe of that data set, for example representation/carl_pouring",
        )
    own = settings.model.embedder.model_copy(update=architecture(cfg, network))
    model = settings.model.model_copy(update={"embedder": own})
    return RepresentationModel(settings.model_copy(update={"model": model}), about_input(settings), network)
