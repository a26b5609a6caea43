"""Which samples a step sees, and with which random numbers: pure functions of seed, epoch and index.

Nothing here has state, so the number of workers and processes changes nothing, and a run can start
at any step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from kinoscope.engine.stage import Samples
from kinoscope.errors import KinoscopeError

log = logging.getLogger(__name__)
ORDER, SAMPLE, MODEL, STEP = range(4)  # purposes: streams of random numbers that never meet


def generator(seed: int, purpose: int, *at: int) -> np.random.Generator:
    """The random stream of one purpose at one place (an epoch, an index, a step)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, purpose, *at])))


def torch_seed(seed: int, purpose: int, *at: int) -> int:
    """A seed for torch at one place."""
    return int(generator(seed, purpose, *at).integers(2**63))


@dataclass(frozen=True)
class Plan:
    """Batches of a run: `length` samples shuffled every epoch, `batch_size` a step over all processes."""

    length: int
    batch_size: int
    seed: int
    drop_last: bool
    processes: int = 1
    rank: int = 0

    @property
    def batches_per_epoch(self) -> int:
        whole, rest = divmod(self.length, self.batch_size)
        return max(whole + (rest > 0 and not self.drop_last), 1)

    def batch(self, number: int) -> list[tuple[int, int]]:
        """This process's part of batch `number` (counted from the start of the run): (epoch, index) pairs."""
        epoch, at = divmod(number, self.batches_per_epoch)
        order = generator(self.seed, ORDER, epoch).permutation(self.length)
        chosen = order[at * self.batch_size : (at + 1) * self.batch_size]
        return [(epoch, int(index)) for index in chosen[self.rank :: self.processes]]


class _Batches(Sampler[list[tuple[int, int]]]):
    def __init__(self, plan: Plan, first: int) -> None:
        self.plan, self.first = plan, first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        number = self.first
        while True:
            yield self.plan.batch(number)
            number += 1


class _Draws(Dataset[Any]):
    """Samples by (epoch, index). One that cannot be read is replaced by the next that can, and reported."""

    def __init__(self, samples: Samples, seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Any, dict[str, str]]:
        epoch, index = key
        skipped: dict[str, str] = {}
        for step in range(len(self.samples)):
            at = (index + step) % len(self.samples)
            try:
                return self.samples.draw(at, generator(self.seed, SAMPLE, epoch, at)), skipped
            except KinoscopeError as error:
                skipped[str(error.file or at)] = str(error)
        raise KinoscopeError("not one training sample can be read", value=next(iter(skipped.values()), None))


@dataclass(frozen=True)
class _Collate:
    collate: Callable[[Sequence[Any]], Any]

    def __call__(self, drawn: list[tuple[Any, dict[str, str]]]) -> tuple[Any, dict[str, str]]:
        skipped = {video: why for _, faults in drawn for video, why in faults.items()}
        return self.collate([sample for sample, _ in drawn]), skipped


def batches(
    samples: Samples, collate: Callable[[Sequence[Any]], Any], plan: Plan, first: int, workers: int
) -> Iterator[tuple[Any, dict[str, str]]]:
    """Endless (batch, samples left out and why) from batch `first` on."""
    loader = DataLoader(
        _Draws(samples, plan.seed),
        batch_sampler=_Batches(plan, first),
        collate_fn=_Collate(collate),
        num_workers=workers,
    )
    return iter(loader)
