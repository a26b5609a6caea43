"""The four training algorithms as one function each: network and batch in, losses out (CARL, section 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinoscope.representation import loss


@dataclass
class Batch:
    """A batch of clips; with two views of each video there is an axis of 2 behind the first.

    clips (B, [2,] T*K, ...), lengths (B[, 2]) in frames of the video, steps (B, [2,] T) frame numbers,
    mask (B, [2,] T) 1 on valid frames, labels (B, [2,] T) with -1 for none.
    """

    clips: Tensor
    lengths: Tensor
    steps: Tensor
    mask: Tensor
    labels: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`."""
        labels = None if self.labels is None else self.labels.to(device)
        clips, lengths, steps, mask = (
            part.to(device) for part in (self.clips, self.lengths, self.steps, self.mask)
        )
        return Batch(clips, lengths, steps, mask, labels)

    def flat(self) -> Batch:
        """The views as clips of their own."""
        if self.steps.ndim == 2:
            return self
        labels = None if self.labels is None else self.labels.flatten(0, 1)
        return Batch(
            self.clips.flatten(0, 1),
            self.lengths.flatten(),
            self.steps.flatten(0, 1),
            self.mask.flatten(0, 1),
            labels,
        )


Objective = Callable[[nn.Module, Batch], dict[str, Tensor]]


def scl(project: bool = True, **options: object) -> Objective:
    """Sequence contrastive learning on two views; `options` as in `loss.scl_loss`."""

    def run(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        flat = batch.flat()
        z = model(flat.clips, flat.mask, project=project)
        z = z.view(*batch.steps.shape, -1)
        return {"loss": loss.scl_loss(z, batch.steps, batch.lengths, batch.mask, **options)}  # type: ignore[arg-type]

    return run


def tcc(**options: object) -> Objective:
    """Temporal cycle consistency; `options` as in `loss.tcc_loss`."""

    def run(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        flat = batch.flat()
        x = model(flat.clips, flat.mask)
        return loss.tcc_loss(x, flat.steps, flat.lengths, **options)  # type: ignore[arg-type]

    return run


def tcn(regularization: float = 0.002) -> Objective:
    """Time-contrastive n-pairs on interleaved anchors and positives."""

    def run(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        flat = batch.flat()
        return {"loss": loss.tcn_loss(model(flat.clips, flat.mask), regularization).mean()}

    return run


def classification() -> Objective:
    """Supervised phases; out of training mode `loss` is the accuracy, as in the official logs."""

    def run(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        flat = batch.flat()
        assert flat.labels is not None
        scores = model(flat.clips, flat.mask, classify=True)
        measure = loss.classification_loss if model.training else loss.classification_accuracy
        return {"loss": measure(scores, flat.labels, flat.mask)}

    return run
