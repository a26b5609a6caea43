"""Pixel transforms (S-GEAR specification 9.5), drawing from the generators that they are given.

Kept from the official code: the colour jitter, off in every recipe, still draws one permutation and truncates the
training frames to 8 bits.

Shapes: T frames, H, W their size, S the crop.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PixelSettings:
    """scale_h: side of the shorter edge, or its range "min-max" in training; scale_w: -1, or the exact width.

    crop_size: S. mean, std: of each channel, after pixels in 0..1 were multiplied by scale_pix_val.
    """

    scale_h: int | str
    crop_size: int
    scale_w: int = -1
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    scale_pix_val: float = 1.0
    reverse_channels: bool = False
    flip_p: float = 0.5
    eval_num_crops: int = 3
    eval_flip_crops: bool = False


def to_float(clip_THW3: Tensor) -> Tensor:
    """uint8 (T, H, W, 3) to float (3, T, H, W) in 0..1."""
    return clip_THW3.permute(3, 0, 1, 2).float() / 255


def resize(clip_3THW: Tensor, short: int, width: int = -1) -> Tensor:
    """Bilinear, without antialiasing; the shorter side becomes `short`, or the size (short, width)."""
    height, old_width = clip_3THW.shape[-2:]
    size = (short, width)
    if width <= 0:
        scale = short / min(height, old_width)
        size = (max(int(height * scale), short), max(int(old_width * scale), short))
    return F.interpolate(clip_3THW, size, mode="bilinear", align_corners=False)


def quantise(clip_3THW: Tensor, generator: torch.Generator | None) -> Tensor:
    """What an idle colour jitter does: one permutation drawn, pixels truncated to 8 bits."""
    torch.randperm(4, generator=generator)
    return (clip_3THW * 255).to(torch.uint8).float() / 255


def normalise(clip_3THW: Tensor, settings: PixelSettings) -> Tensor:
    """Pixels times scale_pix_val, channels reversed where asked, less the mean, over the deviation."""
    clip = clip_3THW * settings.scale_pix_val
    if settings.reverse_channels:
        clip = clip.flip(0)
    mean, std = (torch.tensor(values).view(-1, 1, 1, 1) for values in (settings.mean, settings.std))
    return (clip - mean) / std


def random_crop(clip_3THW: Tensor, size: int, generator: torch.Generator | None) -> Tensor:
    """The same S x S part of all frames; ValueError where a frame is smaller."""
    height, width = clip_3THW.shape[-2:]
    if min(height, width) < size:
        raise ValueError(f"frames of {height} x {width} pixels hold no crop of {size}")
    if (height, width) == (size, size):
        return clip_3THW
    top = int(torch.randint(0, height - size + 1, (1,), generator=generator))
    left = int(torch.randint(0, width - size + 1, (1,), generator=generator))
    return clip_3THW[..., top : top + size, left : left + size]


def random_short_side(scale: int | str, generator: random.Random) -> int:
    """The shorter side of this clip: fixed, or drawn from "min-max"."""
    low, dash, high = str(scale).partition("-")
    return generator.randint(int(low), int(high)) if dash else int(low)


def train_transform(
    clip_THW3: Tensor, settings: PixelSettings, python: random.Random, generator: torch.Generator | None
) -> dict[str, Tensor]:
    """Every step of the training transform by name; `cropped` (3, T, S, S) is the result."""
    short = random_short_side(settings.scale_h, python)
    resized = resize(to_float(clip_THW3), short, settings.scale_w)
    flipped = resized.flip(-1) if python.random() < settings.flip_p else resized
    jittered = quantise(flipped, generator)
    cropped = random_crop(jittered, settings.crop_size, generator)  # commutes with the normalisation
    return {
        "resized": resized,
        "flipped": flipped,
        "jittered": jittered,
        "cropped": normalise(cropped, settings),
    }


def eval_crops(clip_3THW: Tensor, size: int, crops: int, flips: bool = False) -> Tensor:
    """(crops, 3, T, S, S): the centre, or top left, centre and bottom right; then their mirror images."""
    height, width = clip_3THW.shape[-2:]
    if min(height, width) < size:
        raise ValueError(f"frames of {height} x {width} pixels hold no crop of {size}")
    centre = (round((height - size) / 2), round((width - size) / 2))
    corners = {1: [centre], 3: [(0, 0), centre, (height - size, width - size)]}
    if crops not in corners:
        raise ValueError(f"{crops} crops; there are 1 or 3")
    out = torch.stack([clip_3THW[..., t : t + size, u : u + size] for t, u in corners[crops]])
    return torch.cat((out, out.flip(-1))) if flips else out


def eval_transform(clip_THW3: Tensor, settings: PixelSettings) -> tuple[Tensor, Tensor]:
    """Crops (crops, 3, T, S, S) of a clip, and the resized clip."""
    resized = resize(to_float(clip_THW3), int(settings.scale_h), settings.scale_w)
    crops = eval_crops(
        normalise(resized, settings), settings.crop_size, settings.eval_num_crops, settings.eval_flip_crops
    )
    return crops, resized
