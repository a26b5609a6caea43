"""Trained skeleton models on new files: class scores, or embeddings where only pre-training was done.

Files are the neutral npz, `.skeleton` text, and motion capture as BVH or C3D; joints are taken by name, so a file may
have more of them than the model knows. With the run's embeddings at hand every clip is told its nearest training clips.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kinoscope.engine.files import write_json
from kinoscope.engine.weights import Weights, save_weights
from kinoscope.errors import KinoscopeError
from kinoscope.media.layouts import NTU_25, Layout, layout_of
from kinoscope.media.motion_files import open_motion
from kinoscope.recipe import to_yaml
from kinoscope.skeleton import official
from kinoscope.skeleton.data import Clips, clips_of, open_clips
from kinoscope.skeleton.downsample import downsample
from kinoscope.skeleton.metrics import ensemble, percent, top_k
from kinoscope.skeleton.models import Classifier, ClipEncoder, SideBySide, build_encoder
from kinoscope.skeleton.protocol import (
    embedding,
    encode_all,
    encoder_config,
    load_pretrained,
    load_query,
    query_state,
    streams_of,
)
from kinoscope.skeleton.settings import Schema
from kinoscope.skeleton.skeleton_files import read_skeleton
from kinoscope.skeleton.stages import LinearHead

NEIGHBOURS = 5


@dataclass
class Prediction:
    """Of one file: clip names, embeddings (N, D), class scores (N, K) where there is a classifier, and per clip its
    nearest training clips as (name, label, cosine similarity)."""

    file: str
    names: list[str]
    embeddings: np.ndarray
    scores: np.ndarray | None
    neighbours: list[list[tuple[str, str, float]]] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)  # the first clip, for a report that draws it moving


class SkeletonModel:
    """An encoder a stream, their classifiers if any, the names of the classes, and the training clips' embeddings."""

    def __init__(
        self,
        encoders: Mapping[str, ClipEncoder],
        heads: Mapping[str, nn.Module] | None,
        label_names: list[str],
        settings: Schema,
        layout: Layout,
        known: Path | None = None,
    ) -> None:
        self.encoders = {name: encoder.eval() for name, encoder in encoders.items()}
        self.heads = heads
        self.label_names, self.settings, self.layout = label_names, settings, layout
        self.known = dict(np.load(known)) if known is not None and known.is_file() else {}

    def clips(self, path: str | Path) -> Clips:
        """Clips of a skeleton text file, a neutral `.npz` file, or motion capture (`.bvh`, `.c3d`)."""
        if str(path).endswith(".skeleton"):
            x = downsample(read_skeleton(path), t_length=self.settings.data.frames, with_motion=False)[0]
            clips = Clips(x[None], np.zeros(1, int), [Path(path).stem], self.label_names, NTU_25)
        else:
            clips = clips_of(
                open_motion(path).with_joints(self.layout.joints), self.settings.data, labelled=False
            )
        if clips.layout.count != self.layout.count:
            raise KinoscopeError(
                "the model was trained on another skeleton",
                file=path,
                field="joints",
                value=clips.layout.count,
                remedy=f"give a file with the joints {', '.join(self.layout.joints)}",
            )
        return clips

    @torch.no_grad()
    def run(self, path: str | Path, clips: Clips) -> Prediction:
        features = encode_all(self.encoders, clips, torch.device("cpu"))
        scores = None
        if self.heads is not None:
            each = {name: self.heads[name](x).numpy() for name, x in features.items()}
            scores = next(iter(each.values()))
            if len(each) > 1:
                tables = {s: dict(zip(clips.names, rows, strict=True)) for s, rows in each.items()}
                scores = ensemble(tables, clips.names)
        found = embedding(features)
        return Prediction(str(path), clips.names, found, scores, self._neighbours(found))

    def _neighbours(self, found_ND: np.ndarray) -> list[list[tuple[str, str, float]]]:
        if not self.known:
            return []
        train, names, labels = (self.known[k] for k in ("train", "train_names", "train_labels"))
        unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (found_ND, train)]
        likeness = unit[0] @ unit[1].T
        order = np.argsort(-likeness, axis=1, kind="stable")[:, :NEIGHBOURS]
        return [
            [(str(names[j]), self.label_names[int(labels[j])], round(float(likeness[i, j]), 4)) for j in row]
            for i, row in enumerate(order)
        ]

    def predict(self, path: str | Path, everything: bool = False) -> Prediction:
        """Scores, embeddings and neighbours of every clip of a file."""
        clips = self.clips(path)
        first = clips.x[0]  # (3, T, V, M)
        found = self.run(path, clips)
        found.shown = {
            "kind": "clip",
            "joints": np.round(first.transpose(3, 1, 2, 0).astype(float), 3).tolist(),
            "links": [list(link) for link in clips.layout.links],
        }
        return found

    def to_json(self, done: list[Prediction]) -> dict[str, Any]:
        """{"clips": [...]}: per clip its file, name, label and scores, or its embedding; and its neighbours."""
        rows = []
        for found in done:
            for i, name in enumerate(found.names):
                row: dict[str, Any] = {"file": found.file, "name": name}
                if found.scores is None:
                    row["embedding"] = found.embeddings[i].tolist()
                else:
                    row["label"] = self.label_names[int(found.scores[i].argmax())]
                    row["scores"] = dict(zip(self.label_names, found.scores[i].tolist(), strict=True))
                if found.neighbours:
                    row["neighbours"] = [
                        {"name": n, "label": label, "similarity": s} for n, label, s in found.neighbours[i]
                    ]
                rows.append(row)
        return {"clips": rows}

    def save(self, folder: Path) -> None:
        """The model as a weights folder."""
        about = {
            "stage": "finetune" if self.heads is not None else "pretrain",
            "label_names": self.label_names,
            "joint_names": list(self.layout.joints),
            "links": [list(link) for link in self.layout.links],
            "stream": self.settings.model.stream,
        }
        state = {
            f"parts.{stream}.query.{name}": value
            for stream, encoder in self.encoders.items()
            for name, value in encoder.state_dict().items()
            if self.heads is not None or not name.startswith("head.")
        }
        for stream, head in (self.heads or {}).items():
            if isinstance(head, LinearHead):  # standardising is part of the layer from here on
                weight = head.head.weight.detach() / head.deviation
                state[f"parts.{stream}.query.head.weight"] = weight
                state[f"parts.{stream}.query.head.bias"] = head.head.bias.detach() - weight @ head.mean
        save_weights(folder, state, to_yaml(self.settings), about)

    def render(self, done: list[Prediction], form: str) -> str:
        """JSON, or CSV with a row a clip."""
        if form == "json":
            return json.dumps(self.to_json(done)) + "\n"
        if form != "csv":
            raise KinoscopeError("clips are written as csv or json", field="--format", value=form)
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["file", "name", *(["label", "score"] if self.heads is not None else ["embedding"])])
        for row in self.to_json(done)["clips"]:
            told = [row["label"], max(row["scores"].values())] if "label" in row else [row["embedding"]]
            writer.writerow([row["file"], row["name"], *told])
        return out.getvalue()

    def evaluate(self, folder: Path) -> dict[str, Any]:
        """Top-1 and top-5 in percent on the test part of the recipe."""
        if self.heads is None:
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
    about, state = weights.about, weights.state
    parents = dict(about["links"])
    names = about["joint_names"]
    layout = layout_of(names, [parents.get(j, -1) for j in range(len(names))])
    layout = NTU_25 if tuple(names) == NTU_25.joints else layout
    config, classes = encoder_config(settings.model, layout), len(about["label_names"])
    streams = streams_of(settings.model)
    encoders: dict[str, ClipEncoder]
    heads: Mapping[str, nn.Module] | None = None
    if about["stage"] in ("linear", "pretrain"):
        encoders = {name: build_encoder(config, 1) for name in streams}
        if about["stage"] == "linear":
            empty = torch.zeros(2, settings.model.hidden_dim)
            linear = SideBySide({name: LinearHead(empty, classes, False) for name in streams})
            linear.load_state_dict(state)
            heads = dict(linear.parts.items())
            load_pretrained(encoders, settings, weights.folder.parent / "pretrain")
        else:
            for name, encoder in encoders.items():
                load_query(encoder, query_state(state, settings.model, name), weights.folder)
    else:
        whole = {name: Classifier(config, classes) for name in streams}
        SideBySide(whole).load_state_dict(state)
        encoders = {name: part.query for name, part in whole.items()}
        heads = {name: encoder.head for name, encoder in encoders.items()}
    known = weights.folder.parent.parent / f"embeddings_{about['stage']}.npz"
    return SkeletonModel(encoders, heads, about["label_names"], settings, layout, known)


def load_official(path: Path, settings: Schema) -> SkeletonModel:
    """An official checkpoint, of pre-training (embeddings) or of linear evaluation (scores)."""
    tensors = official.read(path)
    last = tensors.get("encoder_q.fc.weight")
    classes = len(last) if last is not None else 1
    encoder = build_encoder(encoder_config(settings.model, NTU_25), classes)
    kept = {n.removeprefix("encoder_q."): v for n, v in tensors.items() if n.startswith("encoder_q.")}
    official.load(encoder, kept, ignored=() if last is not None else ("fc.",), fresh=("fc.",), file=path)
    names = [str(i + 1) for i in range(classes)] if last is not None else []
    stream: str = settings.model.stream
    heads: dict[str, nn.Module] | None = {stream: encoder.head} if last is not None else None
    return SkeletonModel({stream: encoder}, heads, names, settings, NTU_25)
