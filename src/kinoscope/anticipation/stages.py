"""What the engine runs for anticipation on skeleton streams: one end-to-end stage.

Differences from the official program:
1. The weights at the end of the schedule count: choosing the best epoch on test people would flatter the figures.
2. `model.current_action` adds a head. The published head tells both what goes on at past steps and what comes next,
   the same thing where steps are as long as tau_a; with shorter steps two heads tell two things, and every step learns
   to tell the next action from what was seen before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinoscope.anticipation.class_names import vectors
from kinoscope.anticipation.judge import figures, judge
from kinoscope.anticipation.loss import losses, total_loss
from kinoscope.anticipation.models import Anticipator
from kinoscope.anticipation.orders import Follower, Orders
from kinoscope.anticipation.over_time import write_rankings
from kinoscope.anticipation.schedule import parameter_groups
from kinoscope.anticipation.settings import AnticipationSettings, SegmentsData
from kinoscope.anticipation.streams import NOTHING, Sample, StreamSource
from kinoscope.engine.stage import Run, Stage

BATCH = 256  # windows of one pass of a validation


def stages(settings: AnticipationSettings) -> list[Stage]:
    """The stages of a recipe, in order."""
    if isinstance(settings.data, SegmentsData):
        from kinoscope.anticipation.segment_stages import SegmentStage

        return [SegmentStage(settings)]
    return [AnticipationStage(settings)]


@dataclass(frozen=True)
class Batch:
    """features (B, T, D); current, upcoming (B, T); target (B,): see `Sample`. lengths (B,): clips are filled up behind
    with zeros and -1; None: all are T long."""

    features: Tensor
    current: Tensor
    upcoming: Tensor
    target: Tensor
    lengths: Tensor | None

    @classmethod
    def of(cls, samples: Sequence[Sample], steps: int | None = None) -> Batch:
        """steps: clips shorter than so many repeat their first step in front, as published."""
        targets = torch.tensor([sample.target for sample in samples])
        count = [len(sample.features) for sample in samples]

        def joined(name: str, fill: float) -> Tensor:
            parts = [torch.from_numpy(getattr(sample, name)) for sample in samples]
            if steps is None:
                return nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=fill)
            front = [part[:1].expand(steps - len(part), *part.shape[1:]) for part in parts]
            if name != "features":
                front = [torch.full_like(part, fill) for part in front]
            return torch.stack([torch.cat(pair) for pair in zip(front, parts, strict=True)])

        lengths = torch.tensor(count) if steps is None else None
        features, current = joined("features", 0), joined("current", NOTHING)
        return cls(features, current, joined("upcoming", NOTHING), targets, lengths)

    def to(self, device: torch.device) -> Batch:
        features, current, upcoming, target = (
            x.to(device) for x in (self.features, self.current, self.upcoming, self.target)
        )
        lengths = None if self.lengths is None else self.lengths.to(device)
        return Batch(features, current, upcoming, target, lengths)


class TrainingWindows:
    """Training samples of a source."""

    def __init__(self, source: StreamSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source.rows)

    def draw(self, index: int, generator: np.random.Generator) -> Sample:
        return self.source.training_sample(index, generator)


class AnticipationStage(Stage):
    """Training of an anticipator; validation by class-mean recall@5 and top-1."""

    name = "anticipation"

    def __init__(self, settings: AnticipationSettings) -> None:
        self.recipe, self.settings, self.data = settings, settings.train, settings.streams
        self.weights = settings.train.losses.model_dump()

    def prepare(self, run: Run) -> None:
        self.source = StreamSource(self.data)
        run.skipped.update(self.source.skipped)
        found, self.language_source = vectors(self.source.label_names)
        self.language = torch.from_numpy(found)
        self.orders = fitted_orders(self.recipe, self.source)

    def build_model(self) -> nn.Module:
        classes, data = len(self.source.label_names), self.recipe.data
        config = self.recipe.model.config(classes, data.num_frames, self.source.input_dim)
        model = Anticipator(config, self.language)  # visual prototypes start from language
        model.prototypes.requires_grad_(not self.recipe.train.freeze_prototypes)
        return model

    def samples(self) -> TrainingWindows:
        return TrainingWindows(self.source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        return Batch.of(samples, fixed_steps(self.recipe))

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        train = self.recipe.train
        return parameter_groups(model, train.optimizer.weight_decay, train.bias_bn_wd_scale)

    def step(self, model: nn.Module, batch: Batch, run: Run) -> dict[str, Tensor]:
        batch = batch.to(run.device)
        outputs = model(batch.features, lengths=batch.lengths)
        targets, past = {"action": batch.target}, {"action": batch.current}
        if self.recipe.model.current_action:
            nothing = torch.full_like(batch.target, NOTHING)
            targets = {"current": nothing, "action": batch.target}
            past = {"current": self._going_on(batch), "action": batch.upcoming}
        net = run.processes.unwrap(model)
        prototypes: Any = net.prototypes
        each = losses(outputs, targets, past, prototypes, self.language.to(run.device))
        if not self.recipe.model.reference_quirks:  # without a next action there is no prototype to be near
            known = batch.target >= 0
            each |= {name: each[name] * known for name in ("global_simContrast", "target_distance")}
        total, means = total_loss(each, self.weights)
        return {"loss": total, **{name: means[name] for name in means if self.weights.get(name, 0) > 0}}

    def _going_on(self, batch: Batch) -> Tensor:
        """(B, T) the action at each step, one class more for none; -1 where clips are filled up."""
        going_on = torch.where(batch.current == NOTHING, len(self.source.label_names), batch.current)
        if batch.lengths is None:
            return going_on
        steps = torch.arange(going_on.shape[1], device=going_on.device)
        return going_on.masked_fill(steps >= batch.lengths[:, None], NOTHING)

    # -- judging --------------------------------------------------------------------------------------------

    def _test(self, model: nn.Module, run: Run) -> tuple[np.ndarray, list[Sample]]:
        samples = [self.source.test_sample(k) for k in range(len(self.source.test_rows))]
        return logits(model, samples, run.device, self.recipe, self.orders), samples

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        if not self.source.test_rows:
            return {}
        scores, samples = self._test(model, run)
        return figures(scores, np.array([sample.target for sample in samples]))

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        if not self.source.test_rows or not run.processes.first:
            return {}
        scores, samples = self._test(model, run)
        write_rankings(
            run.folder, self.source, lambda some: logits(model, some, run.device, self.recipe, self.orders)
        )
        return judge(scores, samples, self.source, run.folder, run.skipped)

    def about(self) -> dict[str, Any]:
        orders = None if self.orders is None else self.orders.to_dict()
        return {**self.source.about(), "language": self.language_source, "orders": orders}


def fixed_steps(recipe: AnticipationSettings) -> int | None:
    """Steps of every window; None where the network takes windows of any length."""
    return None if recipe.model.causal else recipe.data.num_frames


def fitted_orders(recipe: AnticipationSettings, source: StreamSource) -> Orders | None:
    """The orders of the training streams, where the recipe asks for them."""
    if recipe.model.orders is None:
        return None
    return Orders.fit(source.train_times(), len(source.label_names), recipe.model.orders.memory)


def logits(
    model: nn.Module,
    samples: Sequence[Sample],
    device: torch.device,
    recipe: AnticipationSettings,
    orders: Orders | None,
) -> np.ndarray:
    """(n, A) logits of the next action after windows: the network's, or with `orders` those of both answers."""
    parts = []
    with torch.inference_mode():
        for first in range(0, len(samples), BATCH):
            some = samples[first : first + BATCH]
            batch = Batch.of(some, fixed_steps(recipe)).to(device)
            out = model(batch.features, with_past=orders is not None, lengths=batch.lengths)
            own = out["logits/action"].float().log_softmax(dim=-1).cpu().numpy()
            if orders is None or recipe.model.orders is None:
                parts += list(own)
                continue
            past, now = (
                out[name].float().softmax(dim=-1).cpu().numpy()
                for name in ("past_logits/current", "logits/current")
            )
            follower = Follower(orders, recipe.model.orders, 1 / recipe.streams.frame_rate)
            for k, sample in enumerate(some):
                steps = len(sample.features)
                seen = past[k, :steps] if batch.lengths is not None else past[k, -steps:]
                # The first past vector is the first step itself, not what was foretold of it.
                told = np.concatenate([seen[1:], now[k : k + 1]]) if sample.last_s >= 0 else now[:0]
                parts.append(follower.answer(own[k], follower.follow(told, sample.from_start)))
    return np.stack(parts)
