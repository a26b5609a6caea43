"""Official arrays and neutral skeleton files to clips of equal length.

Shapes: N clips, C = 3, T frames, V joints, M bodies.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.media.layouts import NTU_25, Layout, layout_of
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.skeleton.augment import OneGenerator, View, draw_gentle, draw_view
from kinoscope.skeleton.downsample import face_camera, resize
from kinoscope.skeleton.label_files import read_labels
from kinoscope.skeleton.settings import Augmentation, Sequences

_UP = {"y": (0, 1, 2), "z": (1, 2, 0), "x": (2, 0, 1)}  # axes in the order (right-handed) with y up


@dataclass
class Clips:
    """x_NCTVM float32 clips; labels (N); names; skipped: clip -> why it was left out."""

    x: np.ndarray
    labels: np.ndarray
    names: list[str]
    label_names: list[str]
    layout: Layout
    skipped: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: np.ndarray) -> Clips:
        """These clips only."""
        return replace(self, x=self.x[rows], labels=self.labels[rows], names=[self.names[i] for i in rows])


def open_clips(data: Sequences) -> tuple[Clips, Clips]:
    """(training, test) clips."""
    if data.kind == "official":
        return official_arrays(Path(data.train), "train"), official_arrays(Path(data.train), "val")
    file = SkeletonFile.load(data.train)
    parts = file.split(data.test_subjects) if data.test is None else (file, SkeletonFile.load(data.test))
    train, test = (clips_of(part, data) for part in parts)
    if train.layout.joints != test.layout.joints:
        raise KinoscopeError(
            "training and test files have different joints", file=data.test, field="joint_names"
        )
    if train.label_names != test.label_names:
        order = {name: i for i, name in enumerate(train.label_names)}
        if odd := [n for n in np.unique([test.label_names[i] for i in test.labels]) if n not in order]:
            raise KinoscopeError(
                "the test file has labels of its own", file=data.test, field="label_names", value=odd
            )
        test = replace(
            test,
            labels=np.array([order[test.label_names[i]] for i in test.labels]),
            label_names=train.label_names,
        )
    return train, test


def official_arrays(folder: Path, part: str) -> Clips:
    """`<part>_position.npy` (memory-mapped) and `<part>_label.pkl`."""
    try:
        x = np.load(folder / f"{part}_position.npy", mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise KinoscopeError(
            "the official arrays cannot be read",
            file=folder,
            value=str(error),
            remedy="make them with `kinoscope prepare`",
        ) from error
    names, labels = read_labels(folder / f"{part}_label.pkl")
    if x.ndim != 5 or x.shape[3] != NTU_25.count or len(x) != len(names):
        raise KinoscopeError(
            "the array must be (N, 3, T, 25, 2) with a name a row", file=folder, value=x.shape
        )
    if not len(x):
        raise KinoscopeError("the array holds no clip", file=folder / f"{part}_position.npy")
    classes = int(max(labels)) + 1
    return Clips(x, np.array(labels), list(names), [str(i + 1) for i in range(classes)], NTU_25)


def clips_of(file: SkeletonFile, data: Sequences, labelled: bool = True) -> Clips:
    """Every labelled sequence as a clip; one that cannot be used is listed in `skipped`.

    labelled False: labels are not needed (and 0 where there are none).
    """
    if labelled and file.label is None:
        raise KinoscopeError(
            "these are untrimmed streams, not sequences",
            file=file.file,
            field="label",
            remedy="give one label a sequence",
        )
    layout, bad = layout_of(file.joint_names, file.parents.tolist()), file.without_motion()
    xs, labels, names = [], [], []
    for item in file:
        first, last = file.offset[item.index], file.offset[item.index + 1]
        sure = None if file.confidence is None else file.confidence[first:last] >= data.min_confidence
        try:
            if item.name in bad:
                raise KinoscopeError(bad[item.name], file=item.name)
            xs.append(clip(item.joints, layout, data.frames, file.up_axis, sure, data.normalise == "clip"))
        except KinoscopeError as error:
            bad[item.name] = str(error)
            continue
        labels.append(item.label or 0)
        names.append(item.name)
    if not xs:
        raise KinoscopeError(
            "not one sequence can be used", file=file.file, value=next(iter(bad.values()), None)
        )
    return Clips(np.stack(xs), np.array(labels), names, list(file.label_names), layout, bad)


def clip(
    joints_TVC: np.ndarray,
    layout: Layout,
    frames: int = 50,
    up_axis: str = "y",
    sure_TV: np.ndarray | None = None,
    whole: bool = False,
) -> np.ndarray:
    """(3, frames, V, 1) float32: centred, resized, shoulders along x; unsure joints interpolated.

    whole: one centre, one turn for the whole clip, which keeps steps, jumps and turns, and the mean bone as unit.
    """
    joints = joints_TVC.astype(np.float64)[..., _UP[up_axis]]
    if joints.shape[1] != layout.count:
        raise KinoscopeError(
            "wrong number of joints", field="joints", value=joints.shape[1], remedy=f"{layout.count}"
        )
    good = np.isfinite(joints).all(2)
    good = good if sure_TV is None else good & sure_TV
    if not good.all():
        joints = _interpolated(joints, np.asarray(good))
    x = joints.transpose(2, 0, 1)[..., None]
    if whole:
        x = resize(x - x[:, :, layout.centre].mean(1)[:, None, None], x.shape[1], frames)
        return _upright(x, layout).astype(np.float32)
    x = resize(x - x[:, :, layout.centre : layout.centre + 1], x.shape[1], frames)
    return face_camera(x, layout).astype(np.float32)


def _upright(x_CTVM: np.ndarray, layout: Layout) -> np.ndarray:
    """Turned about the vertical by the mean shoulder line, and divided by the mean length of its bones."""
    left, right = layout.shoulders
    line = (x_CTVM[:, :, right] - x_CTVM[:, :, left]).mean((1, 2))
    length = max(float(np.hypot(line[0], line[2])), 1e-9)
    cos, sin = line[0] / length, line[2] / length
    x, y, z = x_CTVM
    children, parents = map(list, zip(*layout.links, strict=True))
    bone = np.linalg.norm(x_CTVM[:, :, children] - x_CTVM[:, :, parents], axis=0).mean()
    return np.stack([cos * x + sin * z, y, cos * z - sin * x]) / max(float(bone), 1e-9)


def _interpolated(joints_TVC: np.ndarray, good_TV: np.ndarray) -> np.ndarray:
    out, time = joints_TVC.copy(), np.arange(len(joints_TVC))
    seen = good_TV.any(0)
    if not seen.any():
        raise KinoscopeError("no joint is sure in any frame", field="joints")
    for joint in range(joints_TVC.shape[1]):
        good = good_TV[:, joint]
        for axis in range(3):
            values = joints_TVC[good, joint, axis]
            out[:, joint, axis] = np.interp(time, time[good], values) if len(values) else np.nan
    middle = np.nanmean(out, axis=1, keepdims=True)  # a joint that is never seen rests in the middle
    return np.where(np.isnan(out), middle, out)


@dataclass
class Views:
    """Training samples: clips with the views drawn for them."""

    clips: Clips
    kinds: tuple[str, ...]  # one entry a view: "" normal, digits extreme
    augment: Augmentation | None  # null: the clips as they are

    def __len__(self) -> int:
        return len(self.clips)

    def draw(self, index: int, generator: np.random.Generator) -> Any:
        x, a = self.clips.x[index], self.augment
        if a is None:
            return x, [View() for _ in self.kinds], int(self.clips.labels[index])
        views, source = [], OneGenerator(generator)
        for kind in self.kinds:
            view = draw_view(source, x.shape, shear=a.shear, padding_ratio=a.padding_ratio, extreme=kind)
            draw_gentle(
                view,
                source,
                x.shape,
                rotation=a.rotation,
                scale=a.scale,
                tempo=a.tempo,
                jitter=a.jitter,
                limbs=a.limbs,
                links=len(self.clips.layout.links),
                posture=a.posture,
                hide=a.hide,
                withhold=a.withhold,
            )
            views.append(view)
        return x, views, int(self.clips.labels[index])
