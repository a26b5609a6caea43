"""Trained skeleton models on new files: class scores, or embeddings where only pre-training was done."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinoscope.engine.files import write_json
from kinoscope.engine.weights import Weights, load_weights
from kinoscope.errors import KinoscopeError
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.skeleton import official
from kinoscope.skeleton.data import Clips, clips_of, open_clips
from kinoscope.skeleton.downsample import downsample
from kinoscope.skeleton.layouts import NTU_25, Layout, layout_of
from kinoscope.skeleton.metrics import percent, top_k
from kinoscope.skeleton.models import ClipEncoder, build_encoder
from kinoscope.skeleton.settings import Schema
from kinoscope.skeleton.skeleton_files import read_skeleton
from kinoscope.skeleton.stages import LinearHead, encode, encoder_config


@dataclass
class Prediction:
    """Of one file: clip names, embeddings (N, D), and class scores (N, K) where there is a classifier."""

    file: str
    names: list[str]
    embeddings: np.ndarray
    scores: np.ndarray | None


class SkeletonModel:
    """The encoder, its classifier if any, and the names of the classes."""

    def __init__(
        self, encoder: ClipEncoder, head: Any, label_names: list[str], settings: Schema, layout: Layout
    ) -> None:
        self.encoder, self.head = encoder.eval(), head
        self.label_names, self.settings, self.layout = label_names, settings, layout

    def clips(self, path: str | Path) -> Clips:
        """Clips of a `.skeleton` text file or a neutral `.npz` file."""
        if str(path).endswith(".skeleton"):
            x = downsample(read_skeleton(path), t_length=self.settings.data.frames, with_motion=False)[0]
            clips = Clips(x[None], np.zeros(1, int), [Path(path).stem], self.label_names, NTU_25)
        else:
            clips = clips_of(SkeletonFile.load(path), self.settings.data)
        if clips.layout.count != self.layout.count:
            raise KinoscopeError(
                "the model was trained on another skeleton",
                file=path,
                field="joints",
                value=clips.layout.count,
                remedy=f"give a file of {self.layout.count} joints",
            )
        return clips

    @torch.no_grad()
    def run(self, path: str | Path, clips: Clips) -> Prediction:
        features = encode(self.encoder, clips, self.settings.model.stream, torch.device("cpu"))
        scores = None if self.head is None else self.head(features).numpy()
        return Prediction(str(path), clips.names, features.numpy(), scores)

    def predict(self, path: str | Path, everything: bool = False) -> Prediction:
        """Scores and embeddings of every clip of a file."""
        return self.run(path, self.clips(path))

    def to_json(self, done: list[Prediction]) -> dict[str, Any]:
        """{"clips": [...]}: per clip its file, name, label and scores, or its embedding."""
        rows = []
        for found in done:
            for i, name in enumerate(found.names):
                row: dict[str, Any] = {"file": found.file, "name": name}
                if found.scores is None:
                    row["embedding"] = found.embeddings[i].tolist()
                else:
                    row["label"] = self.label_names[int(found.scores[i].argmax())]
                    row["scores"] = dict(zip(self.label_names, found.scores[i].tolist(), strict=True))
                rows.append(row)
        return {"clips": rows}

    def render(self, done: list[Prediction], form: str) -> str:
        """JSON, or CSV with a row a clip."""
        if form == "json":
            return json.dumps(self.to_json(done)) + "\n"
        if form != "csv":
            raise KinoscopeError("clips are written as csv or json", field="--format", value=form)
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["file", "name", *(["label", "score"] if self.head is not None else ["embedding"])])
        for row in self.to_json(done)["clips"]:
            told = [row["label"], max(row["scores"].values())] if "label" in row else [row["embedding"]]
            writer.writerow([row["file"], row["name"], *told])
        return out.getvalue()

    def evaluate(self, folder: Path) -> dict[str, Any]:
        """Top-1 and top-5 in percent on the test part of the recipe."""
        if self.head is None:
            raise KinoscopeError("this model has no classifier yet", remedy="train its linear stage")
        test = open_clips(self.settings.data)[1]
        scores = self.run(self.settings.data.train, test).scores
        assert scores is not None
        result: dict[str, Any] = {"protocol": "classification"}
        result |= {f"top{k}": percent(top_k(scores, test.labels, k)) for k in (1, 5)}
        write_json(folder / "evaluation.json", result)
        return result


def load(weights: Weights, settings: Schema) -> SkeletonModel:
    """The model of a weights folder of any stage."""
    about = weights.about
    parents = dict(about["links"])
    names = about["joint_names"]
    layout = layout_of(names, [parents.get(j, -1) for j in range(len(names))])
    layout = NTU_25 if tuple(names) == NTU_25.joints else layout
    encoder = build_encoder(encoder_config(settings.model, layout), len(about["label_names"]))
    head: Any = None
    state = weights.state
    if about["stage"] == "linear":
        head = LinearHead(torch.zeros(2, settings.model.hidden_dim), len(about["label_names"]), False)
        head.load_state_dict(state)
        state = load_weights(weights.folder.parent / "pretrain").state
    elif about["stage"] == "finetune":
        head = encoder.head
    kept = {n.removeprefix("query."): v for n, v in state.items() if n.startswith("query.")}
    if about["stage"] != "finetune":
        kept = {n: v for n, v in kept.items() if not n.startswith("head.")}
    encoder.load_state_dict(kept, strict=head is encoder.head)
    return SkeletonModel(encoder, head, about["label_names"], settings, layout)


def load_official(path: Path, settings: Schema) -> SkeletonModel:
    """An official checkpoint, of pre-training (embeddings) or of linear evaluation (scores)."""
    tensors = official.read(path)
    last = tensors.get("encoder_q.fc.weight")
    classes = len(last) if last is not None else 1
    encoder = build_encoder(encoder_config(settings.model, NTU_25), classes)
    kept = {n.removeprefix("encoder_q."): v for n, v in tensors.items() if n.startswith("encoder_q.")}
    official.load(encoder, kept, ignored=() if last is not None else ("fc.",), fresh=("fc.",), file=path)
    names = [str(i + 1) for i in range(classes)] if last is not None else []
    return SkeletonModel(encoder, encoder.head if last is not None else None, names, settings, NTU_25)
