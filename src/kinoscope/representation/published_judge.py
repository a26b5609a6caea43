"""The published evaluation of frame embeddings (CARL, sections 11 and 12): by data set, and the mean over them.

Keys follow the paper's tables: `classification`, `event_completion` (phase progression), `kendalls_tau`, `retrieval`
{AP@K}; `per_dataset` holds them for each action; a FineGym recipe has `linear_probe` {fraction: per cent} alone.
Headlines are of the validation videos and, where a task is fitted, of all labels. Questions that need labels are left
out where there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.representation import evaluate, finegym
from kinoscope.representation.official import PHASES
from kinoscope.representation.published import EvaluationSet, Video
from kinoscope.representation.settings import RepresentationSettings

Embed = Callable[[Video], np.ndarray]
Arrays = list[np.ndarray]


def judge_published(
    sets: Sequence[EvaluationSet], embed: Embed, settings: RepresentationSettings, skipped: dict[str, str]
) -> dict[str, Any]:
    """The table of all sets. embed: a video's embeddings (n, D). Videos that cannot be read land in `skipped`."""
    per_set: dict[str, dict[str, Any]] = {}
    for one in sets:
        train, val = (_embedded(videos, embed, skipped) for videos in (one.train, one.val))
        if one.name == "finegym":
            per_set[one.name] = {"linear_probe": _probe(train, val, settings)}
        else:
            per_set[one.name] = judge_set(one.name, train, val, settings)
    result: dict[str, Any] = {"protocol": settings.protocol}
    result |= _means(list(per_set.values()))
    if len(per_set) > 1:
        result["per_dataset"] = per_set
    return result


Embedded = list[tuple[np.ndarray, np.ndarray | None]]


def _embedded(videos: Sequence[Video], embed: Embed, skipped: dict[str, str]) -> Embedded:
    found = []
    for video in videos:
        try:
            found.append((embed(video), video.frame_label))
        except KinoscopeError as error:  # one bad video costs one video
            skipped[video.name] = str(error)
    return found


def judge_set(name: str, train: Embedded, val: Embedded, settings: RepresentationSettings) -> dict[str, Any]:
    """The four tasks on one data set."""
    own = settings.evaluation
    result: dict[str, Any] = {}
    videos = [_known(embs, labels)[0] for embs, labels in val]
    tau = evaluate.kendalls_tau(videos, own.kendalls_tau_stride, own.kendalls_tau_distance)
    if not np.isnan(tau):
        result["kendalls_tau"] = tau
    pairs = [[_known(e, labels) for e, labels in part if _has_labels(labels)] for part in (train, val)]
    if not all(pairs):
        return result
    (x, y), (x_val, y_val) = (map(list, zip(*part, strict=True)) for part in pairs)
    found = evaluate.retrieval(
        x_val, y_val, own.retrieval_ks, own.kendalls_tau_stride, own.kendalls_tau_distance
    )
    if not all(np.isnan(value) for value in found.values()):
        result["retrieval"] = {f"AP@{k}": value for k, value in found.items()}
    classes = PHASES.get(name, int(max(map(np.max, y))) + 1)
    tasks: dict[str, Callable[[Arrays, Arrays, float], float]] = {
        "classification": lambda a, b, f: evaluate.classification(a, b, x_val, y_val, f)[1],
        "event_completion": lambda a, b, f: evaluate.event_completion(a, b, x_val, y_val, classes, f)[1],
    }
    for task, run in tasks.items():
        scores = {}
        for fraction in own.classification_fractions:
            if (score := _tried(run, x, y, fraction)) is not None:
                scores[str(fraction)] = score
        if scores:
            result |= {task: list(scores.values())[-1], f"{task}_per_fraction": scores}
        if own.random_subsets:
            result[f"{task}_random_subsets"] = random_subsets(run, x, y, settings)
    return result


def _tried(
    run: Callable[[Arrays, Arrays, float], float], x: Arrays, y: Arrays, fraction: float
) -> float | None:
    """The score, or None where so few videos do not hold what the task needs."""
    try:
        return run(x, y, fraction)
    except KinoscopeError:
        return None


def random_subsets(
    run: Callable[[Arrays, Arrays, float], float], x: Arrays, y: Arrays, settings: RepresentationSettings
) -> dict[str, dict[str, Any]]:
    """{fraction: {mean, interval}} of `evaluation.random_subsets` seeded draws of training videos (quirk 23).

    interval: the central 95 per cent of the draws.
    """
    own, table = settings.evaluation, {}
    for fraction in own.classification_fractions:
        count = evaluate.first_videos(fraction, len(x))
        if count == len(x):
            continue
        scores = []
        for draw in range(own.random_subsets):
            chosen = np.random.default_rng([settings.train.seed, draw]).permutation(len(x))[:count]
            score = _tried(run, [x[k] for k in chosen], [y[k] for k in chosen], 1.0)
            scores += [] if score is None else [score]
        if scores:
            low, high = np.quantile(scores, [0.025, 0.975])
            table[str(fraction)] = {
                "mean": float(np.mean(scores)),
                "interval": [float(low), float(high)],
                "draws": len(scores),
            }
    return table


def _probe(train: Embedded, val: Embedded, settings: RepresentationSettings) -> dict[str, float]:
    own = settings.evaluation
    assert settings.data.kind == "published"
    known = [[(e, labels) for e, labels in part if labels is not None] for part in (train, val)]
    fractions = (1.0,) if settings.algorithm == "classification" else own.classification_fractions
    return {
        str(fraction): finegym.linear_probe(
            known[0][: max(10, int(fraction * len(known[0])))],
            known[1],
            settings.data.class_num,
            own.classification_lr,
            own.classification_epochs,
            seed=settings.train.seed,
        ).test
        for fraction in fractions
    }


def _known(embs: np.ndarray, labels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Labelled frames; of a video without any label, all of them."""
    if not _has_labels(labels):
        return embs, np.full(len(embs), -1)
    assert labels is not None
    return evaluate.labelled(embs, labels)


def _has_labels(labels: np.ndarray | None) -> bool:
    return labels is not None and bool((labels >= 0).any())


def _means(tables: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Unweighted mean over data sets of every number, also inside tables."""
    result: dict[str, Any] = {}
    for key in dict.fromkeys(key for table in tables for key in table):
        values = [table[key] for table in tables if key in table]
        if isinstance(values[0], dict):
            result[key] = _means(values)
        elif isinstance(values[0], int | float):
            result[key] = float(np.mean(values))
        elif len(values) == 1:
            result[key] = values[0]
    return result
