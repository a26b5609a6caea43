"""What the engine runs for localization: one stage, on features or on skeleton streams.

Differences from the official programs: the loss normaliser is part of the checkpoint and counts positives over
all processes; the weights are judged during training (the official code never does) and the best are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from kinoscope.engine.memory import tune_allocator
from kinoscope.engine.stage import Run, Stage, Start
from kinoscope.localization.build import loss_settings, model_config
from kinoscope.localization.evaluate import evaluate_events
from kinoscope.localization.fusion import read_scores, with_video_classes
from kinoscope.localization.inference import pad, predict_items
from kinoscope.localization.items import Item
from kinoscope.localization.judge import judge
from kinoscope.localization.losses import (
    LossNormaliser,
    assign_batch,
    boundary_loss,
    heatmap_loss,
    heatmap_targets,
    localization_loss,
)
from kinoscope.localization.models import Localizer, localizer, padded_length
from kinoscope.localization.official import official_start
from kinoscope.localization.parameter_groups import parameter_groups
from kinoscope.localization.settings import LocalizationSettings
from kinoscope.localization.sources import Source, open_source
from kinoscope.nn.recompute import set_recompute
from kinoscope.timeline import Events


def stages(settings: LocalizationSettings) -> list[Stage]:
    """The stages of a recipe, in order."""
    return [LocalizationStage(settings)]


class TrainingItems:
    """Training samples: an item, cropped at random (specification 3.2)."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source.train_ids)

    def draw(self, index: int, generator: np.random.Generator) -> Item:
        return self.source.training_item(index, generator)


class LocalizationStage(Stage):
    """Training of a localizer; validation by average mAP over whole videos."""

    name = "localization"
    headline: str | None = "average_mAP"

    def __init__(self, settings: LocalizationSettings) -> None:
        self.recipe, self.settings = settings, settings.train
        self.normaliser = LossNormaliser(settings.train.init_loss_norm)
        self.loss = loss_settings(settings)

    def prepare(self, run: Run) -> None:
        self.source = open_source(self.recipe.data, self.recipe.model)
        if not self.source.test_ids or not len(self.source.test_truth()):
            self.headline = None  # nothing to judge by: the last weights are kept
        self.config = model_config(self.recipe.model, self.source)
        if not self.config.head_empty_cls:
            self.config = replace(self.config, head_empty_cls=self.source.empty_label_ids)
        if self.recipe.decode.ext_score_file is not None:
            read_scores(self.recipe.decode.ext_score_file)  # a fault in it is told now, not after an epoch
        run.skipped.update(self.source.skipped)

    def build_model(self) -> nn.Module:
        tune_allocator(spare=self.recipe.train.recompute)
        model = localizer(self.config)
        set_recompute(model, self.recipe.train.recompute)
        return model

    def official_start(self, path: Path, model: nn.Module) -> Start:
        return official_start(cast(Localizer, model), path)

    def samples(self) -> TrainingItems:
        return TrainingItems(self.source)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        named = dict(model.named_parameters())
        decayed, rest = parameter_groups(model)
        return [
            {"params": [named[name] for name in decayed]},
            {"params": [named[name] for name in rest], "weight_decay": 0.0},
        ]

    def step(self, model: nn.Module, batch: Sequence[Item], run: Run) -> dict[str, Tensor]:
        length = padded_length(max(item.feats.shape[1] for item in batch), self.config, training=True)
        x_BCT, mask_B1T = pad([item.feats for item in batch], length, run.device)
        output = model(x_BCT, mask_B1T)
        losses = self._losses(run.processes.unwrap(model), output, batch, run)
        losses = {name: value.float() * run.processes.count for name, value in losses.items()}
        return {"loss": losses.pop("final_loss"), **losses}

    def _losses(self, net: nn.Module, output: Any, batch: Sequence[Item], run: Run) -> dict[str, Tensor]:
        segments = [item.segments.to(run.device) for item in batch]
        labels = [item.labels.to(run.device) for item in batch]
        lengths = [mask.shape[1] for mask in output.masks]
        if self.recipe.model.kind == "snapformer":
            per_class = self.config.heatmap_classes
            targets = heatmap_targets(
                lengths,
                self.config.strides,
                segments,
                labels if per_class else None,
                self.config.num_classes if per_class else 1,
            )
            return heatmap_loss(output, targets, run.processes.sum)
        points = torch.cat(net.point_generator(lengths, run.device))  # type: ignore[operator]
        classes, offsets = assign_batch(
            points,
            segments,
            labels,
            self.config.num_classes,
            self.recipe.train.center_sample,
            self.recipe.train.center_sample_radius,
        )
        if self.recipe.model.kind == "tbtformer":
            return boundary_loss(output, classes, offsets, self.loss, run.processes.sum)
        return localization_loss(output, classes, offsets, self.normaliser, self.loss, run.processes.sum)

    # -- judging --------------------------------------------------------------------------------------------

    def _predict(self, model: nn.Module, run: Run) -> Events:
        """Events of all test videos; every process predicts its share."""
        ids = run.processes.share(list(range(len(self.source.test_ids))))
        items = self.source.test_items(ids, run.skipped)
        found = predict_items(
            model,
            self.config,
            items,
            self.recipe.decode,
            self.source.label_names,
            run.device,
            self.settings.precision,
        )
        parts = run.processes.gather_objects([(found, dict(run.skipped))])
        for _, skipped in parts:
            run.skipped.update(skipped)
        events = Events.concat([part for part, _ in parts])
        scores = self.recipe.decode.ext_score_file
        return with_video_classes(events, scores, self.source.label_names, run.skipped)

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        if self.headline is None:
            return {}
        events = self._predict(model, run)
        result = evaluate_events(events, self.source.test_truth(), self.recipe.protocol)
        return {"average_mAP": result["average_mAP"], **{f"mAP@{t}": v for t, v in result["mAP"].items()}}

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        if not self.source.test_ids:
            return {}
        events = self._predict(model, run)
        if not run.processes.first:
            return {}
        return judge(events, self.source, self.recipe.protocol, run.folder, run.skipped)

    def state(self) -> dict[str, Any]:
        return self.normaliser.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        self.normaliser.load_state_dict(state)

    def about(self) -> dict[str, Any]:
        return self.source.about()
