"""Settings of the anticipation task: what the official Hydra tree of S-GEAR says, typed.

Published names are kept where they are clear; defaults are the official ones (specification 13 and 14). Times are
in seconds: tau_a is how long before its start an action is told, tau_o how much is observed before that.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kinoscope.anticipation.models import AnticipatorConfig, DecoderConfig
from kinoscope.engine.settings import TrainSettings
from kinoscope.recipe import Settings


class StreamsData(Settings):
    """Untrimmed motion in the neutral skeleton file; the features are poses and velocities."""

    kind: Literal["streams"] = "streams"
    train: str = "builtin:precog16"  # .npz file of streams; `builtin:NAME` is packaged
    test: str | None = None  # another file; null: part of `train`, by `split`
    split: Literal["subject", "stream"] = "subject"  # how `train` is divided where `test` is null
    test_subjects: tuple[str | int, ...] = ()  # names or numbers; empty: the last fifth of the subjects
    tau_a: float = Field(0.5, ge=0)  # seconds between the last observed moment and the action
    tau_o: float = Field(16.0, gt=0)  # seconds observed
    frame_rate: float = Field(5.0, gt=0)  # steps a second; a step is the mean of its frames
    earlier: float = Field(0.5, ge=0, le=1)  # share of training windows that end earlier than tau_a before
    whole: float = Field(0.0, ge=0, le=1)  # share of training windows that are whole streams
    warp: float = Field(0.0, ge=0, lt=1)  # training speed varies by this share
    mix: float = Field(0.0, ge=0, le=1)  # share of training windows spliced from several people
    turn: float = Field(0.0, ge=0)  # training windows are turned about the vertical by up to so many radians
    resize: float = Field(0.0, ge=0, lt=1)  # training bodies are larger or smaller by up to this share
    noise: float = Field(0.0, ge=0)  # training windows are shifted, channel by channel, by this deviation

    @property
    def num_frames(self) -> int:
        """Steps of a window."""
        return max(round(self.tau_o * self.frame_rate), 1)


class Lmdb(Settings):
    """Features in the LMDB folders of RULSTM or AVT; several are joined along the channels."""

    kind: Literal["lmdb"] = "lmdb"
    folders: tuple[str, ...] = Field(min_length=1)
    read_type: Literal["normal", "exact_rulstm"] = "normal"


class FeatureFiles(Settings):
    """Features of any encoder: a store of `kinoscope extract`, an HDF5 file, or folders with one file a video."""

    kind: Literal["features"] = "features"
    folders: tuple[str, ...] = Field(min_length=1)
    prefix: str = ""  # of the file names
    ext: str = ".npy"  # .npy, .npy.gz or .npz, with the dot
    fps: float | None = Field(None, gt=0)  # rows a second of files; a store tells it itself


class Videos(Settings):
    """Video files, or folders of extracted frames, searched in the order of the roots."""

    kind: Literal["videos"] = "videos"
    roots: tuple[str, ...] = Field(min_length=1)
    frame_pattern: str | None = None  # frames instead of videos: `{video}/frame_{frame:010d}.jpg`, from 1
    frame_fps: float = Field(30.0, gt=0)  # frames a second of extracted frames
    scale_h: str = "384-425"  # shorter side in training, "min-max" or one number
    eval_scale_h: int = Field(388, ge=1)  # shorter side in evaluation
    crop_size: int = Field(384, ge=1)  # pixels
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    flip_p: float = Field(0.5, ge=0, le=1)  # chance that a training clip is mirrored
    eval_num_crops: Literal[1, 3] = 3
    eval_flip_crops: bool = False  # mirrored copies of the crops as well


Input = Annotated[Lmdb | FeatureFiles | Videos, Field(discriminator="kind")]


class SegmentsData(Settings):
    """Annotated action segments of videos, in the official files of the benchmarks or a CSV of one's own."""

    kind: Literal["segments"] = "segments"
    dataset: Literal["epic100", "epic55", "egtea", "50salads", "own"] = "own"
    train: tuple[str, ...] = ()  # annotation files, one after another; 50 Salads: the bundle of the split
    test: tuple[str, ...] = ()
    actions: str | None = None  # action list; 50 Salads: mapping.txt; null: every verb with every noun
    names: str | None = None  # folder of the files that name verbs and nouns, and of the many-shot lists
    lists: str | None = None  # folder of the id lists of tail classes and unseen participants
    labels: str | None = None  # 50 Salads: folder of the frame labels
    train_videos: str | None = None  # text file: only these videos are trained on
    test_videos: str | None = None
    input: Input
    tau_a: float = (
        1.0  # seconds between the last observed moment and the action; -999: the action itself is seen
    )
    tau_o: float = Field(15.0, gt=0)  # seconds observed
    num_frames: int = Field(15, ge=1)  # steps of a window
    frame_rate: float | None = Field(1.0, gt=0)  # steps a second; null: all
    sample_strategy: Literal["last_clip", "center_clip", "first_clip", "random_clip"] = "last_clip"
    drop_style: Literal["correct", "full_context_in", "action_banks"] = "correct"
    language: str | None = (
        None  # encodings_*.pth of `kinoscope prepare prototypes`; null: from the class names
    )
    visual: str | None = (
        None  # visual_encodings_*.pth; null: the language vectors, as in the first official version
    )
    store_embeddings: int = Field(
        0, ge=0
    )  # vectors a class that evaluation keeps, for visual prototypes (20)
    version: str = "0.2"  # of the challenge file
    sls: tuple[int, int, int] = (1, 4, 4)  # supervision levels of the challenge file: pt, tl, td


class OrderSettings(Settings):
    """What usually follows what (`orders.py`), told by what the network says goes on at each step."""

    memory: int = Field(3, ge=1)  # actions remembered, the start of a stream counted as one
    evidence: float = Field(0.4, gt=0)  # power of the network's probabilities at a step
    network: float = Field(1.0, ge=0)  # weight of the network's own answer beside that of the orders


class Model(Settings):
    """The network (specification 5)."""

    backbone: str = "identity"  # of videos: a ViT of timm; features have none
    backbone_dim: int = Field(768, ge=1)  # its width
    tca_blocks: int = Field(0, ge=0)  # temporal context blocks after the backbone
    intermediate_featdim: int = Field(768, ge=64)  # width C; a multiple of 64 where prot_attn is on
    prot_attn: bool = True  # prototype attention
    mean_representation: bool = True  # prototypes by the mean of the clip; false: one a frame
    transform_features: bool = False  # a residual net on features
    current_action: bool = (
        False  # a second head tells what goes on at each step, or nothing; the first what comes next
    )
    orders: OrderSettings | None = (
        None  # orders of actions counted on the training streams; needs current_action
    )
    dropout: float = Field(0.2, ge=0, lt=1)  # before the classifier
    inter_dim: int = Field(2048, ge=1)  # width D of the decoder
    n_layer: int = Field(6, ge=1)  # blocks of the decoder
    n_head: int = Field(4, ge=1)  # attention heads of the decoder
    decoder_dropout: float = Field(0.1, ge=0, lt=1)  # of embeddings, attention and residuals
    initialisation: Literal["published", "fan_in"] = (
        "published"  # linear maps of deviation 0.01, or 1/sqrt(inputs)
    )
    reference_quirks: bool = True  # official numerics; false: a prediction depends on its own sample alone

    @model_validator(mode="after")
    def _widths(self) -> Model:
        if self.prot_attn and self.intermediate_featdim % 64:
            raise ValueError("intermediate_featdim must be a multiple of 64 for prototype attention")
        if self.orders is not None and not self.current_action:
            raise ValueError("model.orders needs model.current_action=true: it is told what goes on")
        if self.inter_dim % self.n_head:
            raise ValueError(f"inter_dim {self.inter_dim} is not a multiple of its {self.n_head} heads")
        return self

    @property
    def causal(self) -> bool:
        """No step is changed by a later one: windows may be of any length, streams go on step by step."""
        return not (self.reference_quirks or (self.mean_representation and self.prot_attn))

    def config(self, classes: int, num_frames: int, input_dim: int) -> AnticipatorConfig:
        """What the network is built from, on features of `input_dim` channels. With current_action a head more, which
        tells what goes on, or that nothing does; the published head is the last."""
        heads = {"current": classes + 1, "action": classes} if self.current_action else {"action": classes}
        decoder = DecoderConfig(
            self.inter_dim,
            self.n_layer,
            self.n_head,
            dropout=self.decoder_dropout,
            positions=max(1024, num_frames + 1),
        )
        return AnticipatorConfig(
            num_classes=heads,
            num_frames=num_frames,
            backbone=self.backbone,
            backbone_dim=input_dim,
            tca_blocks=self.tca_blocks,
            intermediate_featdim=self.intermediate_featdim,
            prot_attn=self.prot_attn,
            mean_representation=self.mean_representation,
            transform_features=self.transform_features,
            dropout=self.dropout,
            decoder=decoder,
            fan_in_initialisation=self.initialisation == "fan_in",
            reference_quirks=self.reference_quirks,
        )


class Start(Settings):
    """Weights that a network starts from."""

    path: str  # run folder, weights folder, or official file
    parts: tuple[str, ...] = ()  # names of our state dict that start like this; empty: everything
    backbone: bool = False  # the file holds weights of the backbone alone, as timm has them


class LossWeights(Settings):
    """Weight of every loss (specification 6); 0 leaves it out."""

    cls_action: float = Field(1.0, ge=0)  # cross-entropy of the next action
    past_cls_action: float = Field(1.0, ge=0)  # of the action at every step (current_action: of the next one)
    past_cls_current: float = Field(0.0, ge=0)  # model.current_action: of the action at every step
    global_simContrast: float = Field(0.0, ge=0)  # distance of similarity profiles, L_Sem
    past_target_global_simContrast: float = Field(0.0, ge=0)  # the same at every observed step
    target_distance: float = Field(1.0, ge=0)  # distance to the own prototype, L_reg
    feat: float = Field(1.0, ge=0)  # squared error of predicted features


class Train(TrainSettings):
    """S-GEAR's training on top of the engine's."""

    losses: LossWeights = LossWeights()
    init: tuple[Start, ...] = ()  # one, two or three parts of other runs, in order
    freeze_prototypes: bool = False  # visual prototypes stay as they start
    freeze: tuple[str, ...] = ()  # other parts that stay as they start: `backbone.`, `decoder.`, `transform.`
    bias_bn_wd_scale: float = Field(1.0, ge=0)  # weight decay of biases over that of weights


class AnticipationSettings(Settings):
    """One recipe of the task."""

    task: Literal["anticipation"] = "anticipation"
    description: str = ""
    data: Annotated[StreamsData | SegmentsData, Field(discriminator="kind")] = StreamsData()
    model: Model = Model()
    train: Train = Train()

    @property
    def streams(self) -> StreamsData:
        """The data of a recipe on streams."""
        assert isinstance(self.data, StreamsData)
        return self.data

    @property
    def segments(self) -> SegmentsData:
        """The data of a recipe on annotated segments."""
        assert isinstance(self.data, SegmentsData)
        return self.data


Schema = AnticipationSettings
