"""How well frame embeddings of motion clips do, per class and in total, beside features that nothing learned.

`clips` are judged within their class: nearest neighbours between any two clips of it. Frames are told apart by class
and, where the clip has a key event, by phase. Classes with fewer than two clips or without key event are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.representation import evaluate
from kinoscope.representation.data import Clip, Source
from kinoscope.representation.settings import Evaluation

Arrays = Sequence[np.ndarray]


def judge(
    train: Sequence[Clip],
    train_embs: Arrays,
    test: Sequence[Clip],
    test_embs: Arrays,
    label_names: Sequence[str],
    settings: Evaluation,
) -> dict[str, Any]:
    """Kendall's tau, phase classification, key events and retrieval of the test clips.

    Keys: `kendalls_tau` (mean over classes) and `kendalls_tau_per_class`; `classification` (mean over classes, all
    labels), `classification_per_fraction` and `classification_per_class`; `key_event_error` (median, in frames: the
    key event of one test clip found in another by its nearest neighbour); `retrieval` {AP@K}. What cannot be told
    (no labels, no key events, too few clips) is left out; KinoscopeError where nothing is left.
    """
    result: dict[str, Any] = {"protocol": "carl", "clips": len(test)}
    groups = _by_class(test, label_names)
    taus, errors = {}, []
    for name, members in groups.items():
        embs = [test_embs[k] for k in members]
        tau = evaluate.kendalls_tau(embs, settings.kendalls_tau_stride)
        if not np.isnan(tau):
            taus[name] = tau
        errors += _event_errors([test[k] for k in members], embs)
    if taus:
        result |= {"kendalls_tau": float(np.mean(list(taus.values()))), "kendalls_tau_per_class": taus}
    if errors:
        result["key_event_error"] = float(np.median(errors))
    result |= _phases(train, train_embs, test, test_embs, label_names, settings.classification_fractions)
    marks = [_frame_labels(clip) for clip in test]
    if len({int(m) for mark in marks for m in mark if m >= 0}) > 1:
        found = evaluate.retrieval(test_embs, marks, settings.retrieval_ks, settings.kendalls_tau_stride)
        result["retrieval"] = {f"AP@{k}": value for k, value in found.items()}
    if len(result) == 2:
        raise KinoscopeError(
            "these clips cannot be judged: no two of one class, no key event, no label",
            field="data.test",
            remedy="give two clips of a class at least",
        )
    return result


def can_be_judged(source: Source) -> bool:
    """Whether the test clips answer any question: two of them, or phases that the training clips have as well."""
    known = [any(clip.phases is not None for clip in clips) for clips in (source.train, source.test)]
    return len(source.test) > 1 or all(known)


def _by_class(clips: Sequence[Clip], label_names: Sequence[str]) -> dict[str, list[int]]:
    """{class: its clips}; clips without label are one class of their own."""
    groups: dict[str, list[int]] = {}
    for k, clip in enumerate(clips):
        groups.setdefault(label_names[clip.label] if clip.label >= 0 else "unlabelled", []).append(k)
    return {name: groups[name] for name in sorted(groups)}


def _frame_labels(clip: Clip) -> np.ndarray:
    """(T,) one number for each class and phase; -1 for frames of which nothing is known."""
    phases = np.full(len(clip.features), -1) if clip.phases is None else clip.phases
    marks = (clip.label + 1) * 1000 + phases + 1
    return np.where((clip.label < 0) & (phases < 0), -1, marks)


def _event_errors(clips: Sequence[Clip], embs: Arrays) -> list[float]:
    """Distance in frames between the key event of one clip and the frame nearest to another clip's."""
    known = [k for k, clip in enumerate(clips) if 0 <= clip.key_event < len(clip.features)]
    errors = []
    for query in known:
        for key in known:
            if query != key:
                at = clips[query].key_event
                found = evaluate.nearest(embs[query][at : at + 1], embs[key])[0]
                errors.append(float(abs(found - clips[key].key_event)))
    return errors


def _phases(
    train: Sequence[Clip],
    train_embs: Arrays,
    test: Sequence[Clip],
    test_embs: Arrays,
    label_names: Sequence[str],
    fractions: Sequence[float],
) -> dict[str, Any]:
    """Phase classification and, where a class has three phases or more, phase progression.

    One classifier a class, as Penn Action has it. A share of the labels that holds one phase only cannot teach any.
    """
    trained, tested = _by_class(train, label_names), _by_class(test, label_names)
    tables: dict[str, dict[str, dict[str, float]]] = {"classification": {}, "event_completion": {}}
    for name in tested:
        first = _labelled(train, train_embs, trained.get(name, []))
        second = _labelled(test, test_embs, tested[name])
        if not first or not second:
            continue
        (x, y), (x_test, y_test) = zip(*first, strict=True), zip(*second, strict=True)
        phases = int(max(map(np.max, y))) + 1
        for fraction in fractions:
            if len(np.unique(np.concatenate(y[: evaluate.first_videos(fraction, len(y))]))) < 2:
                continue
            score = evaluate.classification(x, y, x_test, y_test, fraction)[1]
            tables["classification"].setdefault(str(fraction), {})[name] = score
            if phases > 2:
                score = evaluate.event_completion(x, y, x_test, y_test, phases, fraction)[1]
                tables["event_completion"].setdefault(str(fraction), {})[name] = score
    result: dict[str, Any] = {}
    for task, table in tables.items():
        if table:
            means = {fraction: float(np.mean(list(row.values()))) for fraction, row in table.items()}
            last = list(means)[-1]
            result |= {
                task: means[last],
                f"{task}_per_fraction": means,
                f"{task}_per_class": table[last],
            }
    return result


def _labelled(
    clips: Sequence[Clip], embs: Arrays, members: Sequence[int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(embeddings, phases) of the labelled frames of each clip that has any."""
    pairs = [evaluate.labelled(embs[k], phases) for k in members if (phases := clips[k].phases) is not None]
    return [pair for pair in pairs if len(pair[1])]


def judge_beside(
    source: Source, train_embs: Arrays, test_embs: Arrays, settings: Evaluation, skipped: dict[str, str]
) -> dict[str, Any]:
    """`judge` of the embeddings and, under `baselines`, of features that need no training."""
    result = judge(source.train, train_embs, source.test, test_embs, source.label_names, settings)
    result["baselines"] = {
        name: judge(source.train, train, source.test, test, source.label_names, settings)
        for name, (train, test) in source.baselines().items()
    }
    result["skipped"] = [{"video": video, "why": why} for video, why in sorted(skipped.items())]
    return result
