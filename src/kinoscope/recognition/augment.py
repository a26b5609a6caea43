"""Transforms of the frames of one clip: one draw for all of them (specification 7.5).

Shapes: T frames, S side of the network's input. Images are PIL images, RGB; a clip is [T, 3, S, S] float32.

What differs from the official code:
1. Random choices come from the generator that is given (`random.Random`), in the official order.
2. Scaling to [0, 1] and normalisation are one table look-up per channel, straight into the clip's memory.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SCALES = (1.0, 0.875, 0.75, 0.66)
BILINEAR = Image.Resampling.BILINEAR


def scale_size(size: int) -> int:
    """Shorter side before the central crop."""
    return size * 256 // 224


def crop_pairs(width: int, height: int, size: int) -> list[tuple[int, int]]:
    """The (width, height) that the multi-scale crop chooses from: neighbouring scales of the shorter side."""
    sides = [int(min(width, height) * s) for s in SCALES]
    sides = [size if abs(side - size) < 3 else side for side in sides]
    return [(w, h) for i, h in enumerate(sides) for j, w in enumerate(sides) if abs(i - j) <= 1]


def crop_offsets(width: int, height: int, crop_width: int, crop_height: int) -> list[tuple[int, int]]:
    """The 13 (x, y) places of a crop: corners, edges, centre, and the quarters between."""
    dx, dy = (width - crop_width) // 4, (height - crop_height) // 4
    at = [
        (0, 0),
        (4, 0),
        (0, 4),
        (4, 4),
        (2, 2),
        (0, 2),
        (4, 2),
        (2, 4),
        (2, 0),
        (1, 1),
        (3, 1),
        (1, 3),
        (3, 3),
    ]
    return [(x * dx, y * dy) for x, y in at]


def multi_scale_crop(
    images: Sequence[Image.Image], size: int, pair: tuple[int, int], offset: tuple[int, int]
) -> list[Image.Image]:
    """The same crop of all images, resized to size x size."""
    (w, h), (x, y) = pair, offset
    return [image.crop((x, y, x + w, y + h)).resize((size, size), BILINEAR) for image in images]


def train_clip(images: Sequence[Image.Image], size: int, draws: random.Random, flip: bool = True) -> Tensor:
    """Training: multi-scale crop, then a flip with probability 1/2 (not for Something-Something)."""
    pair = draws.choice(crop_pairs(*images[0].size, size))
    offset = draws.choice(crop_offsets(*images[0].size, *pair))
    cropped = multi_scale_crop(images, size, pair, offset)
    return to_clip(cropped, flipped=flip and draws.random() < 0.5)


def val_clip(images: Sequence[Image.Image], size: int) -> Tensor:
    """Validation: shorter side to 256 (for 224), central crop."""
    return to_clip([central_crop(image, size) for image in images])


def central_crop(image: Image.Image, size: int) -> Image.Image:
    """Shorter side to `scale_size(size)`, then the central size x size."""
    width, height = image.size
    short = scale_size(size)
    if width <= height:
        new = (short, int(short * height / width))
    else:
        new = (int(short * width / height), short)
    resized = image if image.size == new else image.resize(new, BILINEAR)
    left, top = round((new[0] - size) / 2.0), round((new[1] - size) / 2.0)
    return resized.crop((left, top, left + size, top + size))


def whole_clip(images: Sequence[Image.Image], size: int, flipped: bool = False) -> Tensor:
    """All of every frame, the shorter side brought to `size` pixels."""
    width, height = images[0].size
    scale = size / min(width, height)
    new = (max(round(width * scale), size), max(round(height * scale), size))
    return to_clip([image if image.size == new else image.resize(new, BILINEAR) for image in images], flipped)


@cache
def _table() -> np.ndarray:
    """Normalised value of every channel and byte: [3, 256] float32, computed in the official order."""
    byte = torch.arange(256, dtype=torch.float32).div(255)
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return ((byte[None] - mean[:, None]) / std[:, None]).numpy()


def to_clip(images: Sequence[Image.Image], flipped: bool = False) -> Tensor:
    """Normalised clip [T, 3, H, W] of RGB images of one size; `flipped`: left and right exchanged."""
    width, height = images[0].size
    table = _table()
    out = np.empty((len(images), 3, height, width), np.float32)
    for t, image in enumerate(images):
        pixels = np.asarray(image)
        pixels = pixels[:, ::-1] if flipped else pixels
        for c in range(3):
            np.take(table[c], pixels[..., c], out=out[t, c], mode="clip")
    return torch.from_numpy(out)


def draws_from(generator: np.random.Generator) -> random.Random:
    """A `random.Random` seeded from a numpy generator."""
    return random.Random(int(generator.integers(2**63)))
