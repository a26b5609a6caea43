"""The one protocol between the engine and a task.

A stage says what is trained: its model, parameter groups, samples, step, what follows a step, validation and
extra state. The engine owns order, randomness, precision, processes, accumulation, clipping, schedules,
checkpoints, progress and logs. Subclass `Stage`, override what differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from kinoscope.engine.processes import Processes
from kinoscope.engine.schedules import Position, learning_rate
from kinoscope.engine.settings import TrainSettings
from kinoscope.errors import KinoscopeError


class Samples(Protocol):
    """Training samples. `draw` is a pure function of its arguments: that is what makes runs reproducible."""

    def __len__(self) -> int: ...

    def draw(self, index: int, generator: np.random.Generator) -> Any:
        """Sample `index`, its random choices drawn from `generator` alone."""


@dataclass
class Run:
    """What the engine tells a stage while it runs."""

    device: torch.device
    processes: Processes
    folder: Path
    position: Position = field(default_factory=Position)
    skipped: dict[str, str] = field(default_factory=dict)  # video -> why it was left out


@dataclass(frozen=True)
class Start:
    """Where a run of the official program stands: the weights by our names and their average, the optimiser's state
    of every parameter, the epochs done, and the stage's own state where the file holds it."""

    model: dict[str, Tensor]
    average: dict[str, Tensor] | None
    optimizer: dict[str, dict[str, Any]]
    epoch: int
    stage: dict[str, Any] | None = None


class Stage(ABC):
    """One stage of a recipe: what is trained, on what, how it is judged."""

    name: str = "train"
    settings: TrainSettings
    headline: str | None = None  # the validation metric whose best weights are kept
    higher_is_better: bool = True

    def prepare(self, run: Run) -> None:  # noqa: B027 - hooks are empty by default
        """Once, before anything else: read data, find the weights of the stage before in `run.folder`."""

    @abstractmethod
    def build_model(self) -> nn.Module:
        """The network with its starting weights; called once, after the seed is set."""

    @abstractmethod
    def samples(self) -> Samples:
        """The training samples."""

    def official_start(self, path: Path, model: nn.Module) -> Start:
        """What an official checkpoint of a run that is not over holds. Raises KinoscopeError where it does not fit."""
        raise KinoscopeError(
            "runs of the official program cannot be gone on with in this stage", field=self.name
        )

    def collate(self, samples: Sequence[Any]) -> Any:
        """A batch of samples; by default the list itself."""
        return list(samples)

    @abstractmethod
    def step(self, model: nn.Module, batch: Any, run: Run) -> dict[str, Tensor]:
        """Losses of one batch; `loss` is differentiated, the others are logged.

        `model` is the network, wrapped for several processes where there are any: call it, do not reach into
        it (`run.processes.unwrap(model)` does). Gradients are *averaged* over processes: a loss that is a sum
        divided by a global count must be multiplied by `run.processes.count`.
        """

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Groups for the optimiser: `params` and what differs from the settings (`lr`, `weight_decay`)."""
        return [{"params": [p for p in model.parameters() if p.requires_grad]}]

    def learning_rate(self, base: float, position: Position) -> float:
        """The rate of a group with base rate `base` for the coming step."""
        return learning_rate(self.settings.schedule, base, position)

    def set_mode(self, model: nn.Module) -> None:
        """Before every epoch, after every validation: which parts train, are frozen or in eval mode."""
        model.train()

    def before_step(self, model: nn.Module, batch: Any, run: Run) -> None:  # noqa: B027
        """Before the forward pass (a momentum encoder moves here)."""

    def after_step(self, model: nn.Module, run: Run) -> None:  # noqa: B027
        """After the optimiser moved (a queue advances here)."""

    def update(self, model: nn.Module, batch: Any, run: Run) -> dict[str, Tensor] | None:
        """A whole update of the stage's own (PPO): return its logs, and the engine does no step itself."""
        return None

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        """Metrics of the (averaged) weights; called on every process, the first one's answer counts."""
        return {}

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        """After training, with the best weights: the final metrics; writes predictions into `run.folder`."""
        return {}

    def state(self) -> dict[str, Any]:
        """Extra state for the checkpoint: tensors, numbers, strings, lists and dicts of them."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Inverse of `state`."""

    def about(self) -> dict[str, Any]:
        """What is written beside the weights: label names, time axis, preprocessing; plain JSON values."""
        return {}
