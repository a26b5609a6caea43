"""How well frame embeddings of motion clips do, per class and in total, beside features that nothing learned.

`clips` are judged within their class: nearest neighbours between any two clips of it. Frames are told apart by class
and, where the clip has a key event, by phase. Classes with fewer than two clips or without key event are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.media.pose_features import Standardiser
from kinoscope.representation import evaluate
from kinoscope.representation.data import Clip, MotionSource
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
    if len({int(m) for mark in marks for m in mark}) > 1:
        found = evaluate.retrieval(test_embs, marks, settings.retrieval_ks, settings.kendalls_tau_stride)
        result["retrieval"] = {f"AP@{k}": value for k, value in found.items()}
    if len(result) == 2:
        raise KinoscopeError(
            "these clips cannot be judged: no two of one class, no key event, no label",
            field="data.test",
            remedy="give two clips of a class at least",
        )
    return result


def _by_class(clips: Sequence[Clip], label_names: Sequence[str]) -> dict[str, list[int]]:
    """{class: its clips}; clips without label are one class of their own."""
    groups: dict[str, list[int]] = {}
    for k, clip in enumerate(clips):
        groups.setdefault(label_names[clip.label] if clip.label >= 0 else "unlabelled", []).append(k)
    return {name: groups[name] for name in sorted(groups)}


def _frame_labels(clip: Clip) -> np.ndarray:
    """(T,) one number for each class and phase."""
    phases = clip.phases
    return np.full(len(clip.features), 2 * clip.label) + (0 if phases is None else phases)


def _event_errors(clips: Sequence[Clip], embs: Arrays) -> list[float]:
    """Distance in frames between the key event of one clip and the frame nearest to another clip's."""
    known = [k for k, clip in enumerate(clips) if clip.phases is not None]
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
    """Accuracy of the phase before or after the key event; one classifier a class, as Penn Action has it."""
    trained, tested = _by_class(train, label_names), _by_class(test, label_names)
    table: dict[str, dict[str, float]] = {str(fraction): {} for fraction in fractions}
    for name in tested:
        first = [k for k in trained.get(name, []) if train[k].phases is not None]
        second = [k for k in tested[name] if test[k].phases is not None]
        if not first or not second:
            continue
        marks = [[clips[k].phases for k in which] for clips, which in ((train, first), (test, second))]
        for fraction in fractions:
            count = evaluate.first_videos(fraction, len(first))
            if len(np.unique(np.concatenate(marks[0][:count]))) < 2:  # type: ignore[arg-type]
                continue
            embs = [train_embs[k] for k in first], [test_embs[k] for k in second]
            table[str(fraction)][name] = evaluate.classification(
                embs[0],
                marks[0],  # type: ignore[arg-type]
                embs[1],
                marks[1],  # type: ignore[arg-type]
                fraction,
            )[1]
    means = {fraction: float(np.mean(list(row.values()))) for fraction, row in table.items() if row}
    if not means:
        return {}
    last = list(means)[-1]
    return {
        "classification": means[last],
        "classification_per_fraction": means,
        "classification_per_class": table[last],
    }


def baselines(train: Sequence[Clip], test: Sequence[Clip]) -> dict[str, tuple[Arrays, Arrays]]:
    """{name: (training, test) features} that need no training: poses, and poses with velocity, standardised."""
    standardise = Standardiser.fit([clip.features for clip in train])
    first, second = ([standardise(clip.features) for clip in clips] for clips in (train, test))
    width = 3 * (first[0].shape[1] // 6)  # joints come before their velocities
    return {
        "poses": ([x[:, :width] for x in first], [x[:, :width] for x in second]),
        "poses_with_velocity": (first, second),
    }


def judge_beside(
    source: MotionSource, train_embs: Arrays, test_embs: Arrays, settings: Evaluation, skipped: dict[str, str]
) -> dict[str, Any]:
    """`judge` of the embeddings and, under `baselines`, of raw poses and of poses with velocity."""
    result = judge(source.train, train_embs, source.test, test_embs, source.label_names, settings)
    result["baselines"] = {
        name: judge(source.train, train, source.test, test, source.label_names, settings)
        for name, (train, test) in baselines(source.train, source.test).items()
    }
    result["skipped"] = [{"video": video, "why": why} for video, why in sorted(skipped.items())]
    return result
