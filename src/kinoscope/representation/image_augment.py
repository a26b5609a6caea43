"""Spatial changes of video clips (CARL, section 5): one draw of parameters holds for all frames of a clip.

Shapes: clips (T, 3, H, W) float in 0 .. 1. Colour changes run on 8-bit frames through Pillow, as in the official code.
Different from it: all draws come from the source that is given; a centre crop of a frame smaller than the crop takes
what there is (quirk 16), and the resize that follows brings it to size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kinoscope.errors import KinoscopeError
from kinoscope.representation.sampling import Draws

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Box = tuple[int, int, int, int]  # top, left, height, width
Stage = tuple[str, Callable[[Tensor], Tensor]]
JITTERS = ("brightness", "contrast", "saturation", "hue")  # in the numbering of the drawn permutation


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


# -- colours ------------------------------------------------------------------------------------------------------


def jitter(
    clip: Tensor, changes: list[tuple[str, float]], blur_radius: float | None = None, blurs: int = 4
) -> Tensor:
    """8-bit changes in their order: (brightness | contrast | saturation, factor) or (hue, shift of the circle).

    blur_radius: a Gaussian blur of this radius follows each of the first `blurs` changes; the official code blurs after
    all four, a plausible slip that the published models were trained with (quirk 12). None: no blur.
    """
    from PIL import Image, ImageFilter

    frames = (clip * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    out = np.empty_like(frames)
    blur = None if blur_radius is None else ImageFilter.GaussianBlur(radius=blur_radius)
    for index, frame in enumerate(frames):
        image = Image.fromarray(frame)
        for number, (name, value) in enumerate(changes):
            image = _changed(image, name, value)
            if blur is not None and number < blurs:
                image = image.filter(blur)
        out[index] = np.asarray(image)
    return torch.from_numpy(out).permute(0, 3, 1, 2).to(torch.float32) / 255


def _changed(image, name: str, value: float):  # type: ignore[no-untyped-def]  # Pillow is imported where it is used
    from PIL import Image, ImageEnhance

    if name == "hue":
        hue, saturation, brightness = image.convert("HSV").split()
        shift = int(value * 255) % 256
        turned = Image.fromarray(np.asarray(hue) + np.uint8(shift))
        return Image.merge("HSV", (turned, saturation, brightness)).convert("RGB")
    kinds = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "saturation": ImageEnhance.Color,
    }
    return kinds[name](image).enhance(value)


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
        """One view (T, 3, size, size), normalised."""
        for _, change in self.stages(draws):
            clip = change(clip)
        return clip

    def stages(self, draws: Draws) -> list[Stage]:
        """The changes in order, by name; each makes its draws when it is called."""
        if self.kind == "contrastive":
            first: list[Stage] = [
                ("crop", lambda clip: self._cropped(clip, draws)),
                ("flip", lambda clip: self._flipped(clip, draws)),
                ("jitter", lambda clip: self._jittered(clip, draws)),
                ("grayscale", lambda clip: grayscale(clip) if draws.uniform(0, 1) < 0.2 else clip),
            ]
        else:
            names = ("brightness", "contrast", "hue", "saturation")
            first = [
                (name, lambda clip, name=name, delta=delta: _single(clip, name, delta, draws))  # type: ignore[misc]
                for name, delta in zip(names, self.deltas, strict=True)
                if delta
            ]
            if self.crop:
                first.append(("crop", lambda clip: self._cropped(clip, draws)))
            if self.flip:
                first.append(("flip", lambda clip: self._flipped(clip, draws)))
        return [*first, ("resize", lambda clip: resize(clip, self.size)), ("normalize", normalize)]

    def _cropped(self, clip: Tensor, draws: Draws) -> Tensor:
        height, width = clip.shape[-2:]
        return resized_crop(clip, crop_box(height, width, draws), self.size)

    @staticmethod
    def _flipped(clip: Tensor, draws: Draws) -> Tensor:
        return flip(clip) if draws.uniform(0, 1) < 0.5 else clip

    def _jittered(self, clip: Tensor, draws: Draws) -> Tensor:
        if draws.uniform(0, 1) >= 0.8:
            return clip
        order = draws.permutation(4)
        spread = (0.8 * self.strength, 0.8 * self.strength, 0.8 * self.strength, 0.2 * self.strength)
        values = [draws.uniform(-s, s) + (name != "hue") for name, s in zip(JITTERS, spread, strict=True)]
        radius = None
        if self.blur_probability:
            drawn = draws.uniform(0.1, 2.0)
            radius = drawn if draws.uniform(0, 1) < self.blur_probability * self.strength else None
        return jitter(clip, [(JITTERS[k], values[k]) for k in order], radius, self.blurs)


def _single(clip: Tensor, name: str, delta: float, draws: Draws) -> Tensor:
    value = draws.uniform(-delta, delta)
    return jitter(clip, [(name, value if name == "hue" else 1 + value)])


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
