"""The neutral skeleton file (.npz): many sequences or untrimmed streams of joints, end to end, in one file.

Arrays: `joints` (sum T, V, 3) in metres minus `origin` (N, 3); `offset` (N+1): item i is
joints[offset[i]:offset[i+1]]; `joint_names` (V), `parents` (V; root -1), `fps`, `up_axis` (x, y or z),
`subject` (N) into `subject_names`, `label_names`, and one of `label` (N; trimmed sequences) or `segments`
(S, 4: item, first frame, one past the last, label; untrimmed streams, the rest is background). Optional:
`confidence` (sum T, V), `key_event` (N), `source` (N, names); other arrays are kept in `extra`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.timeline import Events

REQUIRED = ("joints", "offset", "joint_names", "fps")
OPTIONAL = (
    *("origin", "parents", "up_axis", "subject", "subject_names", "label_names"),
    *("label", "segments", "confidence", "key_event", "source"),
)
STILL_M = 1e-6  # a stream whose joints all stay within this has no motion


@dataclass(frozen=True)
class Motion:
    """One sequence or stream. joints: (T, V, 3) float32 world coordinates in metres, as `up_axis` says."""

    index: int
    name: str
    subject: str
    fps: float
    joints: np.ndarray
    label: int | None  # of a trimmed sequence
    segments: np.ndarray  # (S, 3) first frame, one past the last, label

    @property
    def duration_s(self) -> float:
        return len(self.joints) / self.fps

    def frame_labels(self, background: int) -> np.ndarray:
        """(T,) label of each frame; `background` where no segment lies."""
        labels = np.full(len(self.joints), background if self.label is None else self.label, np.int64)
        for first, last, label in self.segments:
            labels[first:last] = label
        return labels


@dataclass(frozen=True)
class SkeletonFile:
    """The arrays of the module docstring, checked. Iterating gives `Motion`s in order."""

    joints: np.ndarray
    offset: np.ndarray
    origin: np.ndarray
    joint_names: tuple[str, ...]
    parents: np.ndarray
    fps: float
    up_axis: str
    subject: np.ndarray
    subject_names: tuple[str, ...]
    label_names: tuple[str, ...]
    label: np.ndarray | None = None
    segments: np.ndarray | None = None
    confidence: np.ndarray | None = None
    key_event: np.ndarray | None = None
    source: tuple[str, ...] = ()
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    file: str | None = None

    # -- reading and writing ----------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | Path) -> SkeletonFile:
        """Reads and checks a file (`builtin:NAME` is packaged). Errors name file and field."""
        from kinoscope.builtin import resolve

        place = resolve(path)
        try:
            with np.load(place, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except FileNotFoundError as error:
            raise KinoscopeError(
                "there is no such skeleton file", file=place, remedy="check the path"
            ) from error
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
            raise KinoscopeError(
                f"this is no readable .npz file: {error}",
                file=place,
                remedy="copy it again, or save it with numpy.savez_compressed and without object arrays",
            ) from error
        return cls.from_arrays(arrays, str(place))

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], file: str | None = None) -> SkeletonFile:
        """A checked file from its arrays; absent optional arrays get their neutral values."""
        missing = [name for name in REQUIRED if name not in arrays]
        if missing:
            raise KinoscopeError(
                "the skeleton file lacks arrays",
                file=file,
                field=", ".join(missing),
                value=sorted(arrays),
                remedy="save them as the neutral skeleton format asks",
            )
        offset = np.asarray(arrays["offset"], np.int64).reshape(-1)
        items, joints = len(offset) - 1, arrays["joints"]
        subject = np.asarray(arrays.get("subject", np.zeros(items)), np.int64).reshape(-1)
        names = arrays.get("subject_names", [str(k) for k in range(int(subject.max(initial=-1)) + 1)])
        joint_count = joints.shape[1] if joints.ndim == 3 else 0
        self = cls(
            joints=joints,
            offset=offset,
            origin=np.asarray(arrays.get("origin", np.zeros((items, 3))), np.float32),
            joint_names=tuple(map(str, np.asarray(arrays["joint_names"]).reshape(-1))),
            parents=np.asarray(arrays.get("parents", np.full(joint_count, -1)), np.int64).reshape(-1),
            fps=float(np.asarray(arrays["fps"]).reshape(-1)[0]),
            up_axis=str(np.asarray(arrays.get("up_axis", "y")).reshape(-1)[0]),
            subject=subject,
            subject_names=tuple(map(str, np.asarray(names).reshape(-1))),
            label_names=tuple(map(str, np.asarray(arrays.get("label_names", [])).reshape(-1))),
            label=_integers(arrays, "label"),
            segments=_integers(arrays, "segments"),
            confidence=arrays.get("confidence"),
            key_event=_integers(arrays, "key_event"),
            source=tuple(map(str, np.asarray(arrays.get("source", [])).reshape(-1))),
            extra={name: value for name, value in arrays.items() if name not in (*REQUIRED, *OPTIONAL)},
            file=file,
        )
        self._check()
        return self

    def _wrong(self, problem: str, field_: str, value: object, remedy: str) -> NoReturn:
        raise KinoscopeError(problem, file=self.file, field=field_, value=value, remedy=remedy)

    def _check(self) -> None:
        n, frames = len(self.offset) - 1, len(self.joints)
        shape = self.joints.shape
        if len(shape) != 3 or shape[2] != 3 or not np.issubdtype(self.joints.dtype, np.floating):
            found = f"{self.joints.dtype} {shape}"
            self._wrong(
                "joints must be real numbers of shape (frames, joints, 3)",
                "joints",
                found,
                "store x, y, z of every joint in the last axis",
            )
        if shape[1] != len(self.joint_names):
            self._wrong(
                f"{shape[1]} joints but another number of names",
                "joint_names",
                len(self.joint_names),
                "give one name a joint, in order",
            )
        if n < 1 or self.offset[0] != 0 or self.offset[-1] != frames or (np.diff(self.offset) < 1).any():
            self._wrong(
                f"offsets must rise from 0 to the {frames} frames",
                "offset",
                self.offset.tolist()[:8],
                "offset[i] is the first frame of item i, the last one the number of frames",
            )
        if not (self.fps > 0 and np.isfinite(self.fps)):
            self._wrong("the frame rate must be positive", "fps", self.fps, "give frames a second")
        if self.up_axis not in ("x", "y", "z"):
            self._wrong("the up axis is x, y or z", "up_axis", self.up_axis, "name the axis that points up")
        if self.origin.shape != (n, 3):
            self._wrong(
                f"{n} items need an origin of shape ({n}, 3)", "origin", self.origin.shape, "one a row"
            )
        for name, rows in (("subject", self.subject), ("label", self.label), ("key_event", self.key_event)):
            if rows is not None and rows.shape != (n,):
                self._wrong(
                    f"{n} items but another number of rows", name, rows.shape, "give one value an item"
                )
        if self.source and len(self.source) != n:
            self._wrong(f"{n} items but another number of names", "source", len(self.source), "one an item")
        self._check_range("subject", self.subject, len(self.subject_names), "subject_names")
        if self.label is not None and self.segments is not None:
            self._wrong("both label and segments are given", "label", "label, segments", "keep one of them")
        if self.label is not None:
            self._check_range("label", self.label, len(self.label_names), "label_names")
        if self.segments is not None:
            self._check_segments(self.segments, n)
        if self.confidence is not None and self.confidence.shape != shape[:2]:
            self._wrong(
                f"confidence must have shape {shape[:2]}",
                "confidence",
                self.confidence.shape,
                "one value a frame and joint",
            )

    def _check_range(self, name: str, rows: np.ndarray, count: int, names: str) -> None:
        if ((rows < 0) | (rows >= count)).any():
            bad = int(rows[(rows < 0) | (rows >= count)][0])
            self._wrong(f"an id lies outside the {count} {names}", name, bad, f"use 0 to {count - 1}")

    def _check_segments(self, segments: np.ndarray, n: int) -> None:
        if segments.ndim != 2 or segments.shape[1] != 4:
            self._wrong(
                "segments must have shape (S, 4)",
                "segments",
                segments.shape,
                "item, first frame, one past the last frame, label",
            )
        self._check_range("segments (item)", segments[:, 0], n, "items")
        self._check_range("segments (label)", segments[:, 3], len(self.label_names), "label_names")
        ends = np.diff(self.offset)[segments[:, 0]]
        wrong = (segments[:, 1] < 0) | (segments[:, 2] <= segments[:, 1]) | (segments[:, 2] > ends)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            self._wrong(
                f"segment {row} is reversed, empty or beyond the {ends[row]} frames of its item",
                "segments",
                segments[row].tolist(),
                "0 <= first < last <= frames of the item",
            )

    def save(self, path: str | Path) -> Path:
        """Writes the file (compressed, complete or not at all); `load` gives the same arrays back."""
        place = Path(path)
        arrays: dict[str, Any] = {name: getattr(self, name) for name in (*REQUIRED, *OPTIONAL)}
        arrays = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
        if not self.source:
            arrays.pop("source")
        partial = place.with_name(place.name + ".partial.npz")
        try:
            np.savez_compressed(partial, **{**self.extra, **arrays})
            partial.replace(place)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise KinoscopeError(
                "cannot write the skeleton file", file=place, value=str(error), remedy="free some space"
            ) from error
        return place

    # -- items --------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.offset) - 1

    def __getitem__(self, index: int) -> Motion:
        if not 0 <= index < len(self):
            raise IndexError(index)
        first, last = self.offset[index], self.offset[index + 1]
        rows = np.empty((0, 3), np.int64)
        if self.segments is not None:
            rows = self.segments[self.segments[:, 0] == index][:, 1:]
        return Motion(
            index=index,
            name=self.names[index],
            subject=self.subject_names[self.subject[index]],
            fps=self.fps,
            joints=self.joints[first:last].astype(np.float32) + self.origin[index],
            label=None if self.label is None else int(self.label[index]),
            segments=rows,
        )

    def __iter__(self) -> Iterator[Motion]:
        return (self[index] for index in range(len(self)))

    @property
    def names(self) -> list[str]:
        """One unique name an item: its source, or subject and number."""
        plain = list(self.source) or [
            f"{self.subject_names[s]}_{index:03d}" for index, s in enumerate(self.subject)
        ]
        seen: dict[str, int] = {}
        unique = []
        for name in plain:
            seen[name] = seen.get(name, 0) + 1
            unique.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
        return unique

    def without_motion(self) -> dict[str, str]:
        """{name: why} of the items that hold no usable motion: zeros, frozen or never measured."""
        reasons = {}
        for index, name in enumerate(self.names):
            joints = self.joints[self.offset[index] : self.offset[index + 1]].astype(np.float32)
            if not np.isfinite(joints).any():
                reasons[name] = "no joint was measured in any frame"
            elif not np.nan_to_num(joints).any():
                reasons[name] = "no motion: every joint is zero in every frame"
            elif len(joints) > 1 and np.nanmax(np.abs(joints - np.nanmedian(joints, axis=0))) < STILL_M:
                reasons[name] = "no motion: the pose never changes"
        return reasons

    def events(self) -> Events:
        """All segments in seconds, with score 1; source: the items' names."""
        rows = np.empty((0, 4), np.int64) if self.segments is None else self.segments
        return Events(
            source=np.array(self.names, object)[rows[:, 0]],
            start_s=rows[:, 1] / self.fps,
            end_s=rows[:, 2] / self.fps,
            label=rows[:, 3],
            score=np.ones(len(rows)),
            label_names=self.label_names,
        )

    # -- choosing -----------------------------------------------------------------------------------------

    def take(self, items: Sequence[int] | np.ndarray) -> SkeletonFile:
        """The file of these items only, in this order."""
        items = np.asarray(items, np.int64).reshape(-1)
        spans = [np.arange(self.offset[i], self.offset[i + 1]) for i in items]
        if not spans:
            self._wrong("no item is left", "items", [], "choose at least one")
        frames = np.concatenate(spans)
        segments = self.segments
        if segments is not None:
            parts = [np.insert(segments[segments[:, 0] == i][:, 1:], 0, k, 1) for k, i in enumerate(items)]
            segments = np.concatenate(parts)
        pick = lambda rows: None if rows is None else rows[items]  # noqa: E731
        shape = self.joints.shape[:1]  # of an array with a row a frame
        return replace(
            self,
            joints=self.joints[frames],
            offset=np.concatenate([[0], np.cumsum([len(s) for s in spans])]),
            origin=self.origin[items],
            subject=self.subject[items],
            label=pick(self.label),
            segments=segments,
            confidence=None if self.confidence is None else self.confidence[frames],
            key_event=pick(self.key_event),
            source=tuple(self.names[i] for i in items),
            extra={
                n: v[items] if v.shape[:1] == (len(self),) else v[frames] if v.shape[:1] == shape else v
                for n, v in self.extra.items()
            },
        )

    def with_joints(self, names: Sequence[str]) -> SkeletonFile:
        """The file with these joints in this order, found by name (case and signs do not count).

        A joint hangs from its nearest ancestor that is kept. The file itself where a name is not there.
        """
        plain = ["".join(c for c in name.lower() if c.isalnum()) for name in self.joint_names]
        wanted = ["".join(c for c in name.lower() if c.isalnum()) for name in names]
        if plain == wanted or len(set(plain)) < len(plain) or not set(wanted) <= set(plain):
            return self
        rows = [plain.index(name) for name in wanted]
        parents = []
        for row in rows:
            at = int(self.parents[row])
            while at >= 0 and at not in rows:
                at = int(self.parents[at])
            parents.append(rows.index(at) if at >= 0 else -1)
        return replace(
            self,
            joints=self.joints[:, rows],
            joint_names=tuple(names),
            parents=np.array(parents),
            confidence=None if self.confidence is None else self.confidence[:, rows],
        )

    def subjects(self) -> list[str]:
        """Names of the subjects that have items, in order of `subject_names`."""
        return [self.subject_names[k] for k in sorted(set(self.subject.tolist()))]

    def _subject_ids(self, subjects: Sequence[str | int]) -> list[int]:
        ids = []
        for who in subjects:
            if str(who) in self.subject_names:
                ids.append(self.subject_names.index(str(who)))
            elif isinstance(who, int) and 0 <= who < len(self.subject_names):
                ids.append(who)
            else:
                self._wrong("there is no such subject", "subjects", who, f"one of {self.subjects()}")
        return ids

    def of_subjects(self, subjects: Sequence[str | int]) -> SkeletonFile:
        """Items of these subjects (names, or numbers into `subject_names`)."""
        return self.take(np.flatnonzero(np.isin(self.subject, self._subject_ids(subjects))))

    def split(self, test_subjects: Sequence[str | int] = ()) -> tuple[SkeletonFile, SkeletonFile]:
        """(training, test) by person; without names the last fifth of the subjects is tested."""
        present = self.subjects()
        if not test_subjects:
            test_subjects = present[-max(1, round(len(present) / 5)) :]
        tested = np.isin(self.subject, self._subject_ids(test_subjects))
        if tested.all() or not tested.any():
            self._wrong(
                "the split leaves one side empty",
                "test_subjects",
                list(test_subjects),
                f"choose some, not all, of {present}",
            )
        return self.take(np.flatnonzero(~tested)), self.take(np.flatnonzero(tested))


def _integers(arrays: dict[str, np.ndarray], name: str) -> np.ndarray | None:
    value = arrays.get(name)
    return None if value is None else np.asarray(value).astype(np.int64)
