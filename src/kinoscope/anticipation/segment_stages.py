"""What the engine runs on annotated segments: recognition, end-to-end and feature models differ in settings alone.

The official loop is kept where `model.reference_quirks` is on: the rate follows every batch, also between accumulated
ones, and peaks one step below its base after a warm-up; accumulated gradients are summed, not averaged. Differences:
the rest of an epoch that fills no accumulation is used (official: dropped); mixed precision scales gradients.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinoscope.anticipation.annotations import Windows
from kinoscope.anticipation.augment import PixelSettings, eval_transform, train_transform
from kinoscope.anticipation.loss import losses, total_loss
from kinoscope.anticipation.models import Anticipator
from kinoscope.anticipation.official import from_official, load_backbone, load_parts, read_state
from kinoscope.anticipation.schedule import cosine_rate, parameter_groups
from kinoscope.anticipation.scores import Scores, figures
from kinoscope.anticipation.segment_results import finish, scores_of
from kinoscope.anticipation.segments import (
    SegmentSample,
    SegmentSource,
    about_classes,
    about_input,
    prototypes_of,
)
from kinoscope.anticipation.settings import AnticipationSettings, SegmentsData, Start, Videos
from kinoscope.engine.schedules import Position
from kinoscope.engine.settings import WarmupCosine
from kinoscope.engine.stage import Run, Stage
from kinoscope.engine.weights import find_weights, load_weights
from kinoscope.errors import KinoscopeError

HEADLINE = {"epic100": "class_mean_recall@5"}  # the official primary metric; top-1 elsewhere
BATCH = {"features": 64, "videos": 1}  # windows of one pass of a validation


@dataclass(frozen=True)
class Batch:
    """video: what the network reads; target (B,); past (B, T)."""

    video: Tensor
    target: Tensor
    past: Tensor


class Loader:
    """Samples as the network reads them."""

    def __init__(self, data: SegmentsData) -> None:
        self.pixels: dict[bool, PixelSettings] = {}
        if isinstance(data.input, Videos):
            seen = data.input
            more: dict[str, Any] = {
                name: getattr(seen, name) for name in ("crop_size", "mean", "std", "flip_p")
            }
            more |= {name: getattr(seen, name) for name in ("eval_num_crops", "eval_flip_crops")}
            self.pixels = {
                True: PixelSettings(seen.scale_h, **more),
                False: PixelSettings(seen.eval_scale_h, **more),
            }

    def training(self, seen: np.ndarray, generator: np.random.Generator) -> Tensor:
        """(T, D), or (T, 3, 1, S, S) of frames, changed at random."""
        if not self.pixels:
            return torch.from_numpy(seen)
        draw = torch.Generator().manual_seed(int(generator.integers(2**62)))
        python = random.Random(int(generator.integers(2**62)))
        clip = train_transform(torch.from_numpy(seen), self.pixels[True], python, draw)["cropped"]
        return clip.transpose(0, 1).unsqueeze(2)

    def evaluation(self, seen: np.ndarray) -> Tensor:
        """(T, D), or (T, crops, 3, 1, S, S) of frames."""
        if not self.pixels:
            return torch.from_numpy(seen)
        crops, _ = eval_transform(torch.from_numpy(seen), self.pixels[False])
        return crops.permute(2, 0, 1, 3, 4).unsqueeze(3)


class TrainingSegments:
    """Training windows of a source, each with its input for the network."""

    def __init__(self, source: SegmentSource, windows: Windows) -> None:
        self.source, self.windows, self.loader = source, windows, Loader(source.data)

    def __len__(self) -> int:
        return len(self.source.train_rows)

    def draw(self, index: int, generator: np.random.Generator) -> tuple[SegmentSample, Tensor]:
        sample = self.source.sample(self.windows, self.source.train_rows[index], generator)
        return sample, self.loader.training(sample.seen, generator)


class SegmentStage(Stage):
    """Training of an anticipator on annotated segments."""

    name = "anticipation"

    def __init__(self, settings: AnticipationSettings) -> None:
        self.recipe, self.settings = settings, settings.train
        self.data = settings.segments
        self.weights = settings.train.losses.model_dump()

    def prepare(self, run: Run) -> None:
        self.source = SegmentSource(self.data)
        run.skipped.update(self.source.skipped)
        labelled = self.source.test is not None and bool((self.source.test.segments.action >= 0).any())
        self.headline = HEADLINE.get(self.data.dataset, "top1") if labelled else None
        if self.source.train is None:
            raise KinoscopeError("there are no training segments", field="data.train")
        self.language, self.visual, self.language_source = prototypes_of(self.data, self.source.label_names)
        first = self._first(run)
        self.input_dim = self.recipe.model.backbone_dim if first.seen.ndim == 4 else first.seen.shape[1]

    def _first(self, run: Run) -> SegmentSample:
        """The first training sample that can be read."""
        assert self.source.train is not None
        for row in self.source.train_rows:
            try:
                return self.source.sample(self.source.train, row)
            except KinoscopeError as error:
                run.skipped[str(self.source.train.segments.uid[row])] = str(error)
        raise KinoscopeError(
            "not one training segment can be read", value=next(iter(run.skipped.values()), None)
        )

    def build_model(self) -> nn.Module:
        train = self.recipe.train
        model = network(self.recipe, len(self.source.label_names), self.input_dim, self.visual)
        for start in train.init:
            start_from(model, start)
        model.prototypes.requires_grad_(not train.freeze_prototypes)
        for part in train.freeze:
            frozen = [value for name, value in model.named_parameters() if name.startswith(part)]
            if not frozen:
                raise KinoscopeError(
                    "no part of the network is called that", field="train.freeze", value=part
                )
            for value in frozen:
                value.requires_grad_(False)
        return model

    def samples(self) -> TrainingSegments:
        assert self.source.train is not None
        return TrainingSegments(self.source, self.source.train)

    def collate(self, samples: Sequence[tuple[SegmentSample, Tensor]]) -> Batch:
        return Batch(
            torch.stack([video for _, video in samples]),
            torch.tensor([sample.target for sample, _ in samples]),
            torch.from_numpy(np.stack([sample.past for sample, _ in samples])),
        )

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        train = self.recipe.train
        return parameter_groups(model, train.optimizer.weight_decay, train.bias_bn_wd_scale)

    def learning_rate(self, base: float, position: Position) -> float:
        schedule = self.settings.schedule
        if (
            not self.recipe.model.reference_quirks
            or not isinstance(schedule, WarmupCosine)
            or position.share is not None
        ):
            return super().learning_rate(base, position)
        each = position.steps_per_epoch * self.settings.accumulate
        return cosine_rate(
            position.micro_step,
            base,
            each,
            self.settings.epochs,
            schedule.warmup_epochs,
            0.0,
            schedule.final_rate,
        )

    def step(self, model: nn.Module, batch: Batch, run: Run) -> dict[str, Tensor]:
        needs_past = any(
            self.weights[name] > 0 for name in ("past_cls_action", "past_target_global_simContrast")
        )
        outputs = model(batch.video.to(run.device), with_past=needs_past)
        needs_language = any(w > 0 for name, w in self.weights.items() if "simContrast" in name)
        net = run.processes.unwrap(model)
        prototypes: Any = net.prototypes
        each = losses(
            outputs,
            {"action": batch.target.to(run.device)},
            {"action": batch.past.to(run.device)},
            prototypes,
            self.language.to(run.device) if needs_language else None,
        )
        total, means = total_loss(each, self.weights)
        if self.recipe.model.reference_quirks:
            total = total * self.settings.accumulate  # the engine averages what the official code sums
        return {"loss": total, **{name: means[name] for name in means if self.weights.get(name, 0) > 0}}

    # -- judging --------------------------------------------------------------------------------------------

    def _scores(self, model: nn.Module, run: Run) -> tuple[Scores, dict[int, list[list[float]]]] | None:
        if self.source.test is None:
            return None
        model.eval()
        return scores_of(model, self.source, Loader(self.data), run.device, run.skipped)

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        found = self._scores(model, run)
        if found is None:
            return {}
        told = figures(found[0])
        return {
            name: told[name]
            for name in ("class_mean_recall@5", "top1", "top5", "class_mean_top1")
            if name in told
        }

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        found = self._scores(model, run)
        if found is None or not run.processes.first:
            return {}
        return finish(*found, self.source, self.visual, self.recipe, run.folder, run.skipped)

    def about(self) -> dict[str, Any]:
        return {
            "label_names": list(self.source.label_names),
            "input_dim": self.input_dim,
            **about_classes(self.data, self.source.actions),
            "language": self.language_source,
            **about_input(self.source),
        }


def network(
    recipe: AnticipationSettings, classes: int, input_dim: int, visual: Tensor | None = None
) -> Anticipator:
    """The network of a recipe. Raises KinoscopeError where it cannot be built."""
    data, model = recipe.data, recipe.model
    pixels = isinstance(data, SegmentsData) and isinstance(data.input, Videos)
    if pixels != (model.backbone != "identity"):
        raise KinoscopeError(
            "videos need a backbone, features have none",
            field="model.backbone",
            value=model.backbone,
            remedy="a ViT of timm for videos, `identity` for features",
        )
    try:
        return Anticipator(model.config(classes, data.num_frames, input_dim), visual)
    except ValueError as error:
        raise KinoscopeError(str(error), field="model") from error


def start_from(model: Anticipator, start: Start) -> list[str]:
    """Loads a part of a run, a weights folder or an official file; the names that were loaded."""
    path = Path(start.path)
    if path.is_dir():
        state = load_weights(find_weights(path)).state
    else:
        held = read_state(path)
        if start.backbone:
            load_backbone(model, held)
            return [name for name in model.state_dict() if name.startswith("backbone.")]
        state = from_official(held)
    if start.backbone:
        load_backbone(model, {name.removeprefix("backbone."): value for name, value in state.items()})
        return [name for name in model.state_dict() if name.startswith("backbone.")]
    return load_parts(model, state, start.parts or ("",))
