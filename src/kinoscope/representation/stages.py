"""What the engine runs for representation: one stage, sequence contrastive learning on clips of motion or of videos.

No label is read in training. The validation metric is Kendall's tau of the test clips.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinoscope.engine.files import write_json
from kinoscope.engine.stage import Run, Stage
from kinoscope.representation import objectives
from kinoscope.representation.augment import PoseAugment
from kinoscope.representation.data import MotionSource, Source, TwoViews, batch_views, fitting_frames
from kinoscope.representation.inference import embed_clips
from kinoscope.representation.judge import can_be_judged, judge, judge_beside
from kinoscope.representation.models import FrameEncoder, PoseTrunk, TransformerEmbedder
from kinoscope.representation.objectives import Batch
from kinoscope.representation.sampling import Sampler
from kinoscope.representation.settings import (
    Data,
    FeatureAugment,
    MotionsData,
    PublishedData,
    RepresentationSettings,
    VideosData,
)
from kinoscope.representation.synchrony import synchrony


def stages(settings: RepresentationSettings) -> list[Stage]:
    """The stages of a recipe, in order."""
    if isinstance(settings.data, PublishedData):
        from kinoscope.representation.published_stage import PublishedStage

        return [PublishedStage(settings)]
    return [ContrastiveStage(settings)]


def source_of(data: Data) -> Source:
    """The clips of features that a recipe is about. Raises KinoscopeError where they cannot be read."""
    assert not isinstance(data, PublishedData)
    if isinstance(data, MotionsData):
        return MotionSource(data)
    from kinoscope.representation.videos import VideoSource

    return VideoSource(data)


def clip_encoder(settings: RepresentationSettings, channels: int, num_frames: int) -> FrameEncoder:
    """The network over features of frames (poses, or a frozen network's): standardised, then the transformer.

    num_frames: frames of a view in training, onto which the positions of any clip are stretched.
    """
    own = settings.model.embedder
    embedder = TransformerEmbedder(
        channels,
        num_frames,
        own.hidden_size,
        own.d_ff,
        own.num_heads,
        own.num_layers,
        own.fc_layers,
        own.capacity_scalar,
        own.embedding_size,
        own.fc_dropout_rate,
        own.equal_layers,
    )
    return FrameEncoder(
        PoseTrunk(channels),
        nn.Identity(),
        embedder,
        own.embedding_size,
        settings.model.projection_size if settings.model.projection else None,
        settings.model.l2_normalize,
        frames_per_pass=None,
        own_statistics=isinstance(settings.data, VideosData) and settings.data.own_statistics,
    )


class ContrastiveStage(Stage):
    """SCL on two views of each clip; judged by tau, phases and retrieval on the test clips."""

    name = "representation"
    headline = "kendalls_tau"

    def __init__(self, settings: RepresentationSettings) -> None:
        self.recipe, self.settings = settings, settings.train
        scl = settings.scl
        self.objective = objectives.scl(
            settings.model.projection,
            temperature=scl.softmax_temperature,
            variance=scl.label_variance,
            positive=scl.positive_type,
            negative=scl.negative_type,
            window=scl.positive_window,
        )

    def prepare(self, run: Run) -> None:
        self.source = source_of(self.recipe.data)
        self.channels = self.source.train[0].features.shape[1]
        self.num_frames = self.recipe.sampling.num_frames or fitting_frames(self.source.train)
        run.skipped.update(self.source.skipped)

    def build_model(self) -> nn.Module:
        model = clip_encoder(self.recipe, self.channels, self.num_frames)
        standardise = self.source.standardise
        assert isinstance(model.trunk, PoseTrunk)
        if not model.own_statistics:  # what a clip standardised by itself is left alone
            model.trunk.mean.copy_(torch.from_numpy(standardise.mean))
            model.trunk.deviation.copy_(torch.from_numpy(standardise.std))
        return model

    def samples(self) -> TwoViews:
        sampling, augment = self.recipe.sampling, self.recipe.augment
        assert isinstance(augment, FeatureAugment)
        sampler = Sampler(
            self.num_frames,
            sampling.strategy,
            sampling.region,
            sampling.consistent_offset,
            sampling.crop_of_clip,
        )
        data = self.recipe.data
        turn = augment.rotation_deg if isinstance(data, MotionsData) else 0.0  # pictures have no vertical
        change = PoseAugment(augment.noise, augment.scale, augment.drop, turn)
        return TwoViews(
            self.source.train,
            self.source.standardise,
            sampler,
            change,
            self.settings.batch_size,
            isinstance(data, VideosData) and data.synchronous,
        )

    def collate(self, samples: Any) -> Batch:
        return batch_views(samples)

    def step(self, model: nn.Module, batch: Batch, run: Run) -> dict[str, Tensor]:
        return self.objective(model, batch.to(run.device))

    def _embeddings(self, model: nn.Module, run: Run) -> list[list[np.ndarray]]:
        """Of the training clips and of the test clips."""
        both = (self.source.train, self.source.test)
        return [embed_clips(model, [clip.features for clip in clips], run.device) for clips in both]

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        source = self.source
        if not can_be_judged(source):
            return {}
        train, test = self._embeddings(model, run)
        result = judge(source.train, train, source.test, test, source.label_names, self.recipe.evaluation)
        return {name: value for name, value in result.items() if isinstance(value, float)}

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        if not can_be_judged(self.source) or not run.processes.first:
            return {}
        train, test = self._embeddings(model, run)
        result = judge_beside(self.source, train, test, self.recipe.evaluation, run.skipped)
        if isinstance(self.recipe.data, VideosData) and self.recipe.data.synchronous:
            result |= synchrony(model, self.source, test, run.device)
        write_json(run.folder / "evaluation.json", result)
        return result

    def about(self) -> dict[str, Any]:
        return {**self.source.about(), "channels": self.channels, "num_frames": self.num_frames}
