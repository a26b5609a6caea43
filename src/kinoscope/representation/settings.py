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


class PublishedData(Settings):
    """A data set of the paper, as `kinoscope prepare` or the official programs lay it out; frames are trained on."""

    kind: Literal["published"] = "published"
    dataset: Literal["pouring", "penn_action", "finegym", "kinetics400"] = "pouring"
    root: str = ""  # folder that holds `pouring`, `penn_action`, `finegym`, `Kinetics400`
    evaluate_on: tuple[str, ...] = ()  # actions of Penn Action that are judged; empty: all of them
    class_num: Literal[99, 288] = 99  # which FineGym
    fraction: float = Field(1.0, gt=0, le=1)  # first share of the training videos (supervised only)
    addition_trainset: bool = False  # FineGym: the events without labels are trained on as well
    image_size: int = Field(224, ge=32)  # side of the network's input, pixels
    sample_all_stride: int = Field(1, ge=1)  # every n-th frame is embedded in the evaluation


class SamplingSettings(Settings):
    """The frames of a view (specification, section 6)."""

    num_frames: int | None = Field(None, ge=2)  # frames of a view; null: three fifths of the median clip
    strategy: Literal["time_augment", "offset_uniform"] = "time_augment"  # of a random crop, or of the whole
    region: float = Field(1.5, ge=0)  # a crop is up to this many times as long as a view
    consistent_offset: float = Field(0.2, ge=0, le=1)  # share that two views have in common at least
    crop_of_clip: bool = False  # a crop's length goes by num_frames (paper, FineGym), not by the video
    num_contexts: int = Field(1, ge=1)  # frames that make an embedding (convolutional embedders)
    context_stride: int = Field(1, ge=1)  # frames between them
    same_class: bool = False  # a batch holds videos of one action (TCC on Penn Action)


class FeatureAugment(Settings):
    """Random changes of a view's features, one draw a view."""

    kind: Literal["features"] = "features"
    noise: float = Field(0.1, ge=0)  # shift of every channel, in standard deviations
    scale: float = Field(0.1, ge=0, lt=1)  # every channel is stretched by up to this share
    drop: float = Field(0.1, ge=0, lt=1)  # share of channels that are set to their mean
    rotation_deg: float = Field(15.0, ge=0, le=180)  # turn of the body about the vertical, either way


class ImageAugmentSettings(Settings):
    """Random changes of a view's pictures, one draw a view (specification, section 5)."""

    kind: Literal["images"] = "images"
    strength: float = Field(1.0, ge=0)  # of the colour changes of two views
    blur_probability: float = Field(0.5, ge=0, le=1)  # 0 for FineGym
    blurs: int = Field(4, ge=1, le=4)  # after how many of the four colour changes it blurs; officially all
    random_crop: bool = True  # also decides that the evaluation cuts the centre out
    random_flip: bool = True
    brightness_max_delta: float = Field(0.8, ge=0)  # without two views; 0: never
    contrast_max_delta: float = Field(0.8, ge=0)
    hue_max_delta: float = Field(0.2, ge=0, le=0.5)
    saturation_max_delta: float = Field(0.8, ge=0)


class Trunk(Settings):
    """The ResNet-50 over single frames (specification, 3.1 and 3.7)."""

    network: Literal["byol", "simclr", "mocov2", "pretrained", "random"] = "byol"  # what its weights are
    weights: str | None = None  # their file; null: the published name below `root`/pretrained_models
    layer: int = Field(3, ge=2, le=4)  # last stage that is not trained by the transformer recipes
    frames_per_pass: int = Field(40, ge=1)  # frames whose batch norm statistics are taken together
    train: Literal["frozen", "only_bn", "train_all"] = "frozen"  # the stages up to `layer`


class Embedder(Settings):
    """What makes embeddings of frames: the transformer (specification, 3.2 to 3.4), or convolutions (3.5)."""

    kind: Literal["transformer", "conv", "vanilla"] = "transformer"
    hidden_size: int = Field(256, ge=2)
    d_ff: int = Field(1024, ge=1)
    num_heads: int = Field(8, ge=1)
    num_layers: int = Field(3, ge=0)
    fc_layers: tuple[int, ...] = (256, 256)  # widths before `capacity_scalar` multiplies them
    capacity_scalar: int = Field(2, ge=1)
    conv_layers: tuple[tuple[int, int, int], ...] = ((256, 3, 1), (256, 3, 1))  # width, kernel, time padding
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

    trunk: Trunk | None = None  # null: the frames are features already
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


class TCC(Settings):
    """Temporal cycle consistency (specification, 4.2)."""

    loss_type: Literal["regression_mse_var", "regression_mse", "regression_huber", "classification"] = (
        "regression_mse_var"
    )
    similarity_type: Literal["l2", "cosine"] = "l2"
    softmax_temperature: float = Field(0.1, gt=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    variance_lambda: float = Field(0.001, ge=0)
    normalize_indices: bool = True
    corrected: bool = False  # `classification` on log-probabilities instead of raw logits


class TCN(Settings):
    """Time-contrastive n-pairs (specification, 4.3)."""

    positive_window: int = Field(5, ge=1)  # frames
    reg_lambda: float = Field(0.002, ge=0)


class Rates(Settings):
    """Learning rates by epoch (specification, 9.2); in place of `train.schedule`."""

    decay_type: Literal["cosine", "fixed", "cosinewarmup"] = "cosine"
    warmup_lr: float = Field(0.0, ge=0)
    num_warmup_steps: int = Field(1, ge=1)  # epochs
    final_lr: float = Field(0.0, ge=0)


class Evaluation(Settings):
    """The tasks by which embeddings are judged (specification, sections 11 and 12)."""

    frames_per_batch: int = Field(1000, ge=1)  # a longer video is embedded in pieces
    kendalls_tau_stride: int = Field(1, ge=1)  # every n-th frame counts
    kendalls_tau_distance: Literal["sqeuclidean", "euclidean", "cosine"] = "sqeuclidean"
    retrieval_ks: tuple[int, ...] = (5, 10, 15)
    classification_fractions: tuple[float, ...] = (0.1, 0.5, 1.0)  # first shares of the training clips
    random_subsets: int = Field(0, ge=0)  # draws of each share, beside the first clips; 0: none
    classification_lr: float = Field(50.0, gt=0)  # of FineGym's linear probe
    classification_epochs: int = Field(100, ge=1)


Data = Annotated[MotionsData | VideosData | PublishedData, Field(discriminator="kind")]
Augment = Annotated[FeatureAugment | ImageAugmentSettings, Field(discriminator="kind")]


class RepresentationSettings(Settings):
    """One recipe of the task."""

    task: Literal["representation"] = "representation"
    description: str = ""
    data: Data = MotionsData()
    sampling: SamplingSettings = SamplingSettings()
    augment: Augment = FeatureAugment()
    model: Model = Model()
    algorithm: Literal["scl", "tcc", "tcn", "classification"] = "scl"
    scl: SCL = SCL()
    tcc: TCC = TCC()
    tcn: TCN = TCN()
    rates: Rates | None = None  # null: as `train.schedule` says
    init_from: str | None = None  # official checkpoint to start from
    train: TrainSettings = TrainSettings(ema_decay=None)
    evaluation: Evaluation = Evaluation()
    protocol: Literal["carl"] = "carl"

    @model_validator(mode="after")
    def _fit_each_other(self) -> RepresentationSettings:
        pictures = self.data.kind == "published"
        if pictures != (self.model.trunk is not None) or pictures != (self.augment.kind == "images"):
            raise ValueError(
                "data.kind published needs model.trunk and augment.kind images; features of frames need neither"
            )
        if not pictures and (self.algorithm != "scl" or self.model.embedder.kind != "transformer"):
            raise ValueError("features of frames are trained by algorithm scl with a transformer")
        if pictures and self.sampling.num_frames is None:
            raise ValueError("data.kind published needs sampling.num_frames")
        if self.algorithm == "tcc" and self.train.batch_size < 2:
            raise ValueError("algorithm tcc compares videos: train.batch_size must be 2 or more")
        return self


Schema = RepresentationSettings
