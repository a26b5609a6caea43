"""Colour changes of tensors against Pillow's own, to the bit."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from kinoscope.representation import colours

KINDS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
}


def frames(seed: int) -> np.ndarray:
    """(3, 12, 10, 3) noise, a ramp and grey."""
    draws = np.random.default_rng(seed)
    noise = draws.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    grey = np.repeat(draws.integers(0, 256, (12, 10, 1), dtype=np.uint8), 3, axis=2)
    return np.stack([noise, np.sort(noise, axis=0), grey])


def tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.sampled_from(sorted(KINDS)), st.floats(0.0, 2.0))
def test_factors_are_those_of_pillow(seed: int, name: str, factor: float) -> None:
    images = frames(seed)
    expected = np.stack([np.asarray(KINDS[name](Image.fromarray(image)).enhance(factor)) for image in images])
    np.testing.assert_array_equal(colours.changed(tensor(images), name, factor), tensor(expected))


def test_hue_and_blur_keep_frames_apart() -> None:
    images = frames(1)
    turned = colours.hue(tensor(images), 0.1)
    blurred = colours.blurred(tensor(images), 1.5)
    for k, image in enumerate(images):
        hsv = np.asarray(Image.fromarray(image).convert("HSV")).copy()
        hsv[..., 0] += np.uint8(25)
        expected = np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))
        np.testing.assert_array_equal(turned[k], tensor(expected[None])[0])
        expected = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1.5)))
        np.testing.assert_array_equal(blurred[k], tensor(expected[None])[0])


def test_a_clip_at_once_equals_frame_by_frame() -> None:
    clip = tensor(frames(2)) / 255
    changes = [("contrast", 1.4), ("hue", -0.15), ("saturation", 0.3), ("brightness", 0.8)]
    whole = colours.jitter(clip, changes, 1.1)
    parts = [colours.jitter(frame, changes, 1.1) for frame in clip.split(1)]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=0, atol=0)
