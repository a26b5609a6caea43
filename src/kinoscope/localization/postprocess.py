"""What is known of a domain, enforced on detections: gaps, durations, overlaps, order; joining of neighbours.

The fork's `TemporalConstraints`, `enforce_class_constraints` and `merge_close_detections` (specification 11.6), on
the table that its evaluation uses: {"video-id": list, "t-start", "t-end", "label", "score": arrays}, times in
seconds. `postprocessed` applies a recipe's `postprocess:` section to Events.

Differences from the official code: `ordering`, which is accepted and never read there, acts if `enforce_ordering`
is set. Quirk, kept: the overlap rule looks at all classes together, also in `enforce_class_constraints`.

Shape suffixes: N detections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.metrics.tiou import tiou
from kinoscope.timeline import Events

if TYPE_CHECKING:
    from kinoscope.localization.settings import Postprocess

Results = Mapping[str, Any]
COLUMNS = ("video-id", "t-start", "t-end", "label", "score")
Clash = Callable[
    [int, np.ndarray], np.ndarray
]  # (row, better rows that were kept) -> which of them forbid it


class TemporalConstraints:
    """Rules on detections, each judged on all rows; what breaks any of them goes.

    min_gap: {class: s} least distance of two centres of the class in a video; max_overlap: largest tIoU of two
    detections of a video, whatever their classes (1 or more: no rule); duration_range: {class: (s, s)}, both ends
    allowed; score_threshold: least score. Of two that clash the better stays.
    ordering: lists of classes; with enforce_ordering, an event of a class must not lie before a better one of an
    earlier class of its list, nor behind one of a later class.
    """

    def __init__(
        self,
        min_gap: Mapping[int, float] | None = None,
        max_overlap: float = 0.5,
        duration_range: Mapping[int, Sequence[float]] | None = None,
        ordering: Sequence[Sequence[int]] | None = None,
        score_threshold: float = 0.0,
        enforce_ordering: bool = False,
    ) -> None:
        self.min_gap, self.max_overlap = dict(min_gap or {}), max_overlap
        self.duration_range, self.score_threshold = dict(duration_range or {}), score_threshold
        self.ordering = [list(classes) for classes in ordering or ()]
        self.enforce_ordering = enforce_ordering

    def apply(self, results: Results) -> dict[str, Any]:
        """The rows that keep every rule, in their order.

        >>> rows = {"video-id": ["v"] * 2, "t-start": [0, 1], "t-end": [4, 5], "label": [0, 0], "score": [0.5, 0.9]}
        >>> TemporalConstraints(max_overlap=0.4).apply(rows)["score"].tolist()
        [0.9]
        """
        if not len(results["video-id"]):
            return dict(results)
        rows = self.keep(*(np.asarray(results[name]) for name in COLUMNS))
        return {
            name: [v for v, k in zip(results[name], rows, strict=True) if k]
            if name == "video-id"
            else np.asarray(results[name])[rows]
            for name in COLUMNS
        }

    def keep(
        self, video: np.ndarray, start: np.ndarray, end: np.ndarray, label: np.ndarray, score: np.ndarray
    ) -> np.ndarray:
        """(N,) whether a row keeps every rule."""
        keep_N, centre = score >= self.score_threshold, (start + end) / 2
        for k, (low, high) in self.duration_range.items():
            keep_N &= (label != k) | ((end - start >= low) & (end - start <= high))
        for k, gap in self.min_gap.items():
            mine = np.flatnonzero(label == k)

            def close(row: int, kept: np.ndarray, gap: float = gap) -> np.ndarray:
                return np.abs(centre[row] - centre[kept]) < gap

            keep_N[_beaten(mine, video, score, close)] = False
        everything = np.arange(len(score))
        if self.max_overlap < 1:

            def covered(row: int, kept: np.ndarray) -> np.ndarray:
                return tiou(start[row], end[row], start[kept], end[kept]) > self.max_overlap

            keep_N[_beaten(everything, video, score, covered)] = False
        for classes in self.ordering if self.enforce_ordering else ():
            rank = {k: place for place, k in enumerate(classes)}
            place = np.array([rank.get(int(k), -1) for k in label])

            def misplaced(row: int, kept: np.ndarray, place: np.ndarray = place) -> np.ndarray:
                return (place[row] - place[kept]) * (centre[row] - centre[kept]) < 0

            keep_N[_beaten(np.flatnonzero(place >= 0), video, score, misplaced)] = False
        return keep_N


def _beaten(rows: np.ndarray, video: np.ndarray, score: np.ndarray, clash: Clash) -> np.ndarray:
    """The rows that a better one of their video, itself unbeaten, forbids."""
    beaten: list[int] = []
    for name in np.unique(video[rows]):
        mine = rows[video[rows] == name]
        kept: list[int] = []
        for row in mine[np.argsort(-score[mine], kind="stable")].tolist():
            forbidden = bool(kept) and bool(clash(row, np.array(kept)).any())
            (beaten if forbidden else kept).append(row)
    return np.array(beaten, np.int64)


def enforce_class_constraints(
    results: Results,
    class_id: int,
    min_gap: float | None = None,
    duration_range: Sequence[float] | None = None,
    max_overlap: float = 0.3,
) -> dict[str, Any]:
    """`TemporalConstraints` with gap and durations of one class; the overlap rule still concerns all."""
    return TemporalConstraints(
        {class_id: min_gap} if min_gap else None,
        max_overlap,
        {class_id: duration_range} if duration_range else None,
    ).apply(results)


def merge_close_detections(
    results: Results, merge_gap: float = 0.5, class_id: int | None = None
) -> dict[str, Any]:
    """Detections of a video and class that follow each other within `merge_gap` seconds, as one.

    In order of their starts, a chain goes on while the next start lies at most `merge_gap` behind the end of the
    member before it. The whole takes the first start, the last end and the best score. Rows come by video and
    class; class_id: this class alone, rows of others follow as they are.
    """
    if not len(results["video-id"]):
        return dict(results)
    video, start, end, label, score = (np.asarray(results[name]) for name in COLUMNS)
    groups, others = _chains(video, start, end, label, merge_gap, class_id)
    first = np.array([group[0] for group in groups] + others, np.int64)
    chains = [*groups, *([row] for row in others)]
    return {
        "video-id": [results["video-id"][row] for row in first],
        "t-start": start[first],
        "t-end": np.array([end[rows].max() for rows in chains], end.dtype),
        "label": label[first],
        "score": np.array([score[rows].max() for rows in chains], score.dtype),
    }


def _chains(
    video: np.ndarray, start: np.ndarray, end: np.ndarray, label: np.ndarray, gap: float, only: int | None
) -> tuple[list[list[int]], list[int]]:
    """(chains of rows, rows of other classes)."""
    groups: list[list[int]] = []
    for name in np.unique(video):
        here = np.flatnonzero(video == name)
        for k in np.unique(label[here]) if only is None else (only,):
            rows = here[label[here] == k]
            for row in rows[np.argsort(start[rows], kind="stable")].tolist():
                if (
                    groups
                    and _same(groups[-1][-1], row, video, label)
                    and start[row] - end[groups[-1][-1]] <= gap
                ):
                    groups[-1].append(row)
                else:
                    groups.append([row])
    others = [] if only is None else np.flatnonzero(label != only).tolist()
    return groups, others


def _same(row: int, other: int, video: np.ndarray, label: np.ndarray) -> bool:
    return bool(video[row] == video[other] and label[row] == label[other])


def postprocessed(events: Events, rules: Postprocess) -> Events:
    """Events under a recipe's rules: joined first, then constrained; classes by name or number."""
    if not len(events):
        return events
    gap = rules.merge_gap_s
    if gap is not None:
        events = _merged(events, gap)
    constraints = TemporalConstraints(
        {_class(name, events): gap for name, gap in rules.min_gap_s.items()},
        rules.max_overlap,
        {_class(name, events): limits for name, limits in rules.duration_range_s.items()},
        [[_class(name, events) for name in names] for names in rules.ordering],
        rules.score_threshold,
        enforce_ordering=True,
    )
    return events[constraints.keep(events.source, events.start_s, events.end_s, events.label, events.score)]


def _merged(events: Events, gap: float) -> Events:
    """Chains of events as one event each, as `merge_close_detections` makes them."""
    groups, _ = _chains(events.source, events.start_s, events.end_s, events.label, gap, None)
    end_s = np.array([events.end_s[rows].max() for rows in groups])
    score = np.array([events.score[rows].max() for rows in groups])
    return replace(events[[group[0] for group in groups]], end_s=end_s, score=score, uncertainty_s=None)


def _class(name: str | int, events: Events) -> int:
    """Number of a class given by name or number."""
    if name in events.label_names:
        return events.label_names.index(str(name))
    number = int(name) if str(name).isdigit() else -1
    if 0 <= number < (len(events.label_names) or number + 1):
        return number
    raise KinoscopeError(
        "there is no such class",
        field="decode.postprocess",
        value=name,
        remedy=f"one of {', '.join(events.label_names)}, or its number",
    )
