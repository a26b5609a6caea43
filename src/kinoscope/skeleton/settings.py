"""Typed settings of the skeleton task; defaults are the published values of AimCLR.

`fit: true` (the small-data recipe) lets batch, queue, momentum and rate follow from data and budget
wherever the
recipe does not name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from kinoscope.engine.settings import Optimizer, TrainSettings, WarmupCosine, WarmupSteps
from kinoscope.recipe import Settings


class Sequences(Settings):
    """A neutral skeleton file, or the official 50-frame arrays of a benchmark."""

    kind: Literal["sequences", "official"] = "sequences"
    train: str = "builtin:hdm05_11"  # .npz file; official: the folder with train_position.npy
    test: str | None = None  # another file; null: by subject; official: always the same folder
    split: Literal["subject"] = "subject"  # how `train` is divided where `test` is null
    test_subjects: tuple[str | int, ...] = ()  # names or numbers; empty: the last fifth
    normalise: Literal["frame", "clip"] = (
        "frame"  # centre and turn every frame, or the clip as one (and its size)
    )
    frames: int = Field(50, ge=2)  # frames that every clip is resized to
    min_confidence: float = Field(0.3, ge=0, le=1)  # joints below are interpolated in time


class Model(Settings):
    """The encoder and what contrasts it."""

    method: Literal["aimclr", "skeletonclr", "crossclr"] = "aimclr"
    stream: Literal["joint", "motion", "bone", "three", "all"] = "joint"
    # three: an encoder a stream, in one run; all: the three streams as channels of one encoder
    encoder: Literal["graph", "time"] = (
        "graph"  # the published ST-GCN, or convolutions over time for small data
    )
    hidden_channels: int = Field(16, ge=1)  # of the first blocks
    hidden_dim: int = Field(256, ge=1)  # features
    dropout: float = Field(0.5, ge=0, lt=1)
    strategy: Literal["uniform", "distance", "spatial"] = "spatial"
    edge_importance: bool = True
    feature_dim: int = Field(128, ge=1)  # of the contrast
    queue_size: int = Field(32768, ge=1)  # keys
    momentum: float = Field(0.999, ge=0, lt=1)  # of the key encoder
    temperature: float = Field(0.07, gt=0)
    mlp: bool = True  # two-layer projector
    context: bool = True  # crossclr: products of two streams' similarities are further negatives
    follow_all: bool = (
        False  # crossclr, second stage; official: only the motion key encoder follows its query
    )
    key_starts_equal: bool = False  # official: the key encoder starts from other random weights

    @model_validator(mode="after")
    def _three_for_crossclr(self) -> Model:
        if self.method == "crossclr" and self.stream != "three":
            raise ValueError("CrosSCLR contrasts three streams: set model.stream=three")
        return self


class Augmentation(Settings):
    """Views of a clip."""

    shear: float = 0.5  # amplitude; not positive: off
    padding_ratio: int = 6  # crop; not positive: off
    rotation: float = Field(0.0, ge=0)  # of every view about the vertical, +- degrees
    scale: float = Field(0.0, ge=0, lt=1)  # of every view, +- share of its size
    tempo: float = Field(
        0.0, ge=0, lt=1
    )  # of every view: share of the clip cut off, and how unevenly it plays
    limbs: float = Field(0.0, ge=0, lt=1)  # of every view: every bone longer or shorter by up to this share
    posture: float = Field(
        0.0, ge=0
    )  # of every view: deviation of a joint's lasting shift, in units of the clip
    hide: float = Field(0.0, ge=0, lt=1)  # of every view: chance that a joint is not seen
    withhold: float = Field(
        0.0, ge=0, lt=1
    )  # of every view: chance that a stream is not (`model.stream: all`)
    jitter: float = Field(0.0, ge=0)  # deviation of noise on every view, in units of the clip
    extreme: str = "12345"  # 1 flip, 2 rotation, 3 noise, 4 blur, 5 axis mask, 6 reversal


class PretrainSettings(TrainSettings):
    """Contrastive pre-training; under `minutes` this is the budget of all stages."""

    epochs: float = Field(300, gt=0)
    batch_size: int = Field(128, ge=1)
    optimizer: Optimizer = Optimizer(kind="sgd", learning_rate=0.1, weight_decay=1e-4)
    schedule: WarmupSteps | WarmupCosine = WarmupSteps(steps=(250,))
    ema_decay: float | None = None
    mining_epoch: float = Field(150, ge=0)  # neighbours (crossclr: of other streams) are positives after it
    topk: int = Field(1, ge=1)  # neighbours per view
    share: float = Field(0.5, gt=0, lt=1)  # of `minutes`; fine-tuning gets the rest


class LinearSettings(TrainSettings):
    """A linear layer on frozen, cached features."""

    epochs: float = Field(100, gt=0)
    batch_size: int = Field(128, ge=1)
    optimizer: Optimizer = Optimizer(kind="sgd", learning_rate=3.0)
    schedule: WarmupSteps | WarmupCosine = WarmupSteps(steps=(80,))
    ema_decay: float | None = None
    standardise: bool = False  # features to zero mean, unit deviation (of the training part)


class FinetuneSettings(TrainSettings):
    """All weights trained with labels. Rates are ours: no configuration was ever published."""

    epochs: float = Field(80, gt=0)
    batch_size: int = Field(128, ge=1)
    optimizer: Optimizer = Optimizer(kind="sgd", learning_rate=0.1, weight_decay=1e-4, nesterov=True)
    schedule: WarmupSteps | WarmupCosine = WarmupSteps(steps=(10, 30, 50))
    ema_decay: float | None = None
    evaluation_mode: bool = True  # official: norms and dropout do not train
    augment: Augmentation | None = None  # the normal view while fine-tuning; null: the clips as they are
    label_smoothing: float = Field(0.0, ge=0, lt=1)


class Schema(Settings):
    """A recipe of the skeleton task."""

    task: Literal["skeleton"] = "skeleton"
    description: str = ""
    weights: str | None = (
        None  # pre-trained elsewhere (transfer): a run folder or official file; `{stream}` is filled in
    )
    few_labels: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()  # shares of the semi-supervised protocol
    fit: bool = False  # batch, queue, momentum and rates follow from data and budget
    data: Sequences = Sequences()
    model: Model = Model()
    augment: Augmentation = Augmentation()
    train: PretrainSettings = PretrainSettings()
    linear: LinearSettings = LinearSettings()
    finetune: FinetuneSettings = FinetuneSettings()


S = TypeVar("S", bound=Settings)


def fitted(settings: Schema, clips: int) -> Schema:
    """The settings with what the recipe leaves open fitted to `clips` training clips (`fit` only)."""
    if not settings.fit:
        return settings
    batch = next(size for size in (64, 32, 16, 8, 4, 2, 1) if size * 5 <= clips or size == 1)
    queue = batch * max(
        2, min(round(0.6 * clips / batch), 32768 // batch)
    )  # more would hold the same clips twice
    train = settings.train
    minutes = train.minutes
    pretrain = {
        "batch_size": batch,
        "optimizer": Optimizer(kind="adam", learning_rate=1e-3, weight_decay=1e-5),
        "schedule": WarmupCosine(warmup_epochs=2),
        "minutes": None if minutes is None else 0.97 * minutes * train.share,
    }
    finetune = {
        "batch_size": batch,
        "optimizer": Optimizer(kind="adamw", learning_rate=3e-3, weight_decay=0.05),
        "schedule": WarmupCosine(warmup_epochs=2),
        "minutes": None if minutes is None else 0.97 * minutes * (1 - train.share),
        "evaluation_mode": False,
        "label_smoothing": 0.1,
        "clip_norm": 1.0,
        "ema_decay": 0.99,
    }
    linear = {
        "batch_size": batch,
        "optimizer": Optimizer(kind="adamw", learning_rate=1e-2, weight_decay=1e-2),
        "schedule": WarmupCosine(warmup_epochs=0),
        "standardise": True,
    }
    model = {"queue_size": queue, "momentum": 0.99, "key_starts_equal": True}
    return settings.model_copy(
        update={
            "model": _filled(settings.model, model),
            "train": _filled(train, pretrain, always=("minutes",)),
            "linear": _filled(settings.linear, linear),
            "finetune": _filled(settings.finetune, finetune),
        }
    )


def _filled(section: S, values: Mapping[str, object], always: tuple[str, ...] = ()) -> S:
    given = section.model_fields_set - set(always)
    return section.model_copy(update={key: value for key, value in values.items() if key not in given})
