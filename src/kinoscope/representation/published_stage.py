"""What the engine runs on the published data sets: frames through ResNet-50 and an embedder, any of four algorithms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from kinoscope.engine.files import write_json
from kinoscope.engine.schedules import Position
from kinoscope.engine.stage import Run, Stage
from kinoscope.representation import objectives
from kinoscope.representation.image_augment import ImageAugment
from kinoscope.representation.models import FrameEncoder, build_encoder
from kinoscope.representation.objectives import Batch
from kinoscope.representation.official import PHASES, load_official
from kinoscope.representation.optimization import epoch_rates, parameter_groups
from kinoscope.representation.pretrained import load_trunk
from kinoscope.representation.published import (
    ClassViews,
    PublishedSource,
    Video,
    Views,
    about_input,
    batch_of,
    embed_video,
    shortened,
)
from kinoscope.representation.published_judge import judge_published
from kinoscope.representation.sampling import Sampler
from kinoscope.representation.settings import ImageAugmentSettings, PublishedData, RepresentationSettings


def objective_of(settings: RepresentationSettings) -> objectives.Objective:
    """The training algorithm of a recipe."""
    scl, tcc = settings.scl, settings.tcc
    if settings.algorithm == "tcc":
        return objectives.tcc(
            kind=tcc.loss_type,
            similarity=tcc.similarity_type,
            temperature=tcc.softmax_temperature,
            smoothing=tcc.label_smoothing,
            variance_weight=tcc.variance_lambda,
            normalize_indices=tcc.normalize_indices,
            corrected=tcc.corrected,
        )
    if settings.algorithm == "tcn":
        return objectives.tcn(settings.tcn.reg_lambda)
    if settings.algorithm == "classification":
        return objectives.classification()
    return objectives.scl(
        settings.model.projection,
        temperature=scl.softmax_temperature,
        variance=scl.label_variance,
        positive=scl.positive_type,
        negative=scl.negative_type,
        window=scl.positive_window,
    )


def sampler_of(settings: RepresentationSettings) -> Sampler:
    own = settings.sampling
    assert own.num_frames is not None
    return Sampler(
        own.num_frames,
        own.strategy,
        own.region,
        own.consistent_offset,
        own.crop_of_clip,
        own.num_contexts,
        own.context_stride,
        settings.tcn.positive_window if settings.algorithm == "tcn" else 0,
    )


def augment_of(settings: RepresentationSettings) -> ImageAugment:
    own, data = settings.augment, settings.data
    assert isinstance(own, ImageAugmentSettings)
    assert isinstance(data, PublishedData)
    return ImageAugment(
        data.image_size,
        "contrastive" if settings.algorithm == "scl" else "supervised",
        own.strength,
        own.blur_probability,
        own.blurs,
        own.random_crop,
        own.random_flip,
        (own.brightness_max_delta, own.contrast_max_delta, own.hue_max_delta, own.saturation_max_delta),
    )


def classes_of(data: PublishedData) -> int:
    """Classes of the supervised head, as officially: of FineGym, or phases of the (first) action."""
    if data.dataset == "finegym":
        return data.class_num
    return PHASES["pouring" if data.dataset == "pouring" else (*data.evaluate_on, "baseball_pitch")[0]]


def image_encoder(settings: RepresentationSettings) -> FrameEncoder:
    """The network of a recipe over frames, with random weights."""
    model, trunk, own = settings.model, settings.model.trunk, settings.model.embedder
    assert trunk is not None
    assert isinstance(settings.data, PublishedData)
    assert settings.sampling.num_frames is not None
    return build_encoder(
        own.kind,
        trunk.layer,
        settings.sampling.num_frames,
        settings.sampling.num_contexts,
        trunk.train,
        trunk.frames_per_pass,
        own.hidden_size,
        own.d_ff,
        own.num_heads,
        own.num_layers,
        own.conv_layers,
        own.fc_layers,
        own.capacity_scalar,
        own.embedding_size,
        own.fc_dropout_rate,
        model.l2_normalize,
        model.projection_size if model.projection else None,
        classes_of(settings.data) if settings.algorithm == "classification" else None,
        equal_layers=own.equal_layers,
    )


def evaluated(
    model: FrameEncoder, settings: RepresentationSettings, source: PublishedSource, skipped: dict[str, str]
) -> dict[str, Any]:
    """The published evaluation of a model."""
    data = source.data
    assert isinstance(settings.augment, ImageAugmentSettings)
    centre, sampling, every = settings.augment.random_crop, settings.sampling, data.sample_all_stride

    def embed(video: Video) -> np.ndarray:
        return embed_video(
            model,
            video.path,
            video.frames(),
            size=data.image_size,
            centre_crop=centre,
            frames_per_batch=settings.evaluation.frames_per_batch,
            contexts=sampling.num_contexts,
            stride=sampling.context_stride,
            every=every,
        )

    sets = source.evaluation_sets()
    if every > 1:
        sets = [type(s)(s.name, shortened(s.train, every), shortened(s.val, every)) for s in sets]
    result = judge_published(sets, embed, settings, skipped)
    result["skipped"] = [{"video": video, "why": why} for video, why in sorted(skipped.items())]
    return result


class PublishedStage(Stage):
    """One of the four algorithms; judged as published on the validation videos."""

    name = "representation"
    headline = None  # the last weights count, as officially

    def __init__(self, settings: RepresentationSettings) -> None:
        same_class = settings.sampling.same_class
        own = settings.train.model_copy(update={"batch_size": 1}) if same_class else settings.train
        self.recipe, self.settings, self.objective = settings, own, objective_of(settings)

    def prepare(self, run: Run) -> None:
        assert isinstance(self.recipe.data, PublishedData)
        self.source = PublishedSource(self.recipe.data)

    def build_model(self) -> nn.Module:
        model, trunk = image_encoder(self.recipe), self.recipe.model.trunk
        assert trunk is not None
        if self.recipe.init_from is not None:
            start, _ = load_official(Path(self.recipe.init_from))
            model.load_state_dict(start.state_dict())
        else:
            load_trunk(model, trunk, self.source.root)
        return model

    def samples(self) -> Views:
        views = 2 if self.recipe.algorithm == "scl" else 1
        sampler, augment = sampler_of(self.recipe), augment_of(self.recipe)
        if self.recipe.sampling.same_class:
            return ClassViews(self.source.train, sampler, augment, views, self.recipe.train.batch_size)
        return Views(self.source.train, sampler, augment, views)

    def collate(self, samples: Any) -> Batch:
        return batch_of(samples)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        trunk = self.recipe.model.trunk
        assert trunk is not None
        return [{"params": group} for group in parameter_groups(model, trunk.train) if group]

    def learning_rate(self, base: float, position: Position) -> float:
        rates = self.recipe.rates
        if rates is None:
            return super().learning_rate(base, position)
        epochs = max(int(self.settings.epochs), 1)
        table = epoch_rates(
            rates.decay_type, epochs, base, rates.warmup_lr, rates.num_warmup_steps, rates.final_lr
        )
        return float(table[min(position.epoch, epochs - 1)])

    def step(self, model: nn.Module, batch: Batch, run: Run) -> dict[str, Tensor]:
        return self.objective(model, batch.to(run.device))

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        result = self._evaluated(model, run)
        return {name: value for name, value in result.items() if isinstance(value, float)}

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        if not run.processes.first:
            return {}
        result = self._evaluated(model, run)
        write_json(run.folder / "evaluation.json", result)
        return result

    def _evaluated(self, model: nn.Module, run: Run) -> dict[str, Any]:
        network = run.processes.unwrap(model)
        assert isinstance(network, FrameEncoder)
        return evaluated(network, self.recipe, self.source, run.skipped)

    def about(self) -> dict[str, Any]:
        return about_input(self.recipe)
