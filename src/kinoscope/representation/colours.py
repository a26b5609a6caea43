"""Changes of colour on whole numbers 0 .. 255, the arithmetic of Pillow's 8-bit images to the bit (CARL, section 5.1).

Tensors (N, 3, H, W) float32 hold whole numbers. Pillow truncates what it blends and takes grey from 16-bit weights;
so does this, without the detour over images. The turn of the hue and the blur are Pillow's own.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

JITTERS = ("brightness", "contrast", "saturation", "hue")  # in the numbering of the drawn permutation


def grey_levels(x: Tensor) -> Tensor:
    """(N, 1, H, W) Pillow's mode L: (19595 R + 38470 G + 7471 B + 32768) >> 16, which float32 holds exactly."""
    total = x[:, 0:1] * 19595
    total.add_(x[:, 1:2], alpha=38470).add_(x[:, 2:3], alpha=7471).add_(32768)
    return total.div_(65536).floor_()


def _blend(x: Tensor, towards: Tensor, factor: float) -> Tensor:
    """From `towards` (factor 0) to x (factor 1) and beyond, cut to 0 .. 255 and truncated."""
    return (x - towards).mul_(factor).add_(towards).clamp_(0, 255).floor_()


def changed(x: Tensor, name: str, value: float) -> Tensor:
    """One of JITTERS; value: a factor, or the share of the circle that the hue turns by."""
    if name == "brightness":
        return (x * value).clamp_(0, 255).floor_()
    if name == "contrast":  # about the rounded mean of each frame's grey
        mean = grey_levels(x).mean((1, 2, 3), keepdim=True, dtype=torch.float64)
        return _blend(x, mean.add_(0.5).floor_().to(x.dtype), value)
    if name == "saturation":
        return _blend(x, grey_levels(x), value)
    return hue(x, value)


def hue(x: Tensor, share: float) -> Tensor:
    """The hue turned in steps of 1/256 of the circle, by `int(share * 255)` of them."""
    from PIL import Image

    count, _, height, width = x.shape
    planes = x.transpose(0, 1).to(torch.uint8).contiguous().cpu().numpy().reshape(3, count * height, width)
    image = Image.merge("RGB", [Image.fromarray(plane) for plane in planes]).convert("HSV")
    turned = [(level + int(share * 255)) % 256 for level in range(256)] + 2 * list(range(256))
    bands = [np.array(band) for band in image.point(turned).convert("RGB").split()]
    out = torch.from_numpy(np.stack(bands)).to(x.device).view(3, count, height, width)
    return out.transpose(0, 1).to(x.dtype)


def blurred(x: Tensor, radius: float) -> Tensor:
    """A Gaussian blur of every frame."""
    from PIL import Image, ImageFilter

    kernel = ImageFilter.GaussianBlur(radius=radius)
    frames = x.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    out = np.stack([np.asarray(Image.fromarray(frame).filter(kernel)) for frame in frames])
    return torch.from_numpy(out).to(x.device).permute(0, 3, 1, 2).to(x.dtype)


def jitter(
    clip: Tensor, changes: list[tuple[str, float]], blur_radius: float | None = None, blurs: int = 4
) -> Tensor:
    """Changes of colour in their order, (name, value) as `changed` takes them; (N, 3, H, W) in 0 .. 1.

    blur_radius: a Gaussian blur of this radius follows each of the first `blurs` changes; the official code blurs after
    all four, a plausible slip that the published models were trained with (quirk 12). None: no blur.
    """
    x = (clip * 255).floor_()
    for number, (name, value) in enumerate(changes):
        x = changed(x, name, value)
        if blur_radius is not None and number < blurs:
            x = blurred(x, blur_radius)
    return x / 255
