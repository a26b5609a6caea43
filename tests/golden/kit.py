"""What a golden case is, and how its inputs and weights come about.

A system's runners live in `tests/golden/<system>/`, whose `__init__` offers `RUNNERS`: operation -> function
from a `Case` to the outputs by name. `tests/test_golden.py` compares them with what the official code computed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from vectors import vectorkit

SYSTEMS = ("actionformer", "adafocus", "aimclr", "carl", "sgear")
Outputs = dict[str, np.ndarray]
Runner = Callable[["Case"], Outputs]


@dataclass(frozen=True)
class Case:
    """One case folder: `spec` is its case.json, `expected` the arrays of its expected.npz."""

    folder: Path
    spec: dict[str, Any]
    expected: dict[str, np.ndarray]

    @classmethod
    def load(cls, folder: Path) -> Case:
        spec, expected = vectorkit.load(folder)
        return cls(folder, spec, expected)

    @property
    def id(self) -> str:
        return self.spec["id"]

    @property
    def hyperparameters(self) -> dict[str, Any]:
        return self.spec["hyperparameters"]

    @cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """Every input by name: stored in expected.npz, or drawn from its specification."""
        return {name: self._input(name, spec) for name, spec in self.spec["inputs"].items()}

    def _input(self, name: str, spec: dict[str, Any]) -> np.ndarray:
        if "npz" in spec:
            key = spec["npz"]
            return self.expected[key if key.startswith("input/") else f"input/{key}"]
        return vectorkit.make_input(self.id, name, spec)

    def weights(self, section: str = "state") -> Outputs:
        """Every entry of the official state dict in order, by official name; `constructed` ones only where stored.

        `fill_exceptions` are a system's own: its runner applies them to what this returns.
        """
        constructed = set(self.spec.get("constructed", ()))
        filled: Outputs = {}
        for name, shape in self.spec[section].items():
            if f"state/{name}" in self.expected:
                filled[name] = self.expected[f"state/{name}"]
            elif name not in constructed:
                filled[name] = vectorkit.fill(name, tuple(shape))
        return filled

    def faults(self, outputs: Outputs) -> list[str]:
        """Every way in which `outputs` differ from the official ones."""
        return vectorkit.check(outputs, self.expected, **self.spec["tolerance"])


def runner(operation: str) -> Runner:
    """The function that runs `operation`; KeyError where there is none."""
    system = operation.split(".")[0]
    if system not in SYSTEMS:
        raise KeyError(operation)
    return importlib.import_module(f"golden.{system}").RUNNERS[operation]
