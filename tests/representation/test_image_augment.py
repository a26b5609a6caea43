"""Spatial changes of clips: laws, and clips that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinoscope.errors import KinoscopeError
from kinoscope.representation import image_augment as images
from kinoscope.representation.image_augment import ImageAugment

CLIP = torch.rand(3, 3, 40, 56, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["contrastive", "supervised"])
@settings(deadline=None)
@given(seed=st.integers(0, 50))
def test_a_clip_is_changed_like_each_of_its_frames(kind: str, seed: int) -> None:
    change = ImageAugment(24, kind)  # type: ignore[arg-type]
    whole = change(CLIP, np.random.default_rng(seed))
    assert whole.shape == (3, 3, 24, 24)
    for k in range(3):
        alone = change(CLIP[k : k + 1], np.random.default_rng(seed))
        torch.testing.assert_close(whole[k : k + 1], alone)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 100))
def test_boxes_lie_in_the_frame(height: int, width: int, seed: int) -> None:
    top, left, h, w = images.crop_box(height, width, np.random.default_rng(seed))
    assert min(top, left) >= 0
    assert min(h, w) >= 1
    assert top + h <= height
    assert left + w <= width


@pytest.mark.parametrize("shape", [(10, 60), (60, 10), (10, 10), (60, 60)])
def test_frames_smaller_than_the_crop_become_the_size_all_the_same(shape: tuple[int, int]) -> None:
    frames = np.zeros((2, *shape, 3), np.uint8)
    item = images.evaluation_item(frames, None, 24)
    assert item.video.shape == (2, 3, 24, 24)
    assert item.labels.tolist() == [-1, -1]


def test_labels_of_another_length_and_empty_videos_are_errors() -> None:
    with pytest.raises(KinoscopeError, match="another length"):
        images.evaluation_item(np.zeros((2, 8, 8, 3), np.uint8), np.zeros(3), 8)
    with pytest.raises(KinoscopeError, match="no frames"):
        images.evaluation_item(np.zeros((0, 8, 8, 3), np.uint8), None, 8)


def test_neutral_jitter_keeps_8_bit_frames() -> None:
    eight = (CLIP * 255).to(torch.uint8) / 255 + 0.2 / 255
    same = images.jitter(eight, [("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0)])
    torch.testing.assert_close(same, (eight * 255).to(torch.uint8) / 255)
    blurred = images.jitter(eight, [("brightness", 1.0)], blur_radius=2.0)
    assert blurred.var() < same.var() / 2
