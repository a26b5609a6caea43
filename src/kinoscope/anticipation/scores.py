"""Stored scores: what a run says of every segment, in one file that figures, fusion and submissions read.

`scores.npz`: `uid` (n,) names, `action` (n, A) logits, `label_action`, `label_verb`, `label_noun` (n,) with -1 for
unknown, `pairs` (A, 2) verb and noun of each action, `sizes` (verbs, nouns), `names` (A,); `lost_uid` and `lost_action`
of the segments before which nothing can be observed; `tail_verb`, ..., `unseen_action`, `many_action` where known.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.anticipation.evaluate import SPACES, ScoreTable, evaluate, marginalise, membership
from kinoscope.engine.files import write_bytes
from kinoscope.errors import KinoscopeError
from kinoscope.metrics.recall import bootstrap_recall

FILE = "scores.npz"
PARTS = ("tail", "unseen")


@dataclass(frozen=True)
class Scores:
    """See the module. subsets: {"tail": {space: rows}}; many_shot: {space: classes}."""

    uid: tuple[str, ...]
    action: np.ndarray
    labels: dict[str, np.ndarray]
    names: tuple[str, ...]
    pairs: np.ndarray
    sizes: tuple[int, int]
    lost: dict[str, int] = field(default_factory=dict)
    subsets: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    many_shot: dict[str, np.ndarray] | None = None

    @property
    def composed(self) -> bool:
        """Whether actions consist of verbs and nouns."""
        return self.sizes != (1, 1)

    def many_shot_lists(self) -> dict[str, list[int]] | None:
        """Many-shot classes as plain lists."""
        return None if self.many_shot is None else {space: x.tolist() for space, x in self.many_shot.items()}

    def subset_lists(self) -> dict[str, dict[str, list[int]]]:
        """Rows of the parts as plain lists."""
        return {part: {space: x.tolist() for space, x in at.items()} for part, at in self.subsets.items()}

    def table(self) -> ScoreTable:
        """Verb and noun probabilities, action logits."""
        verb, noun = (membership(self.pairs[:, k].tolist(), self.sizes[k]) for k in (0, 1))
        return marginalise(self.action, verb, noun)

    def save(self, folder: Path) -> Path:
        """Writes `scores.npz`."""
        arrays: dict[str, np.ndarray] = {
            "uid": np.array(self.uid, dtype=str),
            "action": self.action.astype(np.float32),
            "names": np.array(self.names, dtype=str),
            "pairs": self.pairs,
            "sizes": np.array(self.sizes),
            "lost_uid": np.array(list(self.lost), dtype=str),
            "lost_action": np.array(list(self.lost.values()), np.int64),
            **{f"label_{space}": values for space, values in self.labels.items()},
            **{f"many_{space}": values for space, values in (self.many_shot or {}).items()},
        }
        for part, rows in self.subsets.items():
            arrays |= {f"{part}_{space}": np.asarray(at, np.int64) for space, at in rows.items()}
        held = io.BytesIO()
        np.savez_compressed(held, **arrays)  # type: ignore[arg-type]
        write_bytes(folder / FILE, held.getvalue())
        return folder / FILE

    @classmethod
    def load(cls, path: str | Path) -> Scores:
        """Of a run folder, or the file itself. Raises KinoscopeError where there is none."""
        file = Path(path) / FILE if Path(path).is_dir() else Path(path)
        try:
            with np.load(file, allow_pickle=False) as held:
                arrays = {name: held[name] for name in held.files}
            lost = dict(zip(arrays["lost_uid"].tolist(), arrays["lost_action"].tolist(), strict=True))
            return cls(
                tuple(arrays["uid"].tolist()),
                arrays["action"],
                {space: arrays[f"label_{space}"] for space in SPACES},
                tuple(arrays["names"].tolist()),
                arrays["pairs"],
                (int(arrays["sizes"][0]), int(arrays["sizes"][1])),
                lost,
                {
                    part: {space: arrays[f"{part}_{space}"] for space in SPACES}
                    for part in PARTS
                    if f"{part}_action" in arrays
                },
                {space: arrays[f"many_{space}"] for space in SPACES} if "many_action" in arrays else None,
            )
        except FileNotFoundError as error:
            raise KinoscopeError(
                "this run has no stored scores", file=file, remedy="make them with `kinoscope evaluate RUN`"
            ) from error
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise KinoscopeError("these stored scores are damaged", file=file, value=str(error)) from error


def figures(scores: Scores, table: ScoreTable | None = None) -> dict[str, Any]:
    """Every published figure in percent, each under its protocol. table: other scores of the same rows (fusion)."""
    table = scores.table() if table is None else table
    known = scores.labels["action"] >= 0
    result: dict[str, Any] = {"segments": len(scores.uid), "without_observable_frames": len(scores.lost)}
    if not known.any():
        return result | {"protocol": "no labels: a test set; see the submission file"}
    told = evaluate(table, scores.labels, scores.many_shot_lists(), scores.subset_lists())
    result["protocol"] = (
        "validation, percent; segments without observable frames left out, as in the official code "
        "(`all_segments` counts them as wrong, as the challenge does)"
    )
    result |= {
        "class_mean_recall@5": told["arec5"],
        "top1": told["atop1"],
        "top5": told["atop5"],
        "class_mean_top1": told["atop1_meancls"],
        "class_mean_recall@5_interval": _interval(table.action, scores.labels["action"]),
    }
    spaces = SPACES if scores.composed else ("action",)
    for space in spaces:
        s = space[0]
        named = {
            "top1": "top1",
            "top5": "top5",
            "class_mean_recall@5": "rec5",
            "class_mean_top1": "top1_meancls",
        }
        result[space] = {name: told[f"{s}{key}"] for name, key in named.items()}
        for part in ("ms", *scores.subsets):
            value = told.get(f"{s}rec5_{part}", float("nan"))
            if np.isfinite(value):
                result[space][f"class_mean_recall@5_{'many_shot' if part == 'ms' else part}"] = value
    if scores.lost:
        result["all_segments"] = with_lost(scores, table.action)
    return result


def with_lost(scores: Scores, logits_nA: np.ndarray) -> dict[str, float]:
    """Action figures where segments that nothing can be said of count as wrong."""
    lost = np.array(list(scores.lost.values()), np.int64)
    lost = lost[lost >= 0]
    wrong = np.ones((len(lost), logits_nA.shape[1]), logits_nA.dtype)
    wrong[np.arange(len(lost)), lost] = 0
    label = np.concatenate([scores.labels["action"], lost])
    none = np.full(len(label), -1)
    empty = np.zeros((len(label), 1))
    told = evaluate(
        ScoreTable(empty, empty, np.concatenate([logits_nA, wrong])),
        {"verb": none, "noun": none, "action": label},
    )
    return {"class_mean_recall@5": told["arec5"], "top1": told["atop1"], "top5": told["atop5"]}


def _interval(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    low, high = bootstrap_recall(logits, labels)
    return {"low": low, "high": high}


def aligned(runs: Sequence[Scores]) -> tuple[Scores, list[np.ndarray]]:
    """The last run's rows, and for each run the place of these rows in it (-1: the run does not have it).

    Raises KinoscopeError where runs have other classes or no segment in common.
    """
    last = runs[-1]
    places = []
    for run in runs:
        if run.names != last.names:
            raise KinoscopeError(
                "the runs know other classes",
                value=[len(run.names), len(last.names)],
                remedy="fuse runs of one data set",
            )
        at = {uid: row for row, uid in enumerate(run.uid)}
        places.append(np.array([at.get(uid, -1) for uid in last.uid]))
        if (places[-1] < 0).all():
            raise KinoscopeError("a run shares no segment with the last one", value=list(run.uid[:3]))
    return last, places


def fused(
    runs: Sequence[Scores], weights: Sequence[float], norm: float | None = None
) -> tuple[Scores, ScoreTable]:
    """Late fusion as published: weighted sums of verb and noun probabilities and of action logits. Segments that a
    run does not have get the sum of the others, not rescaled."""
    from kinoscope.anticipation.evaluate import fuse

    last, places = aligned(runs)
    tables = []
    for run, at in zip(runs, places, strict=True):
        own = run.table()
        tables.append(ScoreTable(*(_rows(getattr(own, space), at) for space in SPACES)))
    return last, fuse(tables, list(weights), norm)


def _rows(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    if len(at) == len(values) and (at == np.arange(len(values))).all():
        return values
    return values[at] * (at >= 0)[:, None]


def search(runs: Sequence[Scores], grid: Sequence[float], metric: str = "recall") -> list[float]:
    """Weights of a grid (the first run's is 1) that are best on labelled segments, one run after another, twice
    around: by class-mean Recall@5 of actions ("recall"), or top-1 ("top1")."""
    from kinoscope.metrics.recall import class_mean_recall, top_k_accuracy

    last, places = aligned(runs)
    label = last.labels["action"]
    if not (label >= 0).any():
        raise KinoscopeError("weights are searched on labelled segments; these have no labels")
    parts = [_rows(run.action.astype(np.float64), at) for run, at in zip(runs, places, strict=True)]

    def value(weights: Sequence[float]) -> float:
        total = sum(w * part for w, part in zip(weights, parts, strict=True))
        total = np.asarray(total)
        return class_mean_recall(total, label) if metric == "recall" else top_k_accuracy(total, label)[0]

    weights = [1.0] * len(runs)
    best = value(weights)
    for _ in range(2):
        for k in range(1, len(runs)):
            for w in grid:
                tried = [*weights[:k], w, *weights[k + 1 :]]
                if (found := value(tried)) > best:
                    best, weights = found, tried
    return weights
