"""Settings of the localization task: what the official YAML files of ActionFormer and its fork say, typed.

Published names are kept where they are clear; defaults are those of the official code (specification, section
2). Where the data is a streams file, what the user leaves open (`null`) is fitted to the data.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kinoscope.engine.settings import TrainSettings
from kinoscope.recipe import Settings

Ranges = tuple[tuple[float, float], ...]
OPEN_END = 10000.0  # upper bound of the last regression range: no bound


class FeatureData(Settings):
    """Pre-extracted features and an annotation file of the ActivityNet kind."""

    kind: Literal["features"] = "features"
    reader: Literal["thumos", "anet", "epic", "ego4d"] = (
        "thumos"  # whose conventions hold; thumos: any own data
    )
    annotations: str = ""  # JSON with `database`
    features: str | tuple[str, ...] = ""  # folder of npy or npz, one HDF5 file, or several joined by channel
    file_prefix: str = ""  # before the video id in file names
    file_ext: str = ".npy"  # after it
    train_subsets: tuple[str, ...] = ("training",)
    test_subsets: tuple[str, ...] = ("validation",)
    num_classes: int = Field(97, ge=1)
    input_dim: int | tuple[int, ...] = 2304  # channels of a feature; a list: parts embedded on their own
    feat_stride: float = 16  # frames between features; <= 0: features of fixed length
    num_frames: float = 32  # frames that a feature covers
    default_fps: float | None = None  # frames a second; null: the annotation file's
    downsample_rate: int = Field(1, ge=1)  # keep every n-th feature
    max_seq_len: int = Field(2304, ge=1)  # steps of a training sequence
    trunc_thresh: float = Field(0.5, ge=0, le=1)  # share of an action that must lie in a crop
    crop_ratio: tuple[float, float] | None = None  # random crops of this share of a short video
    force_upsampling: bool = False  # resize every video to max_seq_len steps


class StreamsData(Settings):
    """Untrimmed motion in the neutral skeleton file; the features are poses and velocities."""

    kind: Literal["streams"] = "streams"
    train: str = "builtin:precog16"  # .npz file of streams; `builtin:NAME` is packaged
    test: str | None = None  # another file; null: part of `train`, by `split`
    split: Literal["subject", "stream"] = "subject"  # how `train` is divided where `test` is null
    test_subjects: tuple[str | int, ...] = ()  # names or numbers; empty: the last fifth of the subjects
    max_seq_len: int | None = Field(None, ge=1)  # null: the longest stream, rounded up
    smooth_s: float = Field(0.0, ge=0)  # places are smoothed over this long before velocities are taken
    warp: float = Field(0.0, ge=0, lt=1)  # training speed varies by this share
    scale: float = Field(0.0, ge=0)  # training bodies are up to this share taller or smaller
    turn_deg: float = Field(0.0, ge=0, le=180)  # training bodies are turned by up to this angle
    noise: float = Field(0.0, ge=0)  # training streams are shifted, channel by channel, by this deviation
    instant_width_s: float = Field(
        0.0, ge=0
    )  # instants are taught as segments this long: 6 deviations of a heat map
    instants: Literal["start", "end", "key_event"] | None = None  # points in place of segments (SnapFormer)


class Backbone(Settings):
    """Feature pyramid over time (specification 4.2-4.5, 11.1)."""

    kind: Literal["conv_transformer", "conv_transformer_v2", "conv", "sgp"] = "conv_transformer"
    arch: tuple[int, int, int] = (2, 2, 5)  # embedding convolutions, stem blocks, halving blocks
    embd_dim: int | tuple[int, ...] = 512  # width; a list: one width a part of input_dim
    embd_kernel_size: int = Field(3, ge=1)
    embd_with_ln: bool = True
    n_head: int = Field(4, ge=1)
    n_kv_head: int | None = Field(None, ge=1)  # v2: key and value heads; null: as many as n_head
    n_hidden: int | None = Field(None, ge=1)  # width of the MLP; null: 4 times the width
    n_mha_win_size: int | tuple[int, ...] = -1  # attention window; <= 1: global; a list: one a level
    n_sgp_win_size: int = Field(1, ge=1)  # sgp: window of the narrow convolution
    sgp_k: float = Field(5.0, gt=0)  # sgp: how much wider the wide one is
    scale_factor: int = Field(2, ge=2)  # stride between levels
    use_abs_pe: bool = False  # absolute position table
    use_rel_pe: bool = False  # relative position bias in local attention
    use_rope: bool = False  # v2: rotary embedding
    use_flash_attn: bool = False  # v2: fused attention
    use_swiglu: bool = False  # v2
    use_rms_norm: bool = False  # v2
    dropout: float = Field(0.0, ge=0, lt=1)
    droppath: float = Field(0.1, ge=0, lt=1)  # stochastic depth


class Neck(Settings):
    kind: Literal["identity", "fpn", "cs_fpn"] = "identity"
    fpn_dim: int = 512
    fpn_with_ln: bool = True
    fpn_start_level: int = Field(0, ge=0)


class Head(Settings):
    head_dim: int = 512
    head_kernel_size: int = Field(3, ge=1)
    head_num_layers: int = Field(3, ge=1)  # the output convolution included
    head_with_ln: bool = True
    version: Literal[1, 2] = 1  # 2: the fork's deeper heads
    cls_prior_prob: float = Field(0.01, gt=0, lt=1)  # starting probability of every class
    head_empty_cls: tuple[int, ...] = ()  # classes without training data: start at 1e-6
    reg_max: int = Field(16, ge=1)  # tbtformer, tridet: bins of a boundary's distribution


class Model(Settings):
    kind: Literal["actionformer", "snapformer", "tbtformer", "tridet"] = "actionformer"
    backbone: Backbone = Backbone()
    neck: Neck = Neck()
    head: Head = Head()
    regression_range: Ranges = ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, OPEN_END))  # one a level
    max_buffer_len_factor: float = Field(6.0, gt=0)  # longest test sequence over max_seq_len

    @model_validator(mode="after")
    def _levels(self) -> Model:
        levels = self.backbone.arch[2] + 1 - self.neck.fpn_start_level
        if len(self.regression_range) != levels:
            raise ValueError(
                f"{levels} levels need {levels} regression ranges, not {len(self.regression_range)}"
            )
        return self

    def published(self) -> dict[str, Any]:
        """The `model` section under its flat official names."""
        flat = self.backbone.model_dump(exclude={"kind", "arch"})
        flat |= self.neck.model_dump(exclude={"kind"}) | self.head.model_dump(exclude={"version"})
        types = {
            "conv_transformer": "convTransformer",
            "conv_transformer_v2": "convTransformerv2",
            "conv": "conv",
            "sgp": "sgp",
        }
        return flat | {
            "backbone_type": types[self.backbone.kind],
            "backbone_arch": self.backbone.arch,
            "fpn_type": self.neck.kind,
            "head_version": self.head.version,
            "regression_range": self.regression_range,
            "max_buffer_len_factor": self.max_buffer_len_factor,
        }


class Train(TrainSettings):
    """ActionFormer's training on top of the engine's."""

    center_sample: Literal["radius", "none"] = "radius"
    center_sample_radius: float = Field(1.5, gt=0)  # in strides of the level
    loss_weight: float = 1.0  # of the regression loss; <= 0: balanced by itself
    init_loss_norm: float = Field(2000, gt=0)  # about the positives of a batch
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    cls_loss_type: Literal["focal", "quality_focal", "iou_focal"] = "focal"
    reg_loss_type: Literal["diou", "eiou", "giou", "iou", "focal", "iou_weighted"] = "diou"
    iou_weight_power: float = Field(1.0, ge=0)  # iou_focal: positives weigh IoU to this power
    dfl_weight: float = Field(0.25, ge=0)  # tbtformer: of the distribution focal loss
    recompute: bool = False  # cheap steps run again in the backward pass: less memory, a little more time


class Postprocess(Settings):
    """What is known of a domain, enforced on events; classes by name or number, times in seconds."""

    merge_gap_s: float | None = Field(None, ge=0)  # so close events of a class become one; null: none do
    min_gap_s: dict[int | str, float] = Field({})  # least distance of the centres of two events, by class
    max_overlap: float = Field(1.0, ge=0)  # largest tIoU of two events of a video, whatever their classes
    duration_range_s: dict[int | str, tuple[float, float]] = Field({})  # shortest and longest event, by class
    ordering: tuple[tuple[int | str, ...], ...] = ()  # classes that follow each other, a list a procedure
    score_threshold: float = Field(0.0, ge=0, le=1)  # least score


class Decode(Settings):
    """From network outputs to events (specification 7)."""

    pre_nms_thresh: float = Field(0.001, ge=0)
    pre_nms_topk: int = Field(5000, ge=1)  # a level
    duration_thresh: float = Field(0.05, ge=0)  # shortest event, in feature steps
    nms_method: Literal["soft", "hard", "none"] = "soft"
    iou_threshold: float = Field(0.1, gt=0, le=1)  # hard suppression
    min_score: float = Field(0.01, ge=0)
    max_seg_num: int = Field(1000, ge=1)  # events of a video
    nms_sigma: float = Field(0.5, gt=0)
    class_sigma: dict[int, float] | None = None  # sigma by class
    multiclass_nms: bool = True  # every class on its own
    voting_thresh: float = 0.75  # segment voting, where classes are not apart
    score_temperature: float = Field(1.0, gt=0)
    use_diou_nms: bool = False
    ext_score_file: str | None = None  # scores of a video classifier to multiply with
    peak_gap_s: float = Field(
        0.0, ge=0
    )  # snapformer: instants of a class nearer than this to a better one go
    peak_pyramid: bool = False  # snapformer: the coarser heat maps tell which class an instant is of
    postprocess: Postprocess | None = None  # rules on the events of a video; null: none

    def published(self) -> dict[str, Any]:
        """The `test_cfg` section under its official names."""
        return self.model_dump(exclude={"postprocess", "peak_gap_s", "peak_pyramid"})


class LocalizationSettings(Settings):
    """One recipe of the task."""

    task: Literal["localization"] = "localization"
    description: str = ""
    data: Annotated[FeatureData | StreamsData, Field(discriminator="kind")] = FeatureData()
    model: Model = Model()
    train: Train = Train()
    decode: Decode = Decode()
    protocol: Literal[
        "thumos14", "activitynet", "epic", "ego4d", "instants", "spotting_tight", "spotting_loose"
    ] = "thumos14"  # thresholds or tolerances, and metrics


Schema = LocalizationSettings
