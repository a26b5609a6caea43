"""What a run on streams leaves behind: scores, predictions, ground truth and the evaluation, one file each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.anticipation.evaluate import softmax
from kinoscope.anticipation.streams import Sample, StreamSource
from kinoscope.anticipation.yardsticks import yardsticks
from kinoscope.engine.files import write_json
from kinoscope.errors import KinoscopeError
from kinoscope.metrics.recall import accuracy_of_ranks, class_mean_accuracy, ranks, recall_of_ranks
from kinoscope.timeline import Events

SHOWN = 5  # ranks that predictions.json and answers tell
RESAMPLES = 1000


def figures(logits_nA: np.ndarray, label_n: np.ndarray) -> dict[str, float]:
    """Class-mean recall@5, top-1, top-5 and class-mean top-1 in percent."""
    rank = ranks(logits_nA, label_n)
    top1, top5 = accuracy_of_ranks(rank, label_n)
    return {
        "class_mean_recall@5": recall_of_ranks(rank, label_n),
        "top1": top1,
        "top5": top5,
        "class_mean_top1": class_mean_accuracy(logits_nA, label_n),
    }


def recall_interval(logits_nA: np.ndarray, label_n: np.ndarray, share: float = 0.95) -> dict[str, float]:
    """Bootstrap interval of class-mean recall@5 over the actions, in percent."""
    rank, random = ranks(logits_nA, label_n), np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        at = random.integers(0, len(rank), len(rank))
        drawn.append(recall_of_ranks(rank[at], label_n[at]))
    low, high = np.quantile(drawn, [(1 - share) / 2, (1 + share) / 2])
    return {"low": float(low), "high": float(high)}


def evaluate_samples(
    logits_nA: np.ndarray, samples: Sequence[Sample], source: StreamSource
) -> dict[str, Any]:
    """All figures of the test actions, beside what needs no motion. Raises KinoscopeError without any action."""
    if not samples:
        raise KinoscopeError("there is no annotated action to evaluate on", field="data.test")
    label_n = np.array([sample.target for sample in samples])
    seen = np.array([sample.last_s >= 0 for sample in samples])
    tau = source.data.tau_a
    result: dict[str, Any] = {
        "protocol": f"next action {tau:g} s before its start, percent; every annotated action counts, those that "
        "start before any frame is observed included (`observable` leaves them out)",
        **figures(logits_nA, label_n),
        "class_mean_recall@5_interval": recall_interval(logits_nA, label_n),
    }
    if seen.any():
        result["observable"] = {"actions": int(seen.sum()), **figures(logits_nA[seen], label_n[seen])}
    train, test = source.train_orders(), source.test_orders()
    result["baselines_top1"] = yardsticks(train, test)
    later = np.array([row > 0 for _, row in source.test_rows])
    if later.any():
        tables = yardsticks(train, test, from_action=1)
        result["after_the_first"] = {
            "actions": int(later.sum()),
            **figures(logits_nA[later], label_n[later]),
            **{f"{name}_top1": value for name, value in tables.items()},
        }
    hit = logits_nA.argmax(axis=1) == label_n
    result["per_class_top1"] = {
        name: 100.0 * float(hit[label_n == k].mean())
        for k, name in enumerate(source.label_names)
        if (label_n == k).any()
    }
    result["actions"] = len(samples)
    return result


def predicted_events(logits_nA: np.ndarray, samples: Sequence[Sample], names: tuple[str, ...]) -> Events:
    """The likeliest classes of every action, over its time, scored by probability."""
    parts = [Events.empty(names)]
    for p_A, sample in zip(softmax(logits_nA), samples, strict=True):
        best = np.argsort(-p_A, kind="stable")[:SHOWN]
        span = [[sample.start_s, max(sample.end_s, sample.start_s)]] * len(best)
        parts.append(Events.of(sample.video, span, best, p_A[best], names))
    return Events.concat(parts)


def judge(
    logits_nA: np.ndarray,
    samples: Sequence[Sample],
    source: StreamSource,
    folder: Path,
    skipped: dict[str, str],
) -> dict[str, Any]:
    """Writes predictions, ground truth and evaluation of a run; the evaluation."""
    result = evaluate_samples(logits_nA, samples, source)
    result["skipped"] = [{"video": video, "why": why} for video, why in sorted(skipped.items())]
    names = source.label_names
    write_json(folder / "predictions.json", predicted_events(logits_nA, samples, names).to_json())
    write_json(
        folder / "scores.json",
        {
            "label_names": list(names),
            "rows": [
                {
                    "video": s.video,
                    "start_s": s.start_s,
                    "observed_to_s": s.last_s,
                    "label": s.target,
                    "logits": row,
                }
                for s, row in zip(samples, np.round(logits_nA, 5).tolist(), strict=True)
            ],
        },
    )
    videos: dict[str, Any] = {m.name: {"duration_s": m.duration_s, "events": []} for m in source.test}
    for sample in samples:
        videos[sample.video]["events"].append([sample.start_s, sample.end_s, sample.target])
    write_json(folder / "annotations.json", {"label_names": list(names), "videos": videos})
    write_json(folder / "evaluation.json", plain(result))
    return result


def plain(value: Any) -> Any:
    """The same with `null` where a figure is not defined: JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
