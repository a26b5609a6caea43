"""What the engine runs: contrastive pre-training, linear evaluation with k-NN, few labels, fine-tuning.

1. Linear evaluation encodes every clip once and trains on the cached features (same numbers). 2. k-NN and the same
linear protocol also judge an untrained encoder, and k-NN the raw poses: without them a number says little.
3. `model.stream: three` trains joint, motion and bone in one run from one data pass; every protocol then tells each
stream and the weighted sum of their scores, paired by sample name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.engine.optimizers import build_optimizer
from kinoscope.engine.stage import Run, Stage
from kinoscope.skeleton.data import Clips, Views, open_clips
from kinoscope.skeleton.few_labels import labelled_subset
from kinoscope.skeleton.loss import aimclr_loss, crossclr_loss, info_nce
from kinoscope.skeleton.metrics import nearest_labels, percent, top_k
from kinoscope.skeleton.models import (
    AimCLR,
    Classifier,
    ClipEncoder,
    CrosSCLR,
    SideBySide,
    SkeletonCLR,
    build_encoder,
)
from kinoscope.skeleton.protocol import (
    SkeletonStage,
    embedding,
    encode_all,
    initialise_for,
    load_pretrained,
    streams_of,
)
from kinoscope.skeleton.settings import Schema, fitted


def stages(settings: Schema) -> list[Stage]:
    """The stages of a recipe, in order."""
    train, test = open_clips(settings.data)
    settings = fitted(settings, len(train))
    first: list[Stage] = [] if settings.weights else [PretrainStage(settings, train, test)]
    few = [FinetuneStage(settings, train, test, share) for share in settings.few_labels]
    return [*first, LinearStage(settings, train, test), *few, FinetuneStage(settings, train, test)]


def query_encoders(model: Any, recipe: Schema) -> dict[str, ClipEncoder]:
    """{stream: query encoder} of a pre-training network."""
    if isinstance(model, CrosSCLR):
        return {name: model.part("query", name) for name in streams_of(recipe.model)}
    return {name: part.query for name, part in model.parts.items()}


class PretrainStage(SkeletonStage):
    """Contrast without labels; validation by k-NN, which says when to stop."""

    name = "pretrain"

    def __init__(self, recipe: Schema, train: Clips, test: Clips) -> None:
        super().__init__(recipe, train, test)
        self.settings = recipe.train
        self.keys: dict[str, Tensor] = {}

    def build_model(self) -> nn.Module:
        m = self.recipe.model
        sizes = (m.feature_dim, m.queue_size, m.momentum, m.temperature, m.mlp)
        if m.method == "crossclr":
            cross = CrosSCLR(self.config, *sizes, follow_all=m.follow_all)
            initialise_for(m, cross)
            return cross
        kind = AimCLR if m.method == "aimclr" else SkeletonCLR
        model = SideBySide({name: kind(self.config, *sizes) for name in self.streams})
        initialise_for(m, model)
        if m.key_starts_equal:
            for part in model.parts.values():
                part.key.load_state_dict(part.query.state_dict())  # type: ignore[union-attr]
        return model

    def samples(self) -> Views:
        kinds = (self.recipe.augment.extreme, "", "") if self.recipe.model.method == "aimclr" else ("", "")
        return Views(self.train, kinds, self.recipe.augment)

    def step(self, model: nn.Module, batch: Sequence[Any], run: Run) -> dict[str, Tensor]:
        views, settings = self.views(batch, run), self.recipe.train
        done = run.position.done / max(run.position.steps_per_epoch, 1)
        mine = settings.topk if done >= settings.mining_epoch else 0
        method = self.recipe.model.method
        if method == "crossclr":
            crossed = model(*views["joint"], mine, self.recipe.model.context)
            self.keys = crossed.keys
            return crossclr_loss(crossed)
        out = model(views, mine) if method == "aimclr" else model(views)
        self.keys = {name: each.keys for name, each in out.items()}
        losses = {
            name: aimclr_loss(each) if method == "aimclr" else {"loss": info_nce(each.logits)}
            for name, each in out.items()
        }
        if len(losses) == 1:
            return next(iter(losses.values()))
        parts = {name: value["loss"] for name, value in losses.items()}
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def after_step(self, model: nn.Module, run: Run) -> None:
        run.processes.unwrap(model).enqueue(self.keys, run.processes.gather)  # type: ignore[operator]

    def _embeddings(self, model: nn.Module, run: Run) -> list[np.ndarray]:
        encoders = query_encoders(model, self.recipe)
        return [embedding(encode_all(encoders, clips, run.device)) for clips in (self.train, self.test)]

    def _knn(self, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
        found = nearest_labels(train, self.train.labels, test)
        return {"knn": percent(float(np.mean(found == self.test.labels)))}

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        return self._knn(*self._embeddings(model, run))

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        found = self._embeddings(model, run)
        self.keep_embeddings(run, *found)
        return self.write(run, dict(self._knn(*found)))


class LinearHead(nn.Module):
    """A linear layer on (standardised) features."""

    def __init__(self, features_ND: Tensor, classes: int, standardise: bool) -> None:
        super().__init__()
        width = features_ND.shape[1]
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", features_ND.mean(0) if standardise else torch.zeros(width))
        # relative to the mean: features of an untrained encoder are tiny, which must not count as constant
        floor = (1e-6 * features_ND.mean(0).abs()).clamp(min=1e-12)
        deviation = torch.maximum(features_ND.std(0), floor) if standardise else torch.ones(width)
        self.register_buffer("deviation", deviation)
        self.head = nn.Linear(width, classes)

    def forward(self, features_ND: Tensor) -> Tensor:
        return self.head((features_ND - self.mean) / self.deviation)


class Rows:
    """Cached features as training samples."""

    def __init__(self, features: Mapping[str, Tensor], labels: np.ndarray) -> None:
        self.features, self.labels = features, labels

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, index: int, generator: np.random.Generator) -> Any:
        return {name: rows[index] for name, rows in self.features.items()}, int(self.labels[index])


class LinearStage(SkeletonStage):
    """Linear evaluation of the frozen encoders on cached features, and k-NN."""

    name = "linear"

    def __init__(self, recipe: Schema, train: Clips, test: Clips) -> None:
        super().__init__(recipe, train, test)
        self.settings = recipe.linear

    def prepare(self, run: Run) -> None:
        super().prepare(run)
        torch.manual_seed(self.recipe.train.seed)
        encoders = {name: build_encoder(self.config, 1) for name in self.streams}
        for encoder in encoders.values():
            initialise_for(self.recipe.model, encoder)
            encoder.to(run.device)
        clips = (self.train, self.test)
        self.fresh = [encode_all(encoders, c, run.device) for c in clips]
        load_pretrained(encoders, self.recipe, self.own)
        self.encoders = encoders
        self.features = [encode_all(encoders, c, run.device) for c in clips]

    def heads(self, features: Mapping[str, Tensor]) -> SideBySide:
        classes, standardise = len(self.train.label_names), self.recipe.linear.standardise
        heads = SideBySide({name: LinearHead(x, classes, standardise) for name, x in features.items()})
        for head in heads.parts.values():
            nn.init.normal_(head.head.weight, 0.0, 0.02)  # type: ignore[union-attr, arg-type]
            nn.init.zeros_(head.head.bias)  # type: ignore[union-attr, arg-type]
        return heads

    def build_model(self) -> nn.Module:
        return self.heads(self.features[0])

    def samples(self) -> Rows:
        return Rows(self.features[0], self.train.labels)

    def step(self, model: nn.Module, batch: Sequence[Any], run: Run) -> dict[str, Tensor]:
        inputs = {
            name: [torch.stack([item[0][name] for item in batch]).to(run.device)] for name in self.streams
        }
        labels = torch.tensor([item[1] for item in batch], device=run.device)
        losses = [F.cross_entropy(scores, labels) for scores in model(inputs).values()]
        return {"loss": torch.stack(losses).sum()}

    @staticmethod
    def scores(heads: nn.Module, features: Mapping[str, Tensor], run: Run) -> dict[str, Tensor]:
        found = heads({name: [x.to(run.device)] for name, x in features.items()})
        return {name: value.cpu() for name, value in found.items()}

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        return {
            "top1": percent(top_k(self.fused(self.scores(model, self.features[1], run)), self.test.labels, 1))
        }

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        scores = self.scores(model, self.features[1], run)
        result = {"protocol": "linear", **self.judged(scores)}
        result["linear_untrained"] = self._linear(self.fresh, run)
        poses = [c.x.reshape(len(c), -1) for c in (self.train, self.test)]
        tables = {
            "knn": [embedding(x) for x in self.features],
            "knn_untrained": [embedding(x) for x in self.fresh],
            "knn_poses": poses,
        }
        for name, (train, test) in tables.items():
            found = nearest_labels(train, self.train.labels, test)
            result[name] = percent(float(np.mean(found == self.test.labels)))
        self.keep_embeddings(run, *tables["knn"])
        result["embedding_map"] = self.map(tables["knn"][1])
        return self.write(run, result, scores)

    @torch.enable_grad()
    def _linear(self, features: Sequence[Mapping[str, Tensor]], run: Run) -> float:
        """Top-1 of a linear layer on other features: the same rate, batch and number of steps, a cosine schedule."""
        recipe, labels = self.recipe.linear, torch.from_numpy(self.train.labels)
        torch.manual_seed(recipe.seed)
        heads = self.heads(features[0])
        optimizer = build_optimizer(recipe.optimizer, [{"params": list(heads.parameters())}])
        size = min(recipe.batch_size, len(labels))
        steps = max(round(recipe.epochs * (len(labels) // size)), 1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            rows = torch.randperm(len(labels))[:size]
            optimizer.zero_grad()
            found = heads({name: [x[rows]] for name, x in features[0].items()})
            torch.stack([F.cross_entropy(scores, labels[rows]) for scores in found.values()]).sum().backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            found = heads({name: [x] for name, x in features[1].items()})
            return percent(top_k(self.fused(found), self.test.labels, 1))


class FinetuneStage(SkeletonStage):
    """All weights trained with labels, or with a class-balanced share of them."""

    name = "finetune"

    def __init__(self, recipe: Schema, train: Clips, test: Clips, share: float | None = None) -> None:
        super().__init__(recipe, train, test)
        self.settings, self.share = recipe.finetune, share
        if share is not None:
            self.name = f"labels_{100 * share:g}"
            self.settings = recipe.finetune.model_copy(update={"minutes": None})

    def build_model(self) -> nn.Module:
        classes = len(self.train.label_names)
        parts = {name: Classifier(self.config, classes) for name in self.streams}
        model = SideBySide(parts)
        initialise_for(self.recipe.model, model)
        load_pretrained({name: part.query for name, part in parts.items()}, self.recipe, self.own)
        return model

    def samples(self) -> Views:
        chosen = self.train
        if self.share is not None:
            chosen = chosen.take(labelled_subset(chosen.labels, self.share))
        return Views(chosen, ("",), self.recipe.finetune.augment)

    def set_mode(self, model: nn.Module) -> None:
        model.train(not self.recipe.finetune.evaluation_mode)

    def step(self, model: nn.Module, batch: Sequence[Any], run: Run) -> dict[str, Tensor]:
        labels = torch.tensor([item[2] for item in batch], device=run.device)
        smoothing = self.recipe.finetune.label_smoothing
        found = model(self.views(batch, run)).values()
        losses = [F.cross_entropy(scores, labels, label_smoothing=smoothing) for scores in found]
        return {"loss": torch.stack(losses).sum()}

    @staticmethod
    def _queries(model: Any) -> dict[str, ClipEncoder]:
        return {name: part.query for name, part in model.parts.items()}

    def _scores(self, model: Any, run: Run) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(scores, features) of the test clips."""
        queries = self._queries(model)
        features = encode_all(queries, self.test, run.device)
        return {name: queries[name].head(x.to(run.device)).cpu() for name, x in features.items()}, features

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        return {"top1": percent(top_k(self.fused(self._scores(model, run)[0]), self.test.labels, 1))}

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        scores, features = self._scores(model, run)
        told: dict[str, Any] = {}
        if self.share is None:
            train = embedding(encode_all(self._queries(model), self.train, run.device))
            self.keep_embeddings(run, train, embedding(features))
            told["embedding_map"] = self.map(embedding(features))
        protocol = (
            "finetuned" if self.share is None else f"semi-supervised, {100 * self.share:g} % of the labels"
        )
        return self.write(run, {"protocol": protocol, **self.judged(scores), **told}, scores)
