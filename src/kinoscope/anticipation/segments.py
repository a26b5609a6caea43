"""Annotated segments as samples: the window before an action, its class, and what went on at each observed moment.

Leaks nothing: a window ends tau_a before its action, and `SegmentSource.last_seen` is checked for every sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinoscope.anticipation.annotations import (
    RECOGNITION,
    ActionList,
    PastLabels,
    Segments,
    Windows,
    all_pairs,
    anticipation_windows,
    class_names,
    keep_videos,
    many_shot_classes,
    read_actions,
    read_mapping,
    read_salads,
    read_segments,
)
from kinoscope.anticipation.class_names import vectors
from kinoscope.anticipation.inputs import open_input
from kinoscope.anticipation.language import read_prototypes
from kinoscope.anticipation.own import is_own, own_classes, read_own
from kinoscope.anticipation.sampling import FrameSampling
from kinoscope.anticipation.settings import SegmentsData
from kinoscope.errors import KinoscopeError

SALADS_FPS = 30.0
UNSEEN = "validation_unseen_participants_ids.csv"


@dataclass(frozen=True)
class SegmentSample:
    """seen: (T, D) float32 features or (T, H, W, 3) uint8 frames; seconds (T,): of the steps; target: class, -1
    unknown; past (T,): what goes on at each step; row: of the windows."""

    seen: np.ndarray
    seconds: np.ndarray
    target: int
    past: np.ndarray
    row: int


class SegmentSource:
    """Training and test windows of annotation files."""

    def __init__(self, data: SegmentsData) -> None:
        self.data = data
        self.actions, self.label_names = read_classes(data)
        self.train = windows_of(data, data.train, self.actions, data.train_videos)
        self.test = windows_of(data, data.test, self.actions, data.test_videos)
        self.input = open_input(data)
        self.sampling = FrameSampling(data.num_frames, data.frame_rate, data.sample_strategy)
        self.past = {
            id(windows): PastLabels(windows.segments) for windows in (self.train, self.test) if windows
        }
        kept = [] if self.train is None else np.flatnonzero(self.train.segments.action >= 0).tolist()
        self.train_rows: list[int] = [int(k) for k in kept]  # a segment of an unlisted pair teaches nothing

    @property
    def skipped(self) -> dict[str, str]:
        """Rows of annotation files that could not be read, and why."""
        return {
            name: why
            for windows in (self.train, self.test)
            if windows is not None
            for name, why in windows.segments.skipped.items()
        }

    def sample(
        self, windows: Windows, row: int, generator: np.random.Generator | None = None
    ) -> SegmentSample:
        """What is seen before segment `row`. Raises KinoscopeError where it cannot be read."""
        segments = windows.segments
        video = segments.video[row]
        seen, seconds = self.input.window(
            video, float(windows.start[row]), float(windows.end[row]), self.sampling, generator
        )
        limit = float(windows.end[row])
        if len(seconds) and float(np.max(seconds)) > max(limit, 0.0) + 1e-3:
            raise KinoscopeError("a step lies after the window", field=video, value=float(np.max(seconds)))
        past = self.past[id(windows)](video, seconds)
        return SegmentSample(seen, seconds, int(segments.action[row]), past, row)


def read_classes(data: SegmentsData) -> tuple[ActionList, tuple[str, ...]]:
    """The action classes of a recipe and their names."""
    if data.dataset == "50salads":
        if data.actions is None:
            raise KinoscopeError("50 Salads needs its mapping.txt", field="data.actions")
        classes = read_mapping(data.actions)
        none = tuple((0, 0) for _ in classes)
        return ActionList(tuple(classes), none, 1, 1), tuple(classes)
    files = (*data.train, *data.test)
    if files and is_own(files[0]):
        own = own_classes(data.actions, data.train or data.test)
        return own, own.names
    named = class_names(data.names) if data.names is not None else None
    if data.actions is None:
        if named is None:
            raise KinoscopeError(
                "which actions are there?",
                field="data.actions",
                remedy="name the action list, or with data.names the folder of the verb and noun classes",
            )
        actions = all_pairs(len(named[0]), len(named[1]))
    else:
        actions = read_actions(data.actions, *(len(names) for names in named or ()))
    return actions, actions.names


def windows_of(
    data: SegmentsData, files: Sequence[str], actions: ActionList, only: str | None
) -> Windows | None:
    """The observed windows of annotation files; None without files."""
    if not files:
        return None
    if data.dataset == "50salads":
        if data.labels is None or data.actions is None:
            raise KinoscopeError("50 Salads needs the folder of its frame labels", field="data.labels")
        segments = _joined(
            [read_salads(file, data.labels, read_mapping(data.actions), SALADS_FPS) for file in files]
        )
    elif is_own(files[0]):
        segments = read_own(files, actions)
    else:
        segments = read_segments(files, actions)
    if only is not None:
        segments = keep_videos(segments, only)
    return anticipation_windows(segments, data.tau_a, data.tau_o, data.drop_style)


def _joined(parts: Sequence[Segments]) -> Segments:
    if len(parts) != 1:
        raise KinoscopeError("50 Salads is one split file a run", field="data.train", value=len(parts))
    return parts[0]


def subsets_of(data: SegmentsData, windows: Windows) -> dict[str, dict[str, list[int]]]:
    """{"tail": {space: rows}, "unseen": ...} from the id lists of RULSTM; those whose files are there."""
    if data.lists is None:
        return {}
    folder = Path(data.lists)
    names = windows.segments.narration_id
    ids = names if any(names) else tuple(str(uid) for uid in windows.segments.uid)
    place = {name: row for row, name in enumerate(ids)}

    def rows(file: Path) -> list[int]:
        return [place[line.strip()] for line in file.read_text().splitlines() if line.strip() in place]

    found: dict[str, dict[str, list[int]]] = {}
    tails = {space: folder / f"validation_tail_{space}s_ids.csv" for space in ("verb", "noun", "action")}
    if all(file.is_file() for file in tails.values()):
        found["tail"] = {space: rows(file) for space, file in tails.items()}
    if (folder / UNSEEN).is_file():
        found["unseen"] = dict.fromkeys(("verb", "noun", "action"), rows(folder / UNSEEN))
    return found


def many_shot_of(data: SegmentsData, actions: ActionList) -> dict[str, list[int]] | None:
    """Many-shot classes of EPIC-Kitchens-55; None for other data sets."""
    return (
        many_shot_classes(data.names, actions)
        if data.names is not None and data.dataset == "epic55"
        else None
    )


def prototypes_of(data: SegmentsData, names: Sequence[str]) -> tuple[Tensor, Tensor, str]:
    """Language vectors (A, L), visual prototypes to start from (A, any width), and where the language is from."""
    if data.language is None:
        found, source = vectors(names)
        language = torch.from_numpy(found)
    else:
        language, source = read_prototypes(data.language), data.language
    visual = language if data.visual is None else read_prototypes(data.visual)
    for field, held in (("data.language", language), ("data.visual", visual)):
        if len(held) != len(names):
            raise KinoscopeError(
                f"these prototypes are of other classes: the action list has {len(names)}",
                field=field,
                value=len(held),
                remedy="make them from the same list with `kinoscope prepare prototypes`",
            )
    return language, visual, source


def is_recognition(data: SegmentsData) -> bool:
    """Whether the action itself is seen, as in the recognition stages (tau_a below 0)."""
    return data.tau_a < 0 or data.tau_a == RECOGNITION


def about_input(source: SegmentSource) -> dict[str, Any]:
    """What made the features, where they tell: then a model can be asked about videos."""
    encoders = getattr(source.input, "encoders", None)
    made = encoders() if encoders is not None else []
    return {"encoders": made} if made else {}


def about_classes(data: SegmentsData, actions: ActionList) -> dict[str, Any]:
    """What a model must know of its classes beside their names."""
    named = class_names(data.names) if data.names is not None else None
    found: dict[str, Any] = {
        "pairs": [list(pair) for pair in actions.pairs],
        "sizes": [actions.verbs, actions.nouns],
    }
    if named is not None:
        found |= {"verb_names": named[0], "noun_names": named[1]}
    return found
