"""A stage small enough to kill: linear regression with dropout, random samples and extra state.

As a program it trains itself in the folder of its first argument: `toy.py FOLDER [key=value ...] [--resume]`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinoscope.engine.folder import train_stages
from kinoscope.engine.settings import TrainSettings
from kinoscope.engine.stage import Run, Stage
from kinoscope.errors import KinoscopeError
from kinoscope.recipe import merged, parse_override


class ToySamples:
    """Noisy points on a plane; sample `bad` cannot be read."""

    def __init__(self, n: int = 12, bad: int | None = None) -> None:
        self.n, self.bad = n, bad

    def __len__(self) -> int:
        return self.n

    def draw(self, index: int, generator: np.random.Generator) -> Any:
        if index == self.bad:
            raise KinoscopeError("truncated", file=f"video{index}")
        x = generator.standard_normal(6).astype(np.float32)
        return torch.from_numpy(x), torch.tensor(float(x.sum()) + index)


class ToyStage(Stage):
    name = "toy"
    headline = "error"
    higher_is_better = False

    def __init__(
        self, settings: TrainSettings, dropout: float = 0.2, pause_s: float = 0.0, **samples: Any
    ) -> None:
        self.settings, self.dropout, self.pause_s = settings, dropout, pause_s
        self.data = ToySamples(**samples)
        self.normaliser = 1.0
        self.seen: list[float] = []

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.Dropout(self.dropout), nn.Linear(8, 1))

    def samples(self) -> ToySamples:
        return self.data

    def collate(self, samples: Any) -> Any:
        x, y = zip(*samples, strict=True)
        return torch.stack(x), torch.stack(y)

    def step(self, model: nn.Module, batch: Any, run: Run) -> dict[str, Tensor]:
        time.sleep(self.pause_s)
        x, y = batch
        count = float(run.processes.sum(torch.tensor(float(len(x)))))
        self.normaliser = 0.9 * self.normaliser + 0.1 * count
        loss = ((model(x)[:, 0] - y) ** 2).sum() / self.normaliser * run.processes.count
        self.seen.append(float(loss.detach()))
        return {"loss": loss}

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        x = torch.linspace(-1, 1, 30).reshape(5, 6)
        return {"error": float((model(x)[:, 0] - x.sum(1)).square().mean())}

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        return {"skipped": len(run.skipped), **self.validate(model, run)}

    def state(self) -> dict[str, Any]:
        return {"normaliser": self.normaliser}

    def load_state(self, state: dict[str, Any]) -> None:
        self.normaliser = state["normaliser"]


def settings(*overrides: str) -> TrainSettings:
    """Settings of a short run, with overrides such as `epochs=2`."""
    values: dict[str, Any] = {
        "epochs": 4,
        "schedule": {"kind": "warmup_cosine", "warmup_epochs": 1},
        "batch_size": 4,
        "optimizer": {"learning_rate": 0.01, "weight_decay": 0.01},
        "clip_norm": 1.0,
        "ema_decay": 0.9,
        "validate_every": 2,
        "checkpoint_every": 0.34,
        "log_every": 1,
    }
    for override in overrides:
        values = merged(values, parse_override(override))
    return TrainSettings.model_validate(values)


if __name__ == "__main__":
    arguments = [word for word in sys.argv[2:] if "=" in word]
    pause = [float(word.split("=")[1]) for word in arguments if word.startswith("pause_s=")]
    drop = [float(word.split("=")[1]) for word in arguments if word.startswith("dropout=")]
    stage = ToyStage(
        settings(*(word for word in arguments if not word.startswith(("pause_s=", "dropout=")))),
        pause_s=pause[0] if pause else 0.0,
        dropout=drop[0] if drop else 0.2,
    )
    train_stages([stage], Path(sys.argv[1]), "toy", resume="--resume" in sys.argv)
