"""Annotations and features looked over, fault by fault; one sentence a kind of fault, with examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.localization.evaluate import SHORT_S, read_database
from kinoscope.localization.features import folders_of, opened
from kinoscope.localization.settings import FeatureData

COVERED = 0.9  # share of a video that its features should cover
SLACK_S = 0.5  # a segment may end this much after the video: durations are rounded


@dataclass
class Findings:
    """Sentences by weight."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    test_videos: list[str] = field(default_factory=list)

    def error(self, sentence: str) -> None:
        self.errors.append(sentence)

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)

    def advise(self, sentence: str) -> None:
        self.advice.append(sentence)


@dataclass(frozen=True)
class Measures:
    """Training videos in feature steps: their lengths, and those of their actions."""

    lengths: Sequence[float]
    spans: Sequence[float]
    videos: int
    max_seq_len: int

    @property
    def empty(self) -> bool:
        return not self.videos


def some(names: Iterable[object], most: int = 3) -> str:
    """The first names of a list, and how many more there are."""
    listed = [str(name) for name in names]
    rest = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + rest


def share_of(share: float) -> str:
    return f"{max(100 * share, 0.1):.1f} %"


def look_over(data: FeatureData, found: Findings) -> Measures | None:
    """Everything about annotations and features; the measures of the training videos, None where unreadable."""
    try:
        folders = folders_of(data)
        database = _database(data)
    except KinoscopeError as error:
        found.error(str(error))
        return None
    train = _subset(database, data.train_subsets, "training", "data.train_subsets", found)
    test = _subset(database, data.test_subsets, "test", "data.test_subsets", found)
    found.test_videos = test
    if both := sorted(set(train) & set(test)):
        found.warn(f"Videos that are used for training and for testing ({len(both)}): {some(both)}.")
    _labels(data, database, train, test, found)
    spans_s = _segments(database, [*dict.fromkeys([*train, *test])], found)
    lengths, ratios, strides = _features(data, folders, database, train, test, found)
    _covered(data, ratios, strides, found)
    spans = []
    for video in train:
        fps = data.default_fps or _number(database[video].get("fps"))
        stride = lengths[video][1] if video in lengths else data.feat_stride * data.downsample_rate
        if fps is not None and stride > 0:
            spans += [seconds * fps / stride for seconds in spans_s.get(video, ())]
    usable = [video for video in train if video in lengths]
    return Measures([lengths[v][0] for v in usable], spans, len(usable), data.max_seq_len)


def _database(data: FeatureData) -> dict[str, dict[str, Any]]:
    if not data.annotations:
        raise KinoscopeError(
            "which annotation file?", field="data.annotations", remedy="set data.annotations=FILE.json"
        )
    return read_database(Path(data.annotations))


def _subset(
    database: dict[str, Any], subsets: Sequence[str], what: str, setting: str, found: Findings
) -> list[str]:
    wanted = {subset.lower() for subset in subsets}
    videos = [v for v, entry in database.items() if str(entry.get("subset", "")).lower() in wanted]
    if not videos:
        there = sorted({str(entry.get("subset", "(none)")) for entry in database.values()})
        sentence = (
            f"There is no {what} video: no subset is called {some(subsets)}; the file has {some(there, 9)}. "
            f"Set {setting}."
        )
        found.error(sentence) if what == "training" else found.warn(sentence)
    elif not any(_rows(database[video]) for video in videos):
        sentence = f"Not one of the {len(videos)} {what} videos has an annotation."
        found.error(sentence) if what == "training" else found.warn(sentence)
    return videos


def _rows(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return entry.get("annotations") or []


def _number(value: object) -> float | None:
    good = isinstance(value, int | float) and np.isfinite(value) and value > 0
    return float(value) if good else None  # type: ignore[arg-type]


# -- labels ---------------------------------------------------------------------------------------------------


def _labels(
    data: FeatureData, database: dict[str, Any], train: list[str], test: list[str], found: Findings
) -> None:
    numbers: dict[str, set[int]] = defaultdict(set)
    names: dict[int, set[str]] = defaultdict(set)
    unnumbered, nameless, used = [], [], {"train": set(), "test": set()}  # type: ignore[var-annotated]
    for video, entry in database.items():
        for row in _rows(entry):
            label = row.get("label", row.get("label_id"))
            if label is None:
                nameless.append(video)
                continue
            for part, videos in (("train", set(train)), ("test", set(test))):
                if video in videos:
                    used[part].add(str(label))
            if isinstance(row.get("label_id"), int):
                numbers[str(label)].add(row["label_id"])
                names[row["label_id"]].add(str(label))
            else:
                unnumbered.append(str(label))
    if nameless:
        found.error(
            f"Videos with annotations that have no label ({len(set(nameless))}): {some(dict.fromkeys(nameless))}."
        )
    if unnumbered and numbers:
        found.error(
            f"Some annotations have a label_id and {len(unnumbered)} have none, for example "
            f"{some(sorted(set(unnumbered)))}: give one to all, or to none."
        )
    many = [f"{label} ({some(sorted(ids))})" for label, ids in sorted(numbers.items()) if len(ids) > 1]
    if many:
        found.error(f"A label has several numbers: {some(many)}.")
    shared = [f"{k} ({some(sorted(same))})" for k, same in sorted(names.items()) if len(same) > 1]
    if shared:
        found.warn(f"A label_id has several names: {some(shared)}.")
    if data.num_classes > 1:
        _range(data, set(names) or set(range(len(set(unnumbered)))), names, found)
    if train and test and (strange := sorted(used["test"] - used["train"])):
        found.warn(f"The test videos hold labels unknown to the training videos: {some(strange, 9)}.")


def _range(data: FeatureData, ids: set[int], names: dict[int, set[str]], found: Findings) -> None:
    if wrong := sorted(k for k in ids if not 0 <= k < data.num_classes):
        listed = [f"{k} ({some(sorted(names[k]))})" if names[k] else str(k) for k in wrong]
        found.error(
            f"Label ids lie outside 0..{data.num_classes - 1}: {some(listed)}. Set "
            f"data.num_classes={max(*wrong, 0) + 1}, or number the labels from 0."
        )
    elif ids and len(ids) < data.num_classes:
        found.warn(
            f"data.num_classes={data.num_classes}, but the file annotates {len(ids)} classes; the others are "
            "never predicted."
        )


# -- segments -------------------------------------------------------------------------------------------------


def _segments(database: dict[str, Any], videos: list[str], found: Findings) -> dict[str, list[float]]:
    """Seconds that each action lasts, by video; sentences about wrong ones."""
    spans: dict[str, list[float]] = {}
    faults: dict[str, list[str]] = defaultdict(list)
    for video in videos:
        duration = _number(database[video].get("duration"))
        for row in _rows(database[video]):
            try:
                start, end = (float(t) for t in row["segment"])
            except (KeyError, TypeError, ValueError):
                faults["unreadable"].append(f"{video} {row.get('segment')}")
                continue
            place = f"{video} [{start:g}, {end:g}]"
            if not np.isfinite([start, end]).all() or end < start:
                faults["reversed"].append(place)
            elif end - start < SHORT_S:
                faults["empty"].append(place)
            else:
                spans.setdefault(video, []).append(end - start)
                if start < 0:
                    faults["negative"].append(place)
                if duration is not None and end > duration + SLACK_S:
                    faults["beyond"].append(f"{place} of {duration:g} s")
    sentences = {
        "unreadable": ("error", "cannot be read as [start_s, end_s]"),
        "reversed": ("error", "end before they start, or are not finite"),
        "empty": ("warn", "last no time and do not count"),
        "negative": ("warn", "start before the video"),
        "beyond": (
            "warn",
            "reach beyond the end of their video, being in frames or the duration being wrong",
        ),
    }
    for kind, places in faults.items():
        weight, words = sentences[kind]
        sentence = f"Segments that {words} ({len(places)}): {some(places)}."
        found.error(sentence) if weight == "error" else found.warn(sentence)
    return spans


# -- features -------------------------------------------------------------------------------------------------


def _features(
    data: FeatureData,
    folders: Any,
    database: dict[str, Any],
    train: list[str],
    test: list[str],
    found: Findings,
) -> tuple[dict[str, tuple[float, float]], dict[str, float], list[float]]:
    """(steps, frames a step) of every readable video, the share of each that its features cover, fitting strides."""
    lengths: dict[str, tuple[float, float]] = {}
    ratios: dict[str, float] = {}
    strides = []
    missing, no_fps, no_duration, bad = [], [], [], {}
    videos = list(dict.fromkeys([*train, *test]))
    for video in videos:
        entry = database[video]
        fps, duration = data.default_fps or _number(entry.get("fps")), _number(entry.get("duration"))
        if folders.missing(video) is not None:
            missing.append(video)
            continue
        if data.default_fps is None and (axis := folders.axis(video)) is not None:
            fps = axis.fps  # features of a store are at the rate that the encoder saw
        if fps is None:
            no_fps.append(video)
            continue
        if duration is None and folders.axis(video) is None:
            no_duration.append(video)
        try:
            features, grid = opened(folders, data, video, duration, fps)
            features.rows()
        except KinoscopeError as error:
            bad[video] = str(error)
            continue
        lengths[video] = (grid.length, grid.stride)
        if duration is not None and data.feat_stride > 0:
            rows = len(features.parts[0])
            ratios[video] = ((rows - 1) * data.feat_stride + data.num_frames) / (duration * fps)
            strides.append((duration * fps - data.num_frames) / max(rows - 1, 1))
    if missing:
        tell = found.error if len(missing) == len(videos) else found.warn
        tell(
            f"Videos without features, which are left out ({len(missing)} of {len(videos)}): {some(missing)}; for "
            f"{missing[0]}, {folders.missing(missing[0])} was looked for."
        )
    if no_fps:
        found.error(f"Videos without a frame rate ({len(no_fps)}): {some(no_fps)}. Set data.default_fps.")
    if no_duration:
        tell = found.error if data.reader == "anet" else found.warn
        tell(f"Videos without a duration ({len(no_duration)}): {some(no_duration)}.")
    for video, why in list(bad.items())[:10]:
        (found.error if len(bad) == len(videos) - len(missing) else found.warn)(f"{video} is left out: {why}")
    if len(bad) > 10:
        found.warn(f"Further videos with bad features ({len(bad) - 10}): {some(list(bad)[10:])}.")
    return lengths, ratios, strides


def _covered(data: FeatureData, ratios: dict[str, float], strides: list[float], found: Findings) -> None:
    """Features that end early, or a frame rate and stride under which all of them would."""
    if not ratios:
        return
    middle = float(np.median(list(ratios.values())))
    if not COVERED <= middle <= 2 - COVERED:
        found.warn(
            f"Frame rate and stride disagree with the durations: features at every {data.feat_stride:g} frames of "
            f"{'the videos' if data.default_fps is None else f'{data.default_fps:g} a second'} cover "
            f"{100 * middle:.0f} % of the videos. "
            f"A stride of {float(np.median(strides)):.3g} would fit (data.feat_stride), or a frame rate "
            f"{middle:.3g} times as high (data.default_fps)."
        )
        return
    short = [f"{video} ({100 * ratio:.0f} %)" for video, ratio in ratios.items() if ratio < COVERED]
    if short:
        found.warn(
            f"Videos whose features end early, so that later actions are lost ({len(short)}): {some(short)}."
        )
    long = [f"{video} ({100 * ratio:.0f} %)" for video, ratio in ratios.items() if ratio > 2 - COVERED]
    if long:
        found.warn(f"Videos whose features are longer than the video ({len(long)}): {some(long)}.")
