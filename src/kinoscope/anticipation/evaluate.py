"""Scores to figures: marginalised verbs and nouns, splits, late fusion, challenge files (specification 11, 12).

Rows are kept segments; verb and noun scores are probabilities, action scores stay logits, as published.

Differences from the official code: one pass over the scores serves every figure (ranks, no sorting); rows without a
label are dropped from predictions and labels alike; any number is a weight.

Shapes: n segments, A actions, V verbs, N nouns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kinoscope.metrics.recall import accuracy_of_ranks, class_mean_accuracy, ranks, recall_of_ranks

SPACES = ("verb", "noun", "action")
BLOCK = 64  # rows at a time: they stay in the cache


@dataclass(frozen=True)
class ScoreTable:
    """What one run says of every segment: verb (n, V) and noun (n, N) probabilities, action (n, A) logits."""

    verb: np.ndarray
    noun: np.ndarray
    action: np.ndarray


def membership(classes: Sequence[int], count: int) -> np.ndarray:
    """(A, count) float32: 1 where an action has this verb (or noun)."""
    out = np.zeros((len(classes), count), np.float32)
    out[np.arange(len(classes)), classes] = 1
    return out


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of the last axis, float64."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    return shifted / shifted.sum(axis=-1, keepdims=True)


def marginalise(logits_nA: np.ndarray, verb_AV: np.ndarray, noun_AN: np.ndarray) -> ScoreTable:
    """Verb and noun probabilities: those of the actions that contain them, summed."""
    from scipy.sparse import csr_matrix

    logits = np.asarray(logits_nA)
    kind = np.result_type(logits.dtype, np.float32)
    verbs = verb_AV.shape[1]
    members = csr_matrix(np.concatenate([verb_AV, noun_AN], axis=1).T.astype(kind))
    out = np.empty((len(logits), members.shape[0]))
    for start in range(0, len(logits), BLOCK):
        rows = logits[start : start + BLOCK]
        mass = np.exp(rows - rows.max(axis=-1, keepdims=True), dtype=kind)
        summed = members @ np.ascontiguousarray(mass.T)
        out[start : start + BLOCK] = summed.T / mass.sum(axis=-1, dtype=np.float64)[:, None]
    return ScoreTable(out[:, :verbs], out[:, verbs:], logits)


def normalised(table: ScoreTable, p: float) -> ScoreTable:
    """Every score vector over its p-norm."""

    def scaled(x: np.ndarray) -> np.ndarray:
        return x / (np.linalg.norm(x, ord=p, axis=1, keepdims=True) + 1e-6)

    return ScoreTable(scaled(table.verb), scaled(table.noun), scaled(table.action))


def fuse(
    tables: Sequence[ScoreTable], weights: float | Sequence[float] = 1.0, norm: float | None = None
) -> ScoreTable:
    """Weighted sum of runs over the same rows; norm: the p of `normalised`, before the sum."""
    shares = [float(weights)] * len(tables) if isinstance(weights, int | float) else list(weights)
    if len(shares) != len(tables):
        raise ValueError(f"{len(shares)} weights for {len(tables)} runs")
    if norm is not None:
        tables = [normalised(table, norm) for table in tables]

    def total(space: str) -> np.ndarray:
        parts = [np.asarray(getattr(table, space)) for table in tables]
        out = np.empty(parts[0].shape)
        for start in range(0, len(out), BLOCK):
            rows = slice(start, start + BLOCK)
            np.multiply(parts[0][rows], shares[0], out=out[rows])
            for share, part in zip(shares[1:], parts[1:], strict=True):
                out[rows] += share * part[rows].astype(np.float64)
        return out

    return ScoreTable(*(total(space) for space in SPACES))


def evaluate(
    table: ScoreTable,
    labels: Mapping[str, np.ndarray],
    many_shot: Mapping[str, Sequence[int]] | None = None,
    subsets: Mapping[str, Mapping[str, Sequence[int]]] | None = None,
) -> dict[str, float]:
    """Published figures in percent: `vtop1`, `vrec5`, `vrec5_tail`, ... for verbs, nouns and actions.

    labels: (n,) by space. many_shot: class ids by space (absent: NaN). subsets: {"tail": {space: row numbers}}.
    """
    found: dict[str, float] = {}
    for space in SPACES:
        scores, y, s = getattr(table, space), np.asarray(labels[space]), space[0]
        rank = ranks(scores, y)
        found[f"{s}top1"], found[f"{s}top5"] = accuracy_of_ranks(rank, y)
        found[f"{s}rec5"] = recall_of_ranks(rank, y)
        chosen = (many_shot or {}).get(space)
        found[f"{s}rec5_ms"] = float("nan") if chosen is None else recall_of_ranks(rank, y, classes=chosen)
        found[f"{s}top1_meancls"] = class_mean_accuracy(scores, y)
        for name, rows in (subsets or {}).items():
            at = np.asarray(rows[space], dtype=np.int64)
            found[f"{s}rec5_{name}"] = recall_of_ranks(rank[at], y[at])
    return found


def summary(figures: Mapping[str, float], tag: str = "") -> str:
    """The official printed summary, one decimal."""

    def line(title: str, keys: Sequence[str]) -> str:
        values = " ".join(f"{figures[key]:.1f}" for key in keys)
        return f"[{tag}] {title} verb/noun/action: {values} \n"

    out = line("Accuracies", [f"{s}top{k}" for s in "vna" for k in (1, 5)])
    out += line("Mean class top-1 accuracies", [f"{s}top1_meancls" for s in "vna"])
    out += line("Recall@5", [f"{s}rec5" for s in "vna"])
    out += line("Recall@5 many shot", [f"{s}rec5_ms" for s in "vna"])
    for name in ("tail", "unseen"):
        if f"arec5_{name}" in figures:
            out += line(f"Recall@5 {name}", [f"{s}rec5_{name}" for s in "vna"])
    return out


def challenge(
    table: ScoreTable,
    uids: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    version: str,
    discarded: Sequence[str] = (),
    sls: tuple[int, int, int] | None = None,
    name: str = "action_anticipation",
    keep: int = 100,
) -> dict[str, object]:
    """The challenge file: scores of verbs, nouns and the `keep` best actions (`"verb,noun"`, descending).

    pairs: (verb, noun) of each action. sls: supervision levels (pt, tl, td), EPIC-Kitchens-100 only. Segments that
    were discarded get zeros.
    """
    results: dict[str, object] = {}
    best = np.argsort(-table.action, axis=1, kind="stable")[:, :keep]
    for row, uid in enumerate(uids):
        results[str(uid)] = {
            "verb": {str(i): float(value) for i, value in enumerate(table.verb[row])},
            "noun": {str(i): float(value) for i, value in enumerate(table.noun[row])},
            "action": {f"{pairs[a][0]},{pairs[a][1]}": float(table.action[row, a]) for a in best[row]},
        }
    for uid in discarded:
        results[str(uid)] = {
            "verb": {str(i): 0.0 for i in range(table.verb.shape[1])},
            "noun": {str(i): 0.0 for i in range(table.noun.shape[1])},
            "action": {f"0,{i}": 0.0 for i in range(keep)},
        }
    head: dict[str, object] = {"version": version, "challenge": name}
    if sls is not None:
        head |= {"sls_pt": sls[0], "sls_tl": sls[1], "sls_td": sls[2]}
    return head | {"results": results}
