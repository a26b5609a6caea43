"""Settings of the recognition task, by their published names (specification 6.6, 9, 12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kinoscope.engine.settings import Constant, Optimizer, TrainSettings
from kinoscope.recipe import Settings

SGD = Optimizer(kind="sgd", learning_rate=0.01, weight_decay=1e-4, momentum=0.9)


class FramesData(Settings):
    """A published data set in its official layout: split files and folders of frames."""

    kind: Literal["frames"] = "frames"
    dataset: Literal["actnet", "fcvid", "minik", "something-v1", "something-v2"] = (
        "actnet"  # layout and metric
    )
    data_dir: str = ""  # folder with the class file, the split files and `frames`
    partial_ratio: float = Field(1.0, gt=0, le=1)  # share of the test records that counts


class VideosData(Settings):
    """The user's own videos: a folder a class, or a CSV file of `path,class`."""

    kind: Literal["videos"] = "videos"
    train: str = ""  # folder or CSV file
    test: str | None = None  # another one; null: nothing is validated


class MotionsData(Settings):
    """Motions of a skeleton file, drawn as small figures in clutter: the place to look is known."""

    kind: Literal["motions"] = "motions"
    file: str = "builtin:hdm05_11"  # skeleton file of labelled sequences
    classes: tuple[str, ...] = ()  # these labels alone; empty: all
    test_subjects: tuple[str | int, ...] = ("mm",)  # people that are not trained on
    figure_height: int = Field(28, ge=8)  # a standing person, pixels of a frame
    copies: int = Field(2, ge=1)  # scenes of every test motion, each with its own place and clutter


class AdaFocusModel(Settings):
    """AdaFocus, part 1."""

    kind: Literal["adafocus"] = "adafocus"
    num_segments: int = Field(16, ge=1)  # frames of a clip
    input_size: int = Field(224, ge=32)  # side of a frame, pixels
    patch_size: int = Field(96, ge=16)  # side of a window, pixels
    glance_size: int = Field(224, ge=32)  # side of the glancer's input, pixels
    action_dim: int = 49  # window positions, a square number
    hidden_state_dim: int = Field(1024, ge=1)  # width of the policy
    policy_conv: bool = True  # reduce the map by a convolution first
    consensus: Literal["gru", "fc"] = "gru"  # fc: stage 1 alone
    hidden_dim: int = Field(1024, ge=1)  # width of the classifier's GRU
    dropout: float = Field(0.5, ge=0, lt=1)  # before the classifier's last layer
    with_glancer: bool = True  # the classifier sees the global vector too
    reward: Literal["random", "padding", "prev", "conf"] = "random"
    gamma: float = Field(0.7, ge=0, le=1)  # discount of a later reward
    policy_lr: float = Field(3e-4, gt=0)  # learning rate of PPO's Adam
    networks: Literal["published", "lite0", "small"] = (
        "published"  # small: a few convolutions, for small data
    )


class TsmModel(Settings):
    """AdaFocus, part 2: AdaFocus-TSM, one window a clip."""

    kind: Literal["adafocus_tsm"] = "adafocus_tsm"
    num_segments_glancer: int = Field(8, ge=1)  # frames that the glancer sees
    num_segments_focuser: int = Field(12, ge=1)  # frames that the focuser sees
    input_size: int = Field(224, ge=32)
    patch_size: int = Field(144, ge=16)
    shift_div: int = Field(8, ge=1)  # one channel in so many moves by a frame, each way
    is_shift: bool = True
    ppo_continuous: bool = True  # false: a grid of action_dim positions
    actorcritic_with_bn: bool = True
    action_std: float = Field(0.25, gt=0)  # of the positions drawn in training, in frame sides
    action_dim: int = 25
    hidden_state_dim: int = Field(1024, ge=1)
    video_div: int = Field(1, ge=1)  # decisions a clip
    with_glancer: bool = True
    dropout: float = Field(0.5, ge=0, lt=1)  # before the classifier: preparation and stage 1
    dropout_stage3: float = Field(0.0, ge=0, lt=1)  # in stage 3
    gamma: float = Field(0.7, ge=0, le=1)
    policy_lr: float = Field(3e-4, gt=0)

    @property
    def num_segments(self) -> int:
        """Frames of a clip, the glancer's first."""
        return self.num_segments_glancer + self.num_segments_focuser


class V2Model(Settings):
    """AdaFocus V2."""

    kind: Literal["adafocus_v2"] = "adafocus_v2"
    num_segments: int = Field(16, ge=1)
    input_size: int = Field(224, ge=32)
    patch_size: int = Field(128, ge=16)
    glance_size: int = Field(224, ge=32)
    stn_hidden_dim: int = Field(2048, ge=1)  # width of the policy
    classifier_dim: int = Field(4096, ge=1)  # width of the pooling classifier
    dropout: float = Field(0.2, ge=0, lt=1)
    multipliers: tuple[float, float, float, float] = (
        0.5,
        1.0,
        0.1,
        5.0,
    )  # glancer, focuser, policy, classifier
    networks: Literal["published", "lite0", "small"] = "published"  # lite0: EfficientNet-Lite0 as both
    frames: Literal["crop", "whole"] = "crop"  # whole: all of a frame, its shorter side input_size pixels
    policy: Literal["published", "motion"] = "published"  # motion: starts where something moves
    classifier: Literal["pooling", "statistics"] = "pooling"  # statistics: mean, spread, change; few clips do


class UniModel(Settings):
    """Uni-AdaFocus."""

    kind: Literal["uni_adafocus"] = "uni_adafocus"
    num_segments: int = Field(48, ge=1)  # frames loaded
    num_focus_segments: int = Field(16, ge=1)  # frames glanced at, and frames looked at
    input_size: int = Field(224, ge=32)
    patch_size: int = Field(128, ge=16)
    smallest_window: int = Field(96, ge=16)
    classifier_dim: int = Field(4096, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)
    norm_ratio: float = Field(1.0, ge=0)  # weight of the pull towards large windows
    multipliers: tuple[float, float, float, float] = (
        0.5,
        1.0,
        0.2,
        20.0,
    )  # glancer, focuser, policies, classifier


Model = Annotated[AdaFocusModel | TsmModel | V2Model | UniModel, Field(discriminator="kind")]
Data = Annotated[FramesData | VideosData | MotionsData, Field(discriminator="kind")]


class StageSettings(TrainSettings):
    """One stage. `epochs` counts passes: the official E plus one, the last at rate 0 under `cos`."""

    optimizer: Optimizer = SGD
    schedule: Constant = Constant()  # the rates follow lr_type
    ema_decay: float | None = None
    batch_size: int = Field(64, ge=1)
    lr_type: Literal["cos", "step"] = "cos"  # rate of an epoch
    lr_steps: str = "50-100"  # milestones of `step`, epochs
    backbone_lr: float = Field(0.01, ge=0)
    fc_lr: float = Field(0.005, ge=0)


def _stage(**values: Any) -> StageSettings:
    return StageSettings.model_validate(values)


class HeadsSettings(StageSettings):
    """`classifier: statistics` alone: the linear layers on what the fixed networks saw, all clips at once."""

    optimizer: Optimizer = Optimizer(kind="adam", learning_rate=0.01)
    epochs: float = Field(300, gt=0)  # passes over the stored statistics: cheap
    batch_size: int = Field(8192, ge=1)
    drop_last: bool = False
    keep: Literal["best", "last"] = "last"
    validate_every: float = Field(300, gt=0)
    checkpoint_every: float = Field(300, gt=0)
    penalty: float = Field(300.0, ge=0)  # of a squared weight, beside the sum of the clips' losses
    fine_tune: bool = False  # first train networks and policy end to end (`single`); slow on processors


# of a budget in minutes
SHARES = {
    "prepare_global": 0.15,
    "prepare_local": 0.25,
    "stage1": 0.25,
    "stage2": 0.2,
    "stage3": 0.15,
    "single": 1.0,
    "heads": 0.5,
}


class Training(Settings):
    """The stages of AdaFocus with their published values; V2 and Uni-AdaFocus have `single` alone."""

    prepare_global: StageSettings = _stage(epochs=16)
    prepare_local: StageSettings = _stage(epochs=16)
    stage1: StageSettings = _stage(epochs=51, backbone_lr=0.0005, fc_lr=0.05)
    stage2: StageSettings = _stage(epochs=50)
    stage3: StageSettings = _stage(epochs=11, fc_lr=0.005)
    single: StageSettings = _stage(epochs=51, batch_size=32, backbone_lr=0.002)
    heads: HeadsSettings = HeadsSettings()
    minutes: float | None = Field(None, gt=0)  # budget of wall time of all stages, in place of epochs

    def budget(self, name: str, names: Sequence[str]) -> StageSettings:
        """A stage's settings, with its share of the budget where there is one."""
        stage: StageSettings = getattr(self, name)
        if self.minutes is None or name == "heads":
            return stage
        share = SHARES[name] / sum(SHARES[n] for n in names)
        return stage.model_copy(update={"minutes": self.minutes * share})


class RecognitionSettings(Settings):
    """A recipe of the recognition task."""

    task: Literal["recognition"] = "recognition"
    description: str = ""
    data: Data = FramesData()
    model: Model = AdaFocusModel()
    train: Training = Training()
    global_weights: str | None = None  # torchvision MobileNet-V2 state dict to start from
    local_weights: str | None = None  # torchvision ResNet-50 state dict to start from
    start: tuple[str, ...] = ()  # official checkpoints that stand for missing earlier stages
    validation_windows: Literal["centre", "random"] = "centre"  # stage 1; random: the official, noisy score

    stage3_focuser: bool = False  # stage 3 tunes the focuser too (the paper); the released code does not

    conditional_exit: bool = False  # evaluate: thresholds from the training split, accuracy against cost

    @model_validator(mode="after")
    def _fits(self) -> RecognitionSettings:
        if self.model.patch_size > self.model.input_size:
            raise ValueError("model.patch_size: a window cannot be larger than the frame (model.input_size)")
        if isinstance(self.model, UniModel) and self.model.num_segments % self.model.num_focus_segments:
            raise ValueError("model.num_segments must be a multiple of model.num_focus_segments")
        return self


Schema = RecognitionSettings
