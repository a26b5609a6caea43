"""What all stages of the skeleton task share: encoders per stream, views of a batch, results beside one another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinoscope.engine.files import write_json
from kinoscope.engine.stage import Run, Stage
from kinoscope.engine.weights import find_weights, load_weights
from kinoscope.errors import KinoscopeError
from kinoscope.media.layouts import Layout
from kinoscope.skeleton import official
from kinoscope.skeleton.augment import apply, withhold
from kinoscope.skeleton.data import Clips
from kinoscope.skeleton.metrics import confusion, ensemble, percent, top_k
from kinoscope.skeleton.models import (
    AnyConfig,
    ClipEncoder,
    EncoderConfig,
    TimeEncoderConfig,
    initialise,
)
from kinoscope.skeleton.settings import Model, Schema
from kinoscope.skeleton.streams import ALL, STREAMS, stream

State = dict[str, Tensor]
MAP_CLIPS, MAP_CLASSES = 2000, 10  # more cannot be told apart in one picture


def streams_of(model: Model) -> tuple[str, ...]:
    """The streams that have an encoder each."""
    return STREAMS if model.stream == "three" else (model.stream,)


def encoder_config(model: Model, layout: Layout) -> AnyConfig:
    """The encoder of a recipe for a layout."""
    channels = 9 if model.stream == ALL else 3
    if model.encoder == "time":
        return TimeEncoderConfig(channels, model.hidden_channels, model.hidden_dim, model.dropout, layout)
    return EncoderConfig(
        in_channels=channels,
        hidden_channels=model.hidden_channels,
        hidden_dim=model.hidden_dim,
        dropout=model.dropout,
        layout=layout,
        strategy=model.strategy,
        edge_importance=model.edge_importance,
    )


def initialise_for(settings: Model, network: nn.Module) -> None:
    """Small random weights as published for the ST-GCN; the other encoder keeps PyTorch's own."""
    if settings.encoder == "graph":
        initialise(network)


@torch.no_grad()
def encode(encoder: ClipEncoder, clips: Clips, name: str, device: torch.device, batch: int = 128) -> Tensor:
    """(N, D) features of all clips, in evaluation mode, in order."""
    was, parts = encoder.training, []
    encoder.eval()
    for first in range(0, len(clips), batch):
        x = torch.from_numpy(np.array(clips.x[first : first + batch])).float().to(device)
        parts.append(encoder.features(stream(x, name, clips.layout)))
    encoder.train(was)
    return torch.cat(parts).cpu()


def encode_all(encoders: Mapping[str, ClipEncoder], clips: Clips, device: torch.device) -> dict[str, Tensor]:
    """{stream: (N, D) features}."""
    return {name: encode(encoder, clips, name, device) for name, encoder in encoders.items()}


def embedding(features: Mapping[str, Tensor]) -> np.ndarray:
    """(N, D) one vector a clip: the features, those of several streams at equal length beside one another."""
    if len(features) == 1:
        return next(iter(features.values())).numpy()
    return torch.cat([torch.nn.functional.normalize(f) for f in features.values()], 1).numpy()


def query_state(state: State, settings: Model, name: str) -> State:
    """The query encoder's tensors of one stream, without its projector, from the state of a pre-training."""
    prefix = f"parts.{name}.query."
    if settings.method == "crossclr":
        prefix = "query." if name == "joint" else f"query_{name}."
    return {
        n.removeprefix(prefix): value
        for n, value in state.items()
        if n.startswith(prefix) and not n.startswith(f"{prefix}head.")
    }


def load_query(encoder: ClipEncoder, state: State, file: Path) -> None:
    """Loads pre-trained tensors but for the head; a partial fit fails with the list."""
    own = {n: v for n, v in encoder.state_dict().items() if not n.startswith("head.")}
    faults = [f"missing {n}" for n in own if n not in state]
    faults += [f"unknown {n}" for n in state if n not in own]
    faults += [
        f"{n} of shape {tuple(state[n].shape)} instead of {tuple(v.shape)}"
        for n, v in own.items()
        if n in state and state[n].shape != v.shape
    ]
    if faults:
        raise KinoscopeError(
            f"the pre-trained weights do not fit this encoder: {'; '.join(faults)}",
            file=file,
            remedy="use the same model settings and the same skeleton layout",
        )
    encoder.load_state_dict(state, strict=False)


def load_pretrained(encoders: Mapping[str, ClipEncoder], recipe: Schema, own: Path) -> None:
    """Encoders from the weights folder of the run's own pre-training, or from what `weights` of the recipe names."""
    given = recipe.weights
    for name, encoder in encoders.items():
        if given is not None and Path(given).suffix in (".pt", ".pth"):
            path = Path(given.format(stream=name))
            tensors = official.read(path)
            kept = {n.removeprefix("encoder_q."): v for n, v in tensors.items() if n.startswith("encoder_q.")}
            official.load(encoder, kept, ignored=("fc.",), fresh=("fc.",), file=path)
            continue
        folder = own if given is None else find_weights(Path(given.format(stream=name)), "pretrain")
        load_query(encoder, query_state(load_weights(folder).state, recipe.model, name), folder)


class SkeletonStage(Stage):
    """What the stages share."""

    def __init__(self, recipe: Schema, train: Clips, test: Clips) -> None:
        self.recipe, self.train, self.test = recipe, train, test
        self.config = encoder_config(recipe.model, train.layout)
        self.streams = streams_of(recipe.model)

    def prepare(self, run: Run) -> None:
        run.skipped.update(self.train.skipped | self.test.skipped)
        self.own = run.folder / "weights" / "pretrain"

    def views(self, batch: Sequence[Any], run: Run) -> dict[str, list[Tensor]]:
        """Per stream one tensor a view, of all clips of the batch; joints are augmented once for all streams."""
        x = torch.from_numpy(np.stack([item[0] for item in batch])).float().to(run.device)
        layout = self.train.layout
        drawn = [[item[1][k] for item in batch] for k in range(len(batch[0][1]))]
        joints = [apply(x, views, layout) for views in drawn]
        if self.streams == (ALL,):
            pairs = zip(joints, drawn, strict=True)
            return {ALL: [withhold(stream(view, ALL, layout), views) for view, views in pairs]}
        return {name: [stream(view, name, layout) for view in joints] for name in self.streams}

    def about(self) -> dict[str, Any]:
        return {
            "label_names": self.train.label_names,
            "joint_names": list(self.train.layout.joints),
            "links": [list(link) for link in self.train.layout.links],
            "stream": self.recipe.model.stream,
        }

    def fused(self, scores: Mapping[str, Tensor]) -> np.ndarray:
        """(N, K) the scores of the stream, or the published weighted sum of three."""
        if len(scores) == 1:
            return next(iter(scores.values())).numpy()
        names = self.test.names
        tables = {s: dict(zip(names, rows.numpy(), strict=True)) for s, rows in scores.items()}
        return ensemble(tables, names)

    def judged(self, scores: Mapping[str, Tensor]) -> dict[str, Any]:
        """Top-1 and top-5 in percent, per class and as a confusion table; of every stream where there are several."""
        labels, total = self.test.labels, self.fused(scores)
        table = confusion(total.argmax(1), labels, total.shape[1])
        present = np.flatnonzero(table.sum(1) > 0)
        result: dict[str, Any] = {
            "top1": percent(top_k(total, labels, 1)),
            "top5": percent(top_k(total, labels, 5)),
        }
        if len(scores) > 1:
            result |= {f"top1_{s}": percent(top_k(v.numpy(), labels, 1)) for s, v in scores.items()}
        names = self.train.label_names
        result["per_class"] = {names[i]: percent(table[i, i] / table[i].sum()) for i in present}
        result["confusion"] = table.tolist()
        return result

    def keep_embeddings(self, run: Run, train: np.ndarray, test: np.ndarray) -> None:
        """What nearest neighbours and the map of a report are taken from."""
        if run.processes.first:
            rows: dict[str, Any] = {}
            for part, clips, values in (("train", self.train, train), ("test", self.test, test)):
                rows |= {part: values, f"{part}_labels": clips.labels, f"{part}_names": np.array(clips.names)}
            np.savez(run.folder / f"embeddings_{self.name}.npz", **rows)

    def map(self, test: np.ndarray) -> dict[str, list[Any]]:
        """t-SNE of the test clips, of the first `MAP_CLASSES` classes where there are more clips than fit a picture."""
        rows = np.arange(len(test))
        if len(rows) > MAP_CLIPS:
            rows = np.flatnonzero(self.test.labels < MAP_CLASSES)[:MAP_CLIPS]
        if len(rows) < 5:
            return {}
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(rows) - 1) / 3)
        found = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(test[rows])
        return {
            "x": np.round(found[:, 0].astype(float), 2).tolist(),
            "y": np.round(found[:, 1].astype(float), 2).tolist(),
            "label": self.test.labels[rows].tolist(),
            "name": [self.test.names[i] for i in rows],
        }

    def write(
        self, run: Run, result: dict[str, Any], scores: Mapping[str, Tensor] | None = None
    ) -> dict[str, Any]:
        """Keeps the result of this stage and gives it back beside the numbers of the stages before."""
        numbers = {k: v for k, v in result.items() if isinstance(v, int | float)}
        kept = run.folder / "protocols.json"
        before: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
        before[self.name] = numbers
        told = {**result, "label_names": self.train.label_names}
        for stage, values in before.items():
            told |= {k: v for k, v in values.items() if k.startswith(("knn", "linear_"))}
            if stage != self.name and "top1" in values:
                told[stage] = values["top1"]
        if run.processes.first:
            write_json(kept, before)
            if scores is not None:
                tables = {
                    s: dict(zip(self.test.names, rows.tolist(), strict=True)) for s, rows in scores.items()
                }
                labels = dict(zip(self.test.names, self.test.labels.tolist(), strict=True))
                write_json(run.folder / "predictions.json", {"scores": tables, "labels": labels})
                write_json(run.folder / "evaluation.json", told)
        return told
