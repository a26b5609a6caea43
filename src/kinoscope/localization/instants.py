"""Streams files seen as instants: starts, ends or key events of actions, for SnapFormer.

`as_instants` turns every segment [first, last) into the one frame that counts. Files of trimmed clips are set end
to end first, clips of one subject to a stream, so that the network has to tell the actions apart in time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.media.skeleton import SkeletonFile

Instant = Literal["start", "end", "key_event"]
CLIPS = 8  # clips of a subject that make a stream


def as_instants(file: SkeletonFile, instant: Instant) -> SkeletonFile:
    """The same motion with segments [frame, frame + 1) at the instants; `end` is the frame behind the last.

    Raises KinoscopeError where the file does not hold what was asked for.
    """
    if file.label is not None:
        return end_to_end(file, instant)
    if instant == "key_event" or file.segments is None:
        raise KinoscopeError(
            "this file of streams has no such instants",
            field="data.instants",
            value=instant,
            remedy="use start or end, or a file of clips with `label` and `key_event`",
        )
    rows, length = file.segments, np.diff(file.offset)
    frame = rows[:, 1] if instant == "start" else np.minimum(rows[:, 2], length[rows[:, 0]] - 1)
    instants = np.stack([rows[:, 0], frame, frame + 1, rows[:, 3]], 1)
    return replace(file, segments=instants, key_event=None)


def end_to_end(file: SkeletonFile, instant: Instant, clips: int = CLIPS) -> SkeletonFile:
    """Labelled clips as streams of up to `clips` clips of one subject, one instant a clip that has one."""
    if file.label is None or (instant == "key_event" and file.key_event is None):
        raise KinoscopeError(
            "this file has no key events", field="data.instants", value=instant, remedy="use start or end"
        )
    length = np.diff(file.offset)
    inside = {"start": np.zeros_like(length), "end": length - 1, "key_event": file.key_event}[instant]
    assert inside is not None
    order: list[int] = []
    streams: list[tuple[int, int, int]] = []  # subject, frames, first clip
    segments: list[np.ndarray] = []
    for subject in np.unique(file.subject):
        own = np.flatnonzero(file.subject == subject)
        own = own[np.argsort(np.arange(len(own)) % max(-(-len(own) // clips), 1), kind="stable")]
        for chunk in np.split(own, range(clips, len(own), clips)):
            first = np.concatenate([[0], np.cumsum(length[chunk])[:-1]])
            frame = first + np.clip(inside[chunk], 0, length[chunk] - 1)
            item = np.full(len(chunk), len(streams))
            known = inside[chunk] >= 0  # of some classes no key event is defined: they are background
            segments.append(np.stack([item, frame, frame + 1, file.label[chunk]], 1)[known])
            streams.append((int(subject), int(length[chunk].sum()), int(chunk[0])))
            order.extend(chunk.tolist())
    frames = np.concatenate([np.arange(file.offset[i], file.offset[i + 1]) for i in order])
    joints = file.joints[frames].astype(np.float32)
    heads = np.array([head for _, _, head in streams])
    return replace(
        file,
        joints=joints,
        offset=np.concatenate([[0], np.cumsum([count for _, count, _ in streams])]),
        origin=file.origin[heads],
        subject=np.array([subject for subject, _, _ in streams]),
        label=None,
        key_event=None,
        segments=np.concatenate(segments),
        confidence=None if file.confidence is None else file.confidence[frames],
        source=(),
        extra={},
    )
