"""Streams side by side: one network a stream, trained in one run from one data pass.

AimCLR trains joint, motion and bone in three runs; its authors asked for one ("similar to CrosSCLR"). Each stream here
keeps its own encoders, queue and head, so that the numbers are those of three runs on the same views.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn


class SideBySide(nn.Module):
    """`parts`: stream -> network; with a single stream it is that network and nothing more."""

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(dict(parts))

    def forward(self, inputs: Mapping[str, Sequence[Tensor]], *shared: Any) -> dict[str, Any]:
        """{stream: what its network makes of its inputs and of what is shared}."""
        return {name: part(*inputs[name], *shared) for name, part in self.parts.items()}

    def enqueue(self, keys: Mapping[str, Tensor], gather: Callable[[Tensor], Tensor] | None = None) -> None:
        """Every stream's keys into its own queue."""
        for name, part in self.parts.items():
            part.enqueue(keys[name], gather)  # type: ignore[operator]
