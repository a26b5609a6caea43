"""From official layouts, or the user's videos, to clips.

What differs from the official code:
1. A frame that cannot be read costs its video, with a message; it is not replaced by the first frame.
2. Videos are read directly: chosen frames alone are turned into images.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from kinoscope.errors import KinoscopeError
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.recognition import sampling
from kinoscope.recognition.augment import draws_from, to_clip, train_clip, val_clip, whole_clip
from kinoscope.recognition.figures import Scene, close_ups, scenes
from kinoscope.recognition.settings import FramesData, MotionsData, RecognitionSettings, VideosData
from kinoscope.recognition.splits import LAYOUTS, Layout, Record, class_names, read_split

OWN_IMAGE = "image_{:05d}.jpg"  # frames of own split files, as in the published layouts
VIDEOS = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v")


@dataclass(frozen=True)
class Entry:
    """A video: a file, a folder of frames or a scene to draw, its number of frames where known, its classes."""

    path: Path
    labels: tuple[int, ...]
    frames: int = 0
    image: str = ""
    scene: Scene | None = None
    figure_height: int = 0


@dataclass(frozen=True)
class Clip:
    """Frames [T, 3, S, S] of one video, and its classes."""

    frames: Tensor
    labels: tuple[int, ...]
    name: str
    boxes: np.ndarray | None = None  # of a drawn figure [T, 4]: top, left, bottom, right, pixels


@dataclass(frozen=True)
class Source:
    """All videos of a recipe."""

    classes: list[str]
    train: list[Entry]
    test: list[Entry]
    all_labels: bool = False
    metric: str = "mAP"


def read_images(entry: Entry, indices: Sequence[int]) -> list[Image.Image]:
    """The frames at 1-based indices, RGB. Raises KinoscopeError for a missing or unreadable one."""
    if entry.image:
        return [_read_image(entry.path / entry.image.format(i)) for i in indices]
    import av

    wanted = {int(i) - 1 for i in indices}
    found: dict[int, Image.Image] = {}
    try:
        with av.open(str(entry.path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number in wanted:
                    found[number] = frame.to_image()
                    if len(found) == len(wanted):
                        break
    except (av.FFmpegError, OSError, IndexError) as error:
        raise KinoscopeError("this video cannot be read", file=entry.path, value=str(error)) from error
    if len(found) < len(wanted):
        raise KinoscopeError("this video ends before its last frame", file=entry.path, value=len(found))
    return [found[int(i) - 1] for i in indices]


def _read_image(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise KinoscopeError(
            "this frame is missing", file=file, remedy="extract the frames again at the native rate"
        ) from error
    except OSError as error:
        raise KinoscopeError("this frame is no readable image", file=file, value=str(error)) from error


def count_frames(entry: Entry) -> int:
    """Frames of a video: what its record says, or its packets."""
    if entry.frames:
        return entry.frames
    import av

    try:
        with av.open(str(entry.path)) as container:
            count = sum(packet.size > 0 for packet in container.demux(video=0))
    except (av.FFmpegError, OSError, IndexError) as error:
        raise KinoscopeError("this video cannot be read", file=entry.path, value=str(error)) from error
    if not count:
        raise KinoscopeError("this video has no frame", file=entry.path)
    return count


class Clips:
    """Samples of the engine: `draw` for training, `exact` for validation.

    whole: nothing of a frame is cut away. close: drawn figures fill frames of this side, in pixels.
    """

    def __init__(
        self, entries: list[Entry], segments: int, size: int, whole: bool = False, close: int | None = None
    ) -> None:
        self.entries, self.segments, self.size, self.whole, self.close = entries, segments, size, whole, close

    def __len__(self) -> int:
        return len(self.entries)

    def draw(self, index: int, generator: np.random.Generator) -> Clip:
        entry = self.entries[index]
        chosen = sampling.train_indices(count_frames(entry), self.segments, generator)
        if entry.scene is not None:  # another place and other clutter each time
            return self._scene(entry, chosen, generator)
        images = read_images(entry, chosen.tolist())
        if self.whole:
            frames = whole_clip(images, self.size, flipped=bool(generator.random() < 0.5))
        else:
            frames = train_clip(images, self.size, draws_from(generator))
        return Clip(frames, entry.labels, entry.path.name)

    def exact(self, index: int, flipped: bool = False) -> Clip:
        """The clip as validation sees it; flipped: left and right exchanged."""
        entry = self.entries[index]
        chosen = sampling.val_indices(count_frames(entry), self.segments)
        if entry.scene is not None:
            return self._scene(entry, chosen, None)
        images = read_images(entry, chosen.tolist())
        frames = whole_clip(images, self.size) if self.whole else val_clip(images, self.size)
        return Clip(frames.flip(-1) if flipped else frames, entry.labels, entry.path.name)

    def _scene(self, entry: Entry, chosen: np.ndarray, generator: np.random.Generator | None) -> Clip:
        assert entry.scene is not None
        frames = [int(i) - 1 for i in chosen]
        images, boxes = entry.scene.render(frames, self.size, entry.figure_height, generator)
        if self.close is not None:
            images, boxes = close_ups(images, boxes, self.close, generator)
        return Clip(to_clip(images), entry.labels, entry.path.name, boxes)


class TwoSets(Clips):
    """Something-Something: frames for the glancer, then frames for the focuser, sampled and cropped apart; no flip."""

    def __init__(self, entries: list[Entry], segments: tuple[int, int], size: int) -> None:
        super().__init__(entries, sum(segments), size)
        self.sets = segments

    def draw(self, index: int, generator: np.random.Generator) -> Clip:
        entry = self.entries[index]
        count = count_frames(entry)
        chosen = [sampling.sth_train_indices(count, segments, generator) for segments in self.sets]
        draws = draws_from(generator)
        parts = [train_clip(read_images(entry, c.tolist()), self.size, draws, flip=False) for c in chosen]
        return Clip(torch.cat(parts), entry.labels, entry.path.name)

    def exact(self, index: int, flipped: bool = False) -> Clip:
        entry = self.entries[index]
        count = count_frames(entry)
        chosen = np.concatenate([sampling.sth_val_indices(count, segments) for segments in self.sets])
        frames = val_clip(read_images(entry, chosen.tolist()), self.size)
        return Clip(frames.flip(-1) if flipped else frames, entry.labels, entry.path.name)


def collate(clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """Frames [B, T, 3, S, S] and the first label of each clip [B]. Whole frames of several shapes get black edges."""
    height, width = (max(c.frames.shape[axis] for c in clips) for axis in (-2, -1))
    frames = [F.pad(c.frames, (0, width - c.frames.shape[-1], 0, height - c.frames.shape[-2])) for c in clips]
    return torch.stack(frames), torch.tensor([c.labels[0] for c in clips])


def open_source(settings: RecognitionSettings) -> Source:
    """The videos that a recipe names."""
    data = settings.data
    if isinstance(data, FramesData):
        return _frames(data)
    return _motions(data) if isinstance(data, MotionsData) else _videos(data)


def _frames(data: FramesData) -> Source:
    layout = LAYOUTS[data.dataset]
    root = Path(data.data_dir) / layout.folder
    if not data.data_dir:
        raise KinoscopeError("where is the data set?", field="data.data_dir", remedy="data.data_dir=FOLDER")
    names = class_names(root / layout.classes)
    videos = {p.stem: p for p in root.glob("videos/*") if p.suffix.lower() in VIDEOS}
    train, test = (
        [_record(r, root, layout, videos) for r in read_split(root / file, layout.separator, len(names))]
        for file in (layout.train, layout.test)
    )
    count = int(len(test) * data.partial_ratio)
    return Source(names, train, test[:count], layout.all_labels, layout.task)


def _record(record: Record, root: Path, layout: Layout, videos: dict[str, Path]) -> Entry:
    """A record's frames, or its video in `videos` where there are none; the frames of a video are counted anew."""
    folder = root / layout.frames / record.name
    video = videos.get(record.name) or videos.get(Path(record.name).stem)
    if video is not None and not folder.is_dir():
        return Entry(video, record.labels)
    return Entry(folder, record.labels, record.frames, layout.image)


def _motions(data: MotionsData) -> Source:
    train, test = SkeletonFile.load(data.file).split(data.test_subjects)
    if train.label is None:
        raise KinoscopeError("the sequences of this file carry no labels", file=data.file, field="label")
    heights = data.figure_height
    names = list(data.classes or train.label_names)
    if unknown := set(names) - set(train.label_names):
        raise KinoscopeError(
            "the file has no such label",
            field="data.classes",
            value=unknown.pop(),
            remedy=f"some of {list(train.label_names)}",
        )
    training, testing = (
        _drawn(part, names, copies, heights) for part, copies in ((train, 1), (test, data.copies))
    )
    return Source(names, training, testing, metric="top1")


def _drawn(file: SkeletonFile, names: list[str], copies: int, height: int) -> list[Entry]:
    return [
        Entry(
            Path(f"{scene.motion.name}_{scene.seed}"),
            (names.index(file.label_names[scene.motion.label or 0]),),
            len(scene.motion.joints),
            scene=scene,
            figure_height=height,
        )
        for scene in scenes(file, copies)
        if file.label_names[scene.motion.label or 0] in names
    ]


def _videos(data: VideosData) -> Source:
    if not data.train:
        raise KinoscopeError("where are the videos?", field="data.train", remedy="data.train=FOLDER or CSV")
    train = list_videos(Path(data.train))
    test = list_videos(Path(data.test)) if data.test else []
    names = sorted({video.label for video in train})
    index = {name: i for i, name in enumerate(names)}
    if unknown := sorted({video.label for video in test} - set(names)):
        raise KinoscopeError(
            "a class of the test videos has no training video", field="data.test", value=unknown[0]
        )
    training, testing = ([v.entry(index[v.label]) for v in part] for part in (train, test))
    return Source(names, training, testing, metric="top1")


@dataclass(frozen=True)
class Named:
    """A line of a list: a video, or a folder with its number of frames, and the class."""

    path: Path
    label: str
    frames: int = 0

    def entry(self, number: int) -> Entry:
        if self.frames and self.path.suffix.lower() not in VIDEOS:
            return Entry(self.path, (number,), self.frames, OWN_IMAGE)
        return Entry(self.path, (number,))


def list_videos(where: Path) -> list[Named]:
    """Videos of a folder with a folder for every class, or of a CSV file `path,class` or `name,frames,class`.

    The latter's names are folders of `image_00001.jpg` and so on, relative to the file.
    """
    if where.is_dir():
        found = [Named(p, p.parent.name) for p in sorted(where.glob("*/*")) if p.suffix.lower() in VIDEOS]
    elif where.is_file():
        with where.open(newline="", encoding="utf-8") as lines:
            rows = [row for row in csv.reader(lines) if row]
        if rows and rows[0] in (["path", "class"], ["name", "frames", "class"]):
            rows = rows[1:]
        found = [_named(row, where) for row in rows]
    else:
        raise KinoscopeError("there is no such folder or CSV file", file=where, field="data")
    if not found:
        raise KinoscopeError("there is no video here", file=where, remedy="one folder a class, videos inside")
    return found


def _named(row: list[str], where: Path) -> Named:
    line = ",".join(row)
    if len(row) == 2:
        return Named(where.parent / row[0], row[1])
    if len(row) != 3:
        raise KinoscopeError("a line is not `path,class` or `name,frames,class`", file=where, value=line)
    if not row[1].strip().isdigit() or not int(row[1]):
        raise KinoscopeError("the number of frames is none", file=where, field="frames", value=line)
    return Named(where.parent / row[0], row[2], int(row[1]))
