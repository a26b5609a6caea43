"""Spatial changes of video clips (CARL, section 5): one draw of parameters holds for all frames of a clip.

Shapes: clips (T, 3, H, W) float in 0 .. 1. Colour changes are those of 8-bit frames in Pillow, as in the official code.
Different from it: all draws come from the source that is given; a centre crop of a frame smaller than the crop takes
what there is (quirk 16), and the resize that follows brings it to size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kinoscope.errors import KinoscopeError
from kinoscope.representation.colours import JITTERS, jitter
from kinoscope.representation.sampling import Draws

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Box = tuple[int, int, int, int]  # top, left, height, width
Change = Callable[[Tensor], Tensor]
Stage = tuple[str, Change]


# -- geometry ---------------------------------------------------------------------------------------------------


def resize(clip: Tensor, size: int) -> Tensor:
    """To size x size, bilinear without antialiasing; the aspect ratio is lost."""
    if clip.shape[-2:] == (size, size):
        return clip
    return F.interpolate(clip, size=(size, size), mode="bilinear", align_corners=False)


def uniform_crop(clip: Tensor, size: int, place: Literal[0, 1, 2] = 1) -> Tensor:
    """A square at the start (0), the centre (1) or the end (2) of the longer side, in the middle of the other."""
    height, width = clip.shape[-2:]
    top, left = max(math.ceil((height - size) / 2), 0), max(math.ceil((width - size) / 2), 0)
    if place != 1:
        if height > width:
            top = 0 if place == 0 else max(height - size, 0)
        else:
            left = 0 if place == 0 else max(width - size, 0)
    return clip[..., top : top + size, left : left + size]


def crop_box(
    height: int,
    width: int,
    draws: Draws,
    scale: tuple[float, float] = (0.8, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Box:
    """A random box by share of the area and aspect ratio; after ten vain tries the largest central one."""
    for _ in range(10):
        area = draws.uniform(*scale) * height * width
        aspect = math.exp(draws.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = int(draws.integers(0, height - h + 1))
            return top, int(draws.integers(0, width - w + 1)), h, w
    h, w = height, width
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return (height - h) // 2, (width - w) // 2, h, w


def resized_crop(clip: Tensor, box: Box, size: int) -> Tensor:
    top, left, height, width = box
    return F.interpolate(
        clip[..., top : top + height, left : left + width],
        size=(size, size),
        mode="bilinear",
        align_corners=False,
    )


def flip(clip: Tensor) -> Tensor:
    return clip.flip(-1)


def normalize(clip: Tensor) -> Tensor:
    """By mean and deviation of ImageNet."""
    mean, std = (clip.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (clip - mean) / std


def grayscale(clip: Tensor) -> Tensor:
    """0.299 R + 0.587 G + 0.114 B in all channels."""
    grey = 0.299 * clip[:, 0] + 0.587 * clip[:, 1] + 0.114 * clip[:, 2]
    return grey[:, None].expand_as(clip)


@dataclass(frozen=True)
class ImageAugment:
    """Random changes of training clips.

    `contrastive` is the published pipeline of two views: crop, flip, jitter of all colours with blur, grey.
    `supervised` is that of TCC, TCN and classification: the colours that have a `delta`, crop, flip; without crop the
    whole frame is squashed. size: of the square result. blur_probability: 0 for FineGym. deltas: of brightness,
    contrast, hue, saturation (supervised); 0: unchanged.
    """

    size: int = 224
    kind: Literal["contrastive", "supervised"] = "contrastive"
    strength: float = 1.0
    blur_probability: float = 0.5
    blurs: int = 4
    crop: bool = True
    flip: bool = True
    deltas: tuple[float, float, float, float] = (32 / 255, 0.5, 0.0, 0.0)

    def __call__(self, clip: Tensor, draws: Draws) -> Tensor:
        """One view (T, 3, size, size), normalised. Frame by frame, so that a frame stays in the processor's cache."""
        changes = self.stages(draws)
        out = clip.new_empty(len(clip), 3, self.size, self.size)
        for frame, place in zip(clip.split(1), out.split(1), strict=True):
            for _, change in changes:
                frame = change(frame)
            place.copy_(frame)
        return out

    def stages(self, draws: Draws) -> list[Stage]:
        """The changes in order, by name; each makes its draws on its first call and keeps to them."""
        if self.kind == "contrastive":
            first: list[Stage] = [
                ("crop", self._crop(draws)),
                ("flip", _chosen(draws, 0.5, flip)),
                ("jitter", self._jitter(draws)),
                ("grayscale", _chosen(draws, 0.2, grayscale)),
            ]
        else:
            names = ("brightness", "contrast", "hue", "saturation")
            first = [
                (name, _single(draws, name, delta))
                for name, delta in zip(names, self.deltas, strict=True)
                if delta
            ]
            if self.crop:
                first.append(("crop", self._crop(draws)))
            if self.flip:
                first.append(("flip", _chosen(draws, 0.5, flip)))
        return [*first, ("resize", lambda clip: resize(clip, self.size)), ("normalize", normalize)]

    def _crop(self, draws: Draws) -> Change:
        @cache
        def box(height: int, width: int) -> Box:
            return crop_box(height, width, draws)

        return lambda clip: resized_crop(clip, box(*clip.shape[-2:]), self.size)

    def _jitter(self, draws: Draws) -> Change:
        @cache
        def drawn() -> tuple[list[tuple[str, float]], float | None] | None:
            if draws.uniform(0, 1) >= 0.8:
                return None
            order, spread = draws.permutation(4), (0.8, 0.8, 0.8, 0.2)
            values = [
                draws.uniform(-s * self.strength, s * self.strength) + (name != "hue")
                for name, s in zip(JITTERS, spread, strict=True)
            ]
            radius = None
            if self.blur_probability:
                radius = draws.uniform(0.1, 2.0)
                radius = radius if draws.uniform(0, 1) < self.blur_probability * self.strength else None
            return [(JITTERS[k], values[k]) for k in order], radius

        def change(clip: Tensor) -> Tensor:
            found = drawn()
            return clip if found is None else jitter(clip, *found, blurs=self.blurs)

        return change


def _chosen(draws: Draws, probability: float, change: Change) -> Change:
    """`change` with that probability, or none."""
    taken = cache(lambda: draws.uniform(0, 1) < probability)
    return lambda clip: change(clip) if taken() else clip


def _single(draws: Draws, name: str, delta: float) -> Change:
    value = cache(lambda: draws.uniform(-delta, delta) + (name != "hue"))
    return lambda clip: jitter(clip, [(name, value())])


def evaluation_stages(size: int, centre_crop: bool = True) -> list[Stage]:
    """What a clip goes through in evaluation, by name.

    centre_crop: of `size` pixels from the frame as it is, as the official code does where RANDOM_CROP is set (quirk
    15); otherwise the whole frame is squashed.
    """
    crop: list[Stage] = [("crop", lambda clip: uniform_crop(clip, size))] if centre_crop else []
    return [*crop, ("resize", lambda clip: resize(clip, size)), ("normalize", normalize)]


@dataclass(frozen=True)
class VideoItem:
    """All frames of a video for embedding: video (n, 3, S, S), labels (n,), steps (n,) their numbers, mask of ones."""

    video: Tensor
    labels: np.ndarray
    steps: np.ndarray
    mask: np.ndarray


def evaluation_item(
    frames: np.ndarray, labels: np.ndarray | None, size: int, centre_crop: bool = True, stride: int = 1
) -> VideoItem:
    """The item of a decoded video: (T, H, W, 3) uint8 and its (T,) labels, every `stride`-th frame.

    Raises KinoscopeError for labels of another length, or no frame.
    """
    if not len(frames):
        raise KinoscopeError("this video has no frames", remedy="leave it out")
    if labels is None:
        labels = np.full(len(frames), -1)
    if len(labels) != len(frames):
        raise KinoscopeError(
            "the video has labels of another length",
            field="labels",
            value=len(labels),
            remedy=f"give {len(frames)} labels, one a frame",
        )
    steps = np.arange(0, len(frames), stride)
    clip = torch.from_numpy(np.ascontiguousarray(frames[steps])).permute(0, 3, 1, 2).float() / 255
    for _, change in evaluation_stages(size, centre_crop):
        clip = change(clip)
    return VideoItem(clip, np.asarray(labels)[steps], steps, np.ones(len(steps), np.float32))
