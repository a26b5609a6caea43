"""Events: what every localiser, baseline, annotation file and report exchanges.

A table of N rows (source, start_s, end_s, label, score) over a list of label names. Intervals are half-open
[start_s, end_s) in seconds; an instant has start_s == end_s. Ground truth has score 1.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kinoscope.errors import KinoscopeError


@dataclass(frozen=True)
class Events:
    """N events.

    source: (N,) object array of video ids; start_s, end_s: (N,) float64; label: (N,) int64 index into
    `label_names`; score: (N,) float64; uncertainty_s: (N, 2) standard deviation of start and end, or None.
    Raises KinoscopeError where lengths differ, an end lies before its start or a label has no name.
    """

    source: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray
    label: np.ndarray
    score: np.ndarray
    label_names: tuple[str, ...] = ()
    uncertainty_s: np.ndarray | None = field(default=None)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "source", np.asarray(self.source, object).reshape(-1))
        for name in ("start_s", "end_s", "score"):
            set_(self, name, np.asarray(getattr(self, name), np.float64).reshape(-1))
        set_(self, "label", np.asarray(self.label, np.int64).reshape(-1))
        set_(self, "label_names", tuple(self.label_names))
        self._check()

    def _check(self) -> None:
        n = len(self.source)
        for name in ("start_s", "end_s", "label", "score"):
            if len(getattr(self, name)) != n:
                raise KinoscopeError(
                    f"{n} sources but another number of rows", field=name, value=len(getattr(self, name))
                )
        if (bad := np.flatnonzero(self.end_s < self.start_s)).size:
            row = bad[0]
            raise KinoscopeError(
                f"event {row} of {self.source[row]} ends before it starts",
                field="end_s",
                value=(float(self.start_s[row]), float(self.end_s[row])),
                remedy="swap start and end",
            )
        if self.label_names and n and not 0 <= self.label.min() <= self.label.max() < len(self.label_names):
            raise KinoscopeError(
                f"a label lies outside the {len(self.label_names)} label names",
                field="label",
                value=[int(self.label.min()), int(self.label.max())],
            )

    @classmethod
    def empty(cls, label_names: Sequence[str] = ()) -> Events:
        return cls(
            np.empty(0, object), np.empty(0), np.empty(0), np.empty(0, int), np.empty(0), tuple(label_names)
        )

    @classmethod
    def of(
        cls,
        source: str,
        segments_s: ArrayLike,
        label: ArrayLike,
        score: ArrayLike | None = None,
        label_names: Sequence[str] = (),
    ) -> Events:
        """Events of one video; segments_s (N, 2)."""
        segments = np.asarray(segments_s, np.float64).reshape(-1, 2)
        n = len(segments)
        return cls(
            np.array([source] * n, object),
            segments[:, 0],
            segments[:, 1],
            np.asarray(label),
            np.ones(n) if score is None else np.asarray(score),
            tuple(label_names),
        )

    @classmethod
    def concat(cls, parts: Sequence[Events]) -> Events:
        """All rows of `parts` in order; they must share their label names."""
        if not parts:
            return cls.empty()
        if len({part.label_names for part in parts}) > 1:
            raise KinoscopeError("events with different label names cannot be joined", field="label_names")
        full = [part for part in parts if len(part)]
        spread = [part.uncertainty_s for part in full if part.uncertainty_s is not None]
        return cls(
            source=np.concatenate([part.source for part in parts]),
            start_s=np.concatenate([part.start_s for part in parts]),
            end_s=np.concatenate([part.end_s for part in parts]),
            label=np.concatenate([part.label for part in parts]),
            score=np.concatenate([part.score for part in parts]),
            label_names=parts[0].label_names,
            uncertainty_s=np.concatenate(spread) if full and len(spread) == len(full) else None,
        )

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, rows: ArrayLike | slice) -> Events:
        """The rows that an index array, a boolean mask or a slice picks."""
        at = rows if isinstance(rows, slice) else np.asarray(rows)
        picked = {name: getattr(self, name)[at] for name in ("source", "start_s", "end_s", "label", "score")}
        spread = None if self.uncertainty_s is None else self.uncertainty_s[at]
        return replace(self, **picked, uncertainty_s=spread)

    def by_source(self) -> Iterator[tuple[str, Events]]:
        """(video id, its events) in order of first appearance."""
        sources, first, inverse = np.unique(self.source.astype(str), return_index=True, return_inverse=True)
        rows = np.argsort(inverse, kind="stable")
        bounds = np.searchsorted(inverse[rows], np.arange(len(sources) + 1))
        for k in np.argsort(first):
            yield str(sources[k]), self[rows[bounds[k] : bounds[k + 1]]]

    def name(self, label: int) -> str:
        return self.label_names[label] if self.label_names else str(label)

    def to_json(self) -> dict[str, Any]:
        """{"label_names": [...], "events": {video: [[start_s, end_s, label, score], ...]}}.

        Uncertain bounds add "uncertainty_s": {video: [[deviation of start, of end], ...]}, row by row.
        """
        table = {
            video: [
                list(row)
                for row in zip(
                    e.start_s.tolist(), e.end_s.tolist(), e.label.tolist(), e.score.tolist(), strict=True
                )
            ]
            for video, e in self.by_source()
        }
        result: dict[str, Any] = {"label_names": list(self.label_names), "events": table}
        if self.uncertainty_s is not None:
            result["uncertainty_s"] = {video: e.uncertainty_s.tolist() for video, e in self.by_source()}  # type: ignore[union-attr]
        return result

    @classmethod
    def from_json(cls, data: dict[str, Any], file: str | None = None) -> Events:
        """Inverse of `to_json`."""
        try:
            names, table = tuple(data["label_names"]), data["events"]
            rows = [(video, *row) for video, events in table.items() for row in events]
            if not rows:
                return cls.empty(names)
            source, start, end, label, score = zip(*rows, strict=True)
            spread = data.get("uncertainty_s")
            apart = (
                None
                if spread is None
                else np.array([pair for video in table for pair in spread[video]], float)
            )
            if apart is not None and apart.shape != (len(rows), 2):
                raise ValueError("uncertainty_s has other rows than events")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise KinoscopeError(
                "this is no file of predictions",
                file=file,
                value=str(error),
                remedy='expected {"label_names": [...], "events": {video: [[start_s, end_s, label, score]]}}',
            ) from error
        return cls(
            np.array(source, object),
            np.array(start),
            np.array(end),
            np.array(label),
            np.array(score),
            names,
            apart,
        )

    def to_csv(self) -> str:
        """Rows `video,start_s,end_s,label,score` under a header; deviations of uncertain bounds follow."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        header = ("video", "start_s", "end_s", "label", "score")
        spread = self.uncertainty_s
        writer.writerow(header if spread is None else (*header, "start_deviation_s", "end_deviation_s"))
        for k in range(len(self)):
            row = (
                self.source[k],
                f"{self.start_s[k]:.3f}",
                f"{self.end_s[k]:.3f}",
                self.name(int(self.label[k])),
            )
            apart = () if spread is None else (f"{spread[k, 0]:.3f}", f"{spread[k, 1]:.3f}")
            writer.writerow((*row, f"{self.score[k]:.4f}", *apart))
        return out.getvalue()

    def dumps(self) -> str:
        return json.dumps(self.to_json())
