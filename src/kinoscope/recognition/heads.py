"""The last stage of a V2 with `classifier: statistics`: linear layers on what the fixed networks saw.

Every training clip passes through the networks once as it is and once with left and right exchanged; what the
focuser saw is kept, so that a pass over all of it takes milliseconds. Not in the official code.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.engine.schedules import Position
from kinoscope.engine.stage import Run
from kinoscope.engine.weights import find_weights, load_weights
from kinoscope.errors import KinoscopeError
from kinoscope.recognition.data import Clips
from kinoscope.recognition.models import AdaFocusV2
from kinoscope.recognition.models.classifiers import StatisticsClassifier
from kinoscope.recognition.models.folding import with_folded_perception
from kinoscope.recognition.stages import SingleStage

SEEING = 0.8  # of a budget in minutes


class Seen:
    """Standardised statistics of the training clips and their labels."""

    def __init__(self) -> None:
        self.items: list[tuple[Tensor, int]] = []

    def __len__(self) -> int:
        return len(self.items)

    def draw(self, index: int, generator: np.random.Generator) -> tuple[Tensor, int]:
        return self.items[index]


class HeadsStage(SingleStage):
    """Fits the classifier's linear layers; networks and policy stay as they are."""

    def prepare(self, run: Run) -> None:
        super().prepare(run)
        self.run, self.seen = run, Seen()
        torch.manual_seed(self.settings.seed)
        model = cast(AdaFocusV2, self.network())
        if self.recipe.train.heads.fine_tune:
            model.load_state_dict(load_weights(find_weights(self.folder, "single")).state)
        features, labels = self._look(model.to(run.device).eval())
        classifier = cast(StatisticsClassifier, model.classifier)
        with torch.no_grad():
            classifier.standardize(features)
            ready = (classifier.statistics(features) - classifier.mean) / classifier.scale
        self.seen.items = list(zip(ready, labels, strict=True))
        self.start = model

    @torch.inference_mode()
    def _look(self, model: AdaFocusV2) -> tuple[Tensor, list[int]]:
        """What the focuser saw [N, T, F] in every training clip, and labels; mirrored clips while time is left."""
        eyes, minutes = with_folded_perception(model), self.recipe.train.minutes
        begin, features, labels = time.monotonic(), [], []
        for flipped in (False, True):
            for index in range(len(self.training)):
                late = minutes is not None and time.monotonic() - begin > 60 * minutes * SEEING
                if late and (flipped or index % 2):
                    continue
                try:
                    clip = self.training.exact(index, flipped)
                except KinoscopeError as error:
                    if str(error.file) not in self.run.skipped:
                        print(f"left out: {error}", file=sys.stderr)
                    self.run.skipped[str(error.file)] = str(error)
                    continue
                frames = eyes.arranged(clip.frames[None].to(self.run.device))
                features.append(eyes(frames)["local"][0])
                labels.append(clip.labels[0])
        if not features:
            raise KinoscopeError("not one training video can be read", field="data.train")
        return torch.stack(features).clone(), labels

    def build_model(self) -> nn.Module:
        for name, parameter in self.start.named_parameters():
            parameter.requires_grad_(name.startswith("classifier."))
            if parameter.requires_grad:
                nn.init.zeros_(parameter)  # the loss has one minimum
        return self.start

    def samples(self) -> Clips:
        return cast(Clips, self.seen)

    def collate(self, samples: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return torch.stack([seen for seen, _ in samples]), torch.tensor([label for _, label in samples])

    def parameter_groups(self, model: nn.Module) -> list[dict[str, object]]:
        return [{"params": [p for p in model.parameters() if p.requires_grad]}]

    def learning_rate(self, base: float, position: Position) -> float:
        return base * max(1 - position.step / self.settings.epochs, 0.02)

    def set_mode(self, model: nn.Module) -> None:
        model.eval()

    def step(self, model: nn.Module, batch: tuple[Tensor, Tensor], run: Run) -> dict[str, Tensor]:
        classifier = cast(StatisticsClassifier, getattr(model, "module", model).classifier)
        seen, labels = (x.to(run.device) for x in batch)
        logits = classifier.heads_only(seen)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1]))
        weights = torch.stack([cast(nn.Linear, head).weight for head in classifier.heads])
        penalty = self.recipe.train.heads.penalty / (2 * len(self.seen)) * weights.square().sum((1, 2)).mean()
        return {"loss": loss + penalty, "cross_entropy": loss}
