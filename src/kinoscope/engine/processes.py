"""The processes of a run, behind one small object over Hugging Face Accelerate.

One process is the plain case. Under `torchrun` or `accelerate launch` it gathers and reduces; every method is
called by all processes at the same point.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from kinoscope.errors import KinoscopeError


class Processes:
    """Rank, count and exchange of the processes of a run."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator

    @property
    def count(self) -> int:
        return int(self.accelerator.num_processes)

    @property
    def rank(self) -> int:
        return int(self.accelerator.process_index)

    @property
    def first(self) -> bool:
        return bool(self.accelerator.is_main_process)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.accelerator.device
        return device

    def sum(self, value: Tensor) -> Tensor:
        """Sum of `value` over all processes."""
        return self.accelerator.reduce(value, "sum") if self.count > 1 else value

    def gather(self, value: Tensor) -> Tensor:
        """Rows of all processes, joined along the first axis."""
        return self.accelerator.gather(value) if self.count > 1 else value

    def gather_objects(self, values: list[Any]) -> list[Any]:
        """Items of all processes in one list, by rank."""
        return list(gather_object(values)) if self.count > 1 else values

    def broadcast(self, value: Any) -> Any:
        """The first process's `value`, on every process."""
        return broadcast_object_list([value])[0] if self.count > 1 else value

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()

    def unwrap(self, model: nn.Module) -> nn.Module:
        """The network inside the wrapper for several processes."""
        return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model

    def share(self, items: list[Any]) -> list[Any]:
        """This process's part of `items`, every one of which falls to exactly one process."""
        return items[self.rank :: self.count]


def launch(precision: str) -> Processes:
    """The processes of this run at the given precision (fp32, bf16 or fp16)."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=False)  # runs of other precision in the same program
    mixed = {"fp32": "no"}.get(precision, precision)
    try:
        return Processes(Accelerator(mixed_precision=mixed, cpu=_processor_only()))
    except ValueError as error:
        raise KinoscopeError(
            "this device cannot compute at that precision",
            field="train.precision",
            value=precision,
            remedy="use train.precision=bf16 or fp32",
        ) from error


def _processor_only() -> bool:
    """Whether the processor computes; Accelerate joins processes without a GPU only when told so."""
    return not (torch.cuda.is_available() or torch.backends.mps.is_available())
