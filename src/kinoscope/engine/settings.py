"""What a recipe says about training: one section, `train:`, the same for every task."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kinoscope.recipe import Settings


class WarmupCosine(Settings):
    """Linear warm-up, then a cosine from the base rate down to `final_rate`."""

    kind: Literal["warmup_cosine"] = "warmup_cosine"
    warmup_epochs: float = Field(5.0, ge=0)  # epochs of warm-up, on top of `epochs`
    final_rate: float = Field(1e-8, ge=0)  # learning rate at the very end


class WarmupSteps(Settings):
    """Linear warm-up, then the rate times `gamma` at every milestone."""

    kind: Literal["warmup_steps"] = "warmup_steps"
    warmup_epochs: float = Field(0.0, ge=0)  # epochs of warm-up, on top of `epochs`
    steps: tuple[float, ...] = ()  # milestones in epochs after the warm-up
    gamma: float = Field(0.1, gt=0)  # factor at each milestone


class Constant(Settings):
    """The base rate throughout."""

    kind: Literal["constant"] = "constant"


Schedule = Annotated[WarmupCosine | WarmupSteps | Constant, Field(discriminator="kind")]


class Optimizer(Settings):
    """AdamW, Adam or SGD over the groups that the stage names."""

    kind: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = Field(1e-4, gt=0)  # base rate of groups that set none
    weight_decay: float = Field(0.0, ge=0)  # of groups that set none
    momentum: float = Field(0.9, ge=0, lt=1)  # SGD only
    nesterov: bool = False  # SGD only
    betas: tuple[float, float] = (0.9, 0.999)  # Adam and AdamW only


class TrainSettings(Settings):
    """How long, how fast, how precise; a task's own `train:` section extends this."""

    epochs: float = Field(30, gt=0)  # passes over the data after the warm-up
    stop_after_epochs: float | None = Field(None, gt=0)  # ends earlier, the schedule unchanged
    minutes: float | None = Field(None, gt=0)  # budget of wall time in place of epochs
    batch_size: int = Field(2, ge=1)  # samples of one step, over all processes
    accumulate: int = Field(1, ge=1)  # batches added up before the optimiser moves
    drop_last: bool = True  # leave out the last, smaller batch of an epoch
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = WarmupCosine()
    clip_norm: float = 0.0  # total gradient norm is cut to this; 0: never
    ema_decay: float | None = Field(0.999, ge=0, lt=1)  # moving average of the weights; null: none
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    seed: int = Field(0, ge=0)
    workers: int = Field(0, ge=0)  # processes that prepare samples
    validate_every: float = Field(5, gt=0)  # epochs between validations
    checkpoint_every: float = Field(5, gt=0)  # epochs between checkpoints
    keep: Literal["best", "last"] = "best"  # which weights a run ends with; last where validation is the test
    keep_checkpoints: int = Field(2, ge=1)
    log_every: int = Field(10, ge=1)  # steps between log lines
