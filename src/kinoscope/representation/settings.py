"""Settings of the representation task, typed: CARL on motion, on a folder of videos, on the published data sets.

Published names are kept where they are clear; defaults are the published ones of the transformer recipes, or, for
motion, those that suit clips of a second or two at 30 frames a second.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kinoscope.engine.settings import TrainSettings
from kinoscope.recipe import Settings


class MotionsData(Settings):
    """Trimmed motion in the neutral skeleton file; a frame is its aligned pose and its velocities."""

    kind: Literal["motions"] = "motions"
    train: str = "builtin:hdm05_11"  # .npz file of sequences; `builtin:NAME` is packaged
    test: str | None = None  # another file; null: part of `train`, by `split`
    split: Literal["subject", "none"] = (
        "subject"  # how `train` is divided where `test` is null; none: no test
    )
    test_subjects: tuple[str | int, ...] = ()  # names or numbers; empty: the last fifth of the subjects


class VideosData(Settings):
    """The user's own videos, whose frames a frozen encoder turns into features once; no label is needed."""

    kind: Literal["videos"] = "videos"
    train: str | tuple[str, ...] = ""  # folder (subfolders are classes), CSV file of `path,class`, or videos
    test: str | tuple[str, ...] | None = None  # others; null: nothing is judged
    labels: str | None = None  # phases of the frames for the evaluation: annotation file of any known tool
    encoder: str = "lite0"  # image network whose features are trained on; `kinoscope extract` knows the names
    weights: str | None = None  # its weights: file, or `published` to download them; lite0 brings its own
    fps: float | None = Field(None, gt=0)  # frames a second to look at; null: the video's own rate
    synchronous: bool = False  # the videos of a class show one moment from several sides
    own_statistics: bool = True  # features of each video are standardised by itself: cameras differ
    cache: str | None = None  # folder of the features; null: below ~/.cache/kinoscope


class SamplingSettings(Settings):
    """The frames of a view (specification, section 6)."""

    num_frames: int | None = Field(None, ge=2)  # frames of a view; null: three fifths of the median clip
    strategy: Literal["time_augment", "offset_uniform"] = "time_augment"  # of a random crop, or of the whole
    region: float = Field(1.5, ge=0)  # a crop is up to this many times as long as a view
    consistent_offset: float = Field(0.2, ge=0, le=1)  # share that two views have in common at least
    crop_of_clip: bool = False  # a crop's length goes by num_frames (paper, FineGym), not by the video


class AugmentSettings(Settings):
    """Random changes of a view's poses, one draw a view."""

    noise: float = Field(0.1, ge=0)  # shift of every channel, in standard deviations
    scale: float = Field(0.1, ge=0, lt=1)  # every channel is stretched by up to this share
    drop: float = Field(0.1, ge=0, lt=1)  # share of channels that are set to their mean
    rotation_deg: float = Field(15.0, ge=0, le=180)  # turn of the body about the vertical, either way


class Embedder(Settings):
    """The transformer over frames (specification, 3.2 to 3.4)."""

    hidden_size: int = Field(256, ge=2)
    d_ff: int = Field(1024, ge=1)
    num_heads: int = Field(8, ge=1)
    num_layers: int = Field(3, ge=0)
    fc_layers: tuple[int, ...] = (256, 256)  # widths before `capacity_scalar` multiplies them
    capacity_scalar: int = Field(2, ge=1)
    embedding_size: int = Field(128, ge=1)
    fc_dropout_rate: float = Field(0.1, ge=0, lt=1)
    equal_layers: bool = True  # all layers start from one draw, as in the official code

    @model_validator(mode="after")
    def _heads(self) -> Embedder:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"{self.num_heads} heads do not divide a hidden size of {self.hidden_size}")
        return self


class Model(Settings):
    """The encoder of frames."""

    embedder: Embedder = Embedder()
    projection: bool = True  # a head between embedding and loss, left out afterwards
    projection_size: int = Field(128, ge=1)
    l2_normalize: bool = True  # embeddings have length one


class SCL(Settings):
    """Sequence contrastive loss (specification, 4.1)."""

    label_variance: float = Field(10.0, gt=0)  # variance of the Gaussian target, in frames squared
    softmax_temperature: float = Field(0.1, gt=0)
    positive_type: Literal["gauss", "nn"] = "gauss"
    negative_type: Literal["single_noself", "batch_noself", "single", "batch"] = "single_noself"
    positive_window: float = Field(5, ge=0)  # `nn`: farthest positive, in frames


class Evaluation(Settings):
    """The tasks by which embeddings are judged (specification, section 11)."""

    kendalls_tau_stride: int = Field(1, ge=1)  # every n-th frame counts
    retrieval_ks: tuple[int, ...] = (5, 10, 15)
    classification_fractions: tuple[float, ...] = (0.1, 0.5, 1.0)  # first shares of the training clips


Data = Annotated[MotionsData | VideosData, Field(discriminator="kind")]


class RepresentationSettings(Settings):
    """One recipe of the task."""

    task: Literal["representation"] = "representation"
    description: str = ""
    data: Data = MotionsData()
    sampling: SamplingSettings = SamplingSettings()
    augment: AugmentSettings = AugmentSettings()
    model: Model = Model()
    scl: SCL = SCL()
    train: TrainSettings = TrainSettings(ema_decay=None)
    evaluation: Evaluation = Evaluation()
    protocol: Literal["carl"] = "carl"


Schema = RepresentationSettings
