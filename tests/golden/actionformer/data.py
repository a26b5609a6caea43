"""Runners of the data cases (specification 3.1-3.6)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from golden.kit import Case, Outputs, Runner
from kinoscope.localization.truncation import random_window


class Recorded:
    """Python's generator, which keeps (low, high, result) of every draw."""

    def __init__(self, seed: int) -> None:
        self.random, self.draws = random.Random(seed), []  # type: ignore[var-annotated]

    def randint(self, a: int, b: int, /) -> int:
        result = self.random.randint(a, b)
        self.draws.append((a, b, result))
        return result


def truncate(case: Case) -> Outputs:
    given = dict(case.hyperparameters)
    settings = given.pop("settings")
    if given:
        raise KeyError(f"unknown hyper-parameters {sorted(given)}")
    feats, segments, labels = (case.inputs[name] for name in ("feats", "segments", "labels"))
    outputs: Outputs = {}
    for j, entry in enumerate(settings):
        options: dict[str, Any] = dict(entry)
        draws = Recorded(options.pop("seed"))
        window = random_window(feats.shape[1], segments, draws, **options)
        outputs[f"{j}/draws"] = np.array(draws.draws, np.int64).reshape(-1, 3)
        outputs[f"{j}/feats"] = feats[:, window.start : window.stop]
        outputs[f"{j}/segments"] = window.segments
        outputs[f"{j}/labels"] = labels[window.rows]
    return outputs


RUNNERS: dict[str, Runner] = {"actionformer.truncate": truncate}
