"""`kinoscope check` for skeletons: settings and clips looked over before training, in plain sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.skeleton.data import Clips, open_clips
from kinoscope.skeleton.settings import Schema, fitted

FEW = 4  # training clips of a class that can be learnt from
SHOWN = 5


def check(settings: Schema) -> dict[str, list[str]]:
    """{"errors", "warnings", "advice"}, each a list of sentences."""
    errors: list[str] = []
    warnings: list[str] = []
    advice: list[str] = []
    if settings.weights is not None and not _there(settings.weights):
        errors.append(f"weights={settings.weights}: there is no such file or folder.")
    if odd := set(settings.augment.extreme) - set("123456"):
        errors.append(f"augment.extreme holds {''.join(sorted(odd))!r}: augmentations are the digits 1 to 6.")
    try:
        train, test = open_clips(settings.data)
    except KinoscopeError as error:
        errors.append(str(error))
        return {"errors": errors, "warnings": warnings, "advice": advice}
    resolved = fitted(settings, len(train))
    _sizes(resolved, train, errors)
    _labels(train, test, warnings)
    for part, clips in (("training", train), ("test", test)):
        if clips.skipped:
            name, why = next(iter(clips.skipped.items()))
            warnings.append(f"{len(clips.skipped)} {part} clips cannot be used, the first is {name}: {why}.")
    if settings.data.kind == "sequences":
        _people(settings, warnings)
        advice.append(
            f"{len(train)} training and {len(test)} test clips of {len(train.label_names)} classes and "
            f"{train.layout.count} joints; batch {resolved.train.batch_size}, queue {resolved.model.queue_size}."
        )
        if settings.train.minutes is not None and settings.train.minutes < 2:
            advice.append(
                f"train.minutes={settings.train.minutes:g} is enough for a look; contrast keeps gaining for 30."
            )
    return {"errors": errors, "warnings": warnings, "advice": advice}


def _there(weights: str) -> bool:
    return all(Path(weights.format(stream=name)).exists() for name in ("joint", "motion", "bone"))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _sizes(settings: Schema, train: Clips, errors: list[str]) -> None:
    batch, queue = settings.train.batch_size, settings.model.queue_size
    if settings.weights is None and queue % batch:
        errors.append(
            f"model.queue_size={queue} does not hold a whole number of batches: make it a multiple of "
            f"train.batch_size={batch}."
        )
    sections = [("linear", settings.linear), ("finetune", settings.finetune)]
    for name, section in [*([] if settings.weights else [("train", settings.train)]), *sections]:
        if section.drop_last and section.batch_size > len(train):
            errors.append(
                f"{name}.batch_size={section.batch_size} is more than the {len(train)} training clips: lower it."
            )


def _labels(train: Clips, test: Clips, warnings: list[str]) -> None:
    counts, names = Counter(train.labels.tolist()), train.label_names
    absent = sorted({names[i] for i in test.labels} - {names[i] for i in counts})
    if absent:
        warnings.append(f"The test clips hold classes that no training clip has: {_some(absent)}.")
    if few := [names[i] for i, count in sorted(counts.items()) if count < FEW]:
        warnings.append(f"Classes with fewer than {FEW} training clips: {_some(few)}.")
    if len(counts) < 2:
        warnings.append("All training clips have the same label: there is nothing to tell apart.")
    if both := sorted(set(train.names) & set(test.names)):
        same = [n for n in both if np.array_equal(train.x[train.names.index(n)], test.x[test.names.index(n)])]
        if same:
            warnings.append(f"Clips stand in both parts: {_some(same)}.")


def _people(settings: Schema, warnings: list[str]) -> None:
    if settings.data.test is None:
        return
    files = [SkeletonFile.load(path) for path in (settings.data.train, settings.data.test)]
    both = sorted(set(files[0].subjects()) & set(files[1].subjects()))
    if both:
        warnings.append(
            f"The same people may stand in training and test file: {_some(both)}. Results on people that were "
            "trained on say little about others."
        )
