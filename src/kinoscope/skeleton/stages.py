"""What the engine runs: contrastive pre-training, then linear evaluation with k-NN, then fine-tuning.

1. Linear evaluation encodes every clip once and trains on the cached features (same numbers). 2. k-NN and
   the same
linear protocol also judge an untrained encoder, and k-NN the raw poses: without them a number says little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.engine.files import write_json
from kinoscope.engine.optimizers import build_optimizer
from kinoscope.engine.stage import Run, Stage
from kinoscope.engine.weights import load_weights
from kinoscope.skeleton.augment import apply
from kinoscope.skeleton.data import Clips, Views, open_clips
from kinoscope.skeleton.few_labels import labelled_subset
from kinoscope.skeleton.layouts import Layout
from kinoscope.skeleton.loss import aimclr_loss, info_nce
from kinoscope.skeleton.metrics import confusion, nearest_labels, percent, top_k
from kinoscope.skeleton.models import (
    AimCLR,
    AnyConfig,
    Classifier,
    ClipEncoder,
    EncoderConfig,
    SkeletonCLR,
    TimeEncoderConfig,
    build_encoder,
    initialise,
)
from kinoscope.skeleton.settings import Model, Schema, fitted
from kinoscope.skeleton.streams import ALL, stream


def stages(settings: Schema) -> list[Stage]:
    """The stages of a recipe, in order."""
    train, test = open_clips(settings.data)
    settings = fitted(settings, len(train))
    return [
        PretrainStage(settings, train, test),
        LinearStage(settings, train, test),
        FinetuneStage(settings, train, test),
    ]


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
    return torch.cat(parts)


class SkeletonStage(Stage):
    """What the three stages share."""

    def __init__(self, recipe: Schema, train: Clips, test: Clips) -> None:
        self.recipe, self.train, self.test = recipe, train, test
        self.config = encoder_config(recipe.model, train.layout)

    def prepare(self, run: Run) -> None:
        run.skipped.update(self.train.skipped | self.test.skipped)
        self.folder = run.folder

    def pretrained(self) -> dict[str, Tensor]:
        """The query encoder's tensors, without its projector, of the stage before."""
        state = load_weights(self.folder / "weights" / "pretrain").state
        return {
            name.removeprefix("query."): value
            for name, value in state.items()
            if name.startswith("query.") and not name.startswith("query.head.")
        }

    def views(self, batch: Sequence[Any], run: Run) -> list[Tensor]:
        """One tensor a view, of all clips of the batch, as the recipe's stream."""
        x = torch.from_numpy(np.stack([item[0] for item in batch])).float().to(run.device)
        layout, name = self.train.layout, self.recipe.model.stream
        return [
            stream(apply(x, [item[1][k] for item in batch], layout), name, layout)
            for k in range(len(batch[0][1]))
        ]

    def about(self) -> dict[str, Any]:
        return {
            "label_names": self.train.label_names,
            "joint_names": list(self.train.layout.joints),
            "links": [list(link) for link in self.train.layout.links],
            "stream": self.recipe.model.stream,
        }

    def judged(self, scores: Tensor) -> dict[str, Any]:
        labels = self.test.labels
        table = confusion(scores.argmax(1).numpy(), labels, scores.shape[1])
        present = table.sum(1) > 0
        return {
            "top1": percent(top_k(scores.numpy(), labels, 1)),
            "top5": percent(top_k(scores.numpy(), labels, 5)),
            "per_class": {
                self.train.label_names[i]: percent(table[i, i] / table[i].sum())
                for i in np.flatnonzero(present)
            },
            "confusion": table.tolist(),
        }


class PretrainStage(SkeletonStage):
    """Contrast without labels; validation by k-NN, which says when to stop."""

    name = "pretrain"

    def __init__(self, recipe: Schema, train: Clips, test: Clips) -> None:
        super().__init__(recipe, train, test)
        self.settings = recipe.train
        self.keys: Tensor | None = None

    def build_model(self) -> nn.Module:
        m = self.recipe.model
        kind = AimCLR if m.method == "aimclr" else SkeletonCLR
        model = kind(self.config, m.feature_dim, m.queue_size, m.momentum, m.temperature, m.mlp)
        initialise_for(m, model)
        if m.key_starts_equal:
            model.key.load_state_dict(model.query.state_dict())
        return model

    def samples(self) -> Views:
        kinds = (self.recipe.augment.extreme, "", "") if self.recipe.model.method == "aimclr" else ("", "")
        return Views(self.train, kinds, self.recipe.augment)

    def step(self, model: nn.Module, batch: Sequence[Any], run: Run) -> dict[str, Tensor]:
        views = self.views(batch, run)
        if self.recipe.model.method == "skeletonclr":
            out = model(*views)
            losses = {"loss": info_nce(out.logits)}
        else:
            done = run.position.done / max(run.position.steps_per_epoch, 1)
            mining = done >= self.recipe.train.mining_epoch
            out = model(*views, self.recipe.train.topk if mining else 0)
            losses = aimclr_loss(out)
        self.keys = out.keys
        return losses

    def after_step(self, model: nn.Module, run: Run) -> None:
        assert self.keys is not None
        run.processes.unwrap(model).enqueue(self.keys, run.processes.gather)  # type: ignore[operator]

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        return {"knn": self._knn(model, run)}

    def _knn(self, model: Any, run: Run) -> float:
        name = self.recipe.model.stream
        train, test = (
            encode(model.query, c, name, run.device).cpu().numpy() for c in (self.train, self.test)
        )
        return percent(float(np.mean(nearest_labels(train, self.train.labels, test) == self.test.labels)))

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        return {"knn": self._knn(model, run)}


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

    def __init__(self, features: Tensor, labels: np.ndarray) -> None:
        self.features, self.labels = features, labels

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, index: int, generator: np.random.Generator) -> Any:
        return self.features[index], int(self.labels[index])


class LinearStage(SkeletonStage):
    """Linear evaluation of the frozen encoder on cached features, and k-NN."""

    name = "linear"

    def __init__(self, recipe: Schema, train: Clips, test: Clips) -> None:
        super().__init__(recipe, train, test)
        self.settings = recipe.linear

    def prepare(self, run: Run) -> None:
        super().prepare(run)
        torch.manual_seed(self.recipe.train.seed)
        encoder = build_encoder(self.config, 1)
        initialise_for(self.recipe.model, encoder)
        name = self.recipe.model.stream
        encoder.to(run.device)
        self.fresh = [encode(encoder, c, name, run.device).cpu() for c in (self.train, self.test)]
        encoder.load_state_dict(self.pretrained(), strict=False)
        self.encoder = encoder
        self.features = [encode(encoder, c, name, run.device).cpu() for c in (self.train, self.test)]

    def build_model(self) -> nn.Module:
        head = LinearHead(self.features[0], len(self.train.label_names), self.recipe.linear.standardise)
        nn.init.normal_(head.head.weight, 0.0, 0.02)
        nn.init.zeros_(head.head.bias)
        return head

    def samples(self) -> Rows:
        return Rows(self.features[0], self.train.labels)

    def step(self, model: nn.Module, batch: Sequence[Any], run: Run) -> dict[str, Tensor]:
        x = torch.stack([item[0] for item in batch]).to(run.device)
        labels = torch.tensor([item[1] for item in batch], device=run.device)
        return {"loss": F.cross_entropy(model(x), labels)}

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        scores = model(self.features[1].to(run.device)).cpu()
        return {"top1": percent(top_k(scores.numpy(), self.test.labels, 1))}

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        result = {"protocol": "linear", **self.judged(model(self.features[1].to(run.device)).cpu())}
        flat = [c.x.reshape(len(c), -1) for c in (self.train, self.test)]
        tables = (("knn", self.features), ("knn_untrained", self.fresh), ("knn_poses", flat))
        result["linear_untrained"] = self._linear(self.fresh)
        for name, (train, test) in tables:
            found = nearest_labels(np.asarray(train), self.train.labels, np.asarray(test))
            result[name] = percent(float(np.mean(found == self.test.labels)))
        if run.processes.first:
            write_json(run.folder / "linear.json", result)
        return result

    @torch.enable_grad()
    def _linear(self, features: Sequence[Tensor]) -> float:
        """Top-1 of a linear layer on other features: the same rate, batch and number of steps, a cosine schedule."""
        recipe, labels = self.recipe.linear, torch.from_numpy(self.train.labels)
        torch.manual_seed(recipe.seed)
        head = LinearHead(features[0], len(self.train.label_names), recipe.standardise)
        optimizer = build_optimizer(recipe.optimizer, [{"params": list(head.parameters())}])
        size = min(recipe.batch_size, len(labels))
        steps = max(round(recipe.epochs * (len(labels) // size)), 1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            rows = torch.randperm(len(labels))[:size]
            optimizer.zero_grad()
            F.cross_entropy(head(features[0][rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            return percent(top_k(head(features[1]).numpy(), self.test.labels, 1))


class FinetuneStage(SkeletonStage):
    """All weights trained with labels, or a balanced share of them."""

    name = "finetune"

    def __init__(self, recipe: Schema, train: Clips, test: Clips) -> None:
        super().__init__(recipe, train, test)
        self.settings = recipe.finetune

    def build_model(self) -> nn.Module:
        model = Classifier(self.config, len(self.train.label_names))
        initialise_for(self.recipe.model, model)
        model.query.load_state_dict(self.pretrained(), strict=False)
        return model

    def samples(self) -> Views:
        chosen = self.train
        if self.recipe.data.label_share < 1:
            chosen = chosen.take(labelled_subset(chosen.labels, self.recipe.data.label_share))
        return Views(chosen, ("",), self.recipe.augment if self.recipe.finetune.augment else None)

    def set_mode(self, model: nn.Module) -> None:
        model.train(not self.recipe.finetune.evaluation_mode)

    def step(self, model: nn.Module, batch: Sequence[Any], run: Run) -> dict[str, Tensor]:
        labels = torch.tensor([item[2] for item in batch], device=run.device)
        scores = model(self.views(batch, run)[0])
        return {"loss": F.cross_entropy(scores, labels, label_smoothing=self.recipe.finetune.label_smoothing)}

    def _scores(self, model: Any, run: Run) -> Tensor:
        features = encode(model.query, self.test, self.recipe.model.stream, run.device)
        return model.query.head(features).cpu()

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        return {"top1": percent(top_k(self._scores(model, run).numpy(), self.test.labels, 1))}

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        scores = self._scores(model, run)
        result = {"protocol": "finetuned", **self.judged(scores)}
        linear = run.folder / "linear.json"
        if linear.exists():
            import json

            before = json.loads(linear.read_text())
            result |= {"linear": before["top1"]}
            result |= {key: value for key, value in before.items() if key.startswith(("knn", "linear_"))}
        if run.processes.first:
            table = dict(zip(self.test.names, scores.tolist(), strict=True))
            write_json(run.folder / "predictions.json", table)
            write_json(run.folder / "evaluation.json", result)
        return result
