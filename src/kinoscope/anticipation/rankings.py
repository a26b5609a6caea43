"""Answers: the likeliest next actions at moments of videos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kinoscope.anticipation.judge import SHOWN
from kinoscope.errors import KinoscopeError

EVERY_S = 1.0  # seconds between the moments at which `predict` looks ahead
__all__ = ["EVERY_S", "SHOWN", "Rankings", "render", "to_json"]


@dataclass(frozen=True)
class Rankings:
    """The likeliest next actions at moments of videos.

    video: (N,) names; time_s: (N,) the moment up to which was observed; starts_s: (N,) moment from which the action
    is expected; label: (N, K) best first; probability: (N, K). parts: {"verb": (names, (N, V) probabilities)}.
    """

    video: tuple[str, ...]
    time_s: np.ndarray
    starts_s: np.ndarray
    label: np.ndarray
    probability: np.ndarray
    label_names: tuple[str, ...]
    parts: dict[str, tuple[tuple[str, ...], np.ndarray]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.video)

    def rows(self) -> list[dict[str, Any]]:
        """One plain dict a moment."""
        return [
            {
                "video": self.video[k],
                "time_s": round(float(self.time_s[k]), 3),
                "starts_s": round(float(self.starts_s[k]), 3),
                "next": [
                    [self.label_names[int(a)], round(float(p), 4)]
                    for a, p in zip(self.label[k], self.probability[k], strict=True)
                ],
                **{name: self._best(k, *part) for name, part in self.parts.items()},
            }
            for k in range(len(self))
        ]

    @staticmethod
    def _best(k: int, names: tuple[str, ...], p_NV: np.ndarray) -> list[list[Any]]:
        best = np.argsort(-p_NV[k], kind="stable")[:SHOWN]
        return [[names[int(v)], round(float(p_NV[k, v]), 4)] for v in best]

    def to_csv(self) -> str:
        """Rows `video,time_s,starts_s,rank,action,probability`."""
        lines = ["video,time_s,starts_s,rank,action,probability"]
        for row in self.rows():
            head = f"{row['video']},{row['time_s']:.3f},{row['starts_s']:.3f}"
            lines += [f"{head},{k},{name},{p:.4f}" for k, (name, p) in enumerate(row["next"], start=1)]
        return "\n".join(lines) + "\n"


def render(parts: Sequence[Rankings], kind: str, tau_a: float) -> str:
    """The answers as csv or json."""
    if kind == "csv":
        head, *rest = [part.to_csv() for part in parts]
        return head + "".join(text.partition("\n")[2] for text in rest)
    if kind == "json":
        return json.dumps(to_json(parts, tau_a)) + "\n"
    raise KinoscopeError(
        "rankings are not written in that format", field="--format", value=kind, remedy="csv or json"
    )


def to_json(parts: Sequence[Rankings], tau_a: float) -> dict[str, Any]:
    """The answers as plain values."""
    return {
        "label_names": list(parts[0].label_names) if parts else [],
        "tau_a_s": tau_a,
        "rankings": [row for part in parts for row in part.rows()],
    }
