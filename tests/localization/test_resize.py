from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kinoscope.errors import KinoscopeError
from kinoscope.localization.resize import Grid, cut_to_features, grid_of, resize
from kinoscope.localization.settings import FeatureData

ANET = FeatureData(reader="anet", feat_stride=16, num_frames=16, max_seq_len=48, force_upsampling=True)


def test_worked_examples() -> None:
    """Specification 17: THUMOS, EPIC, and THUMOS at half the rate."""
    for data, seconds, step in (
        (FeatureData(feat_stride=4, num_frames=16), 1.2, 7.0),
        (FeatureData(feat_stride=16, num_frames=32), 0.14, -0.7375),
        (FeatureData(feat_stride=4, num_frames=16, downsample_rate=2), 1.2, 3.5),
    ):
        grid = grid_of(data, 100, None, 30.0)
        assert grid.steps(np.array([[seconds, seconds]]), 30.0)[0, 0] == pytest.approx(step, abs=1e-6)


def test_the_three_cases() -> None:
    assert grid_of(FeatureData(reader="anet", feat_stride=16, num_frames=32), 61, 64.0, 15.0) == Grid(
        61, 16, 32
    )
    stretched = grid_of(ANET, 61, 64.0, 15.0)
    assert (stretched.length, stretched.resized, stretched.offset) == (48, True, 0.5)
    assert stretched.stride == pytest.approx((60 * 16 + 16) / 48)
    fixed = grid_of(ANET.model_copy(update={"feat_stride": -1, "force_upsampling": False}), 32, 64.0, 15.0)
    assert (fixed.length, fixed.resized) == (32, False)
    assert fixed.stride == pytest.approx(64 * 15 / 32)
    fixed = grid_of(ANET.model_copy(update={"feat_stride": 0}), 32, 64.0, 15.0)
    assert (fixed.length, fixed.resized) == (48, True)
    assert fixed.stride == pytest.approx(64 * 15 / 48)


def test_what_fixed_features_need() -> None:
    fixed = ANET.model_copy(update={"feat_stride": -1, "force_upsampling": False})
    with pytest.raises(KinoscopeError, match="max_seq_len"):
        grid_of(fixed, 49, 64.0, 15.0)
    with pytest.raises(KinoscopeError, match="duration"):
        grid_of(fixed, 32, None, 15.0)
    with pytest.raises(KinoscopeError, match="reader anet"):
        grid_of(FeatureData(feat_stride=0), 32, 64.0, 15.0)


@given(st.integers(1, 80), st.integers(1, 80))
def test_resizing_keeps_places(before: int, after: int) -> None:
    """A ramp over time stays the same ramp, but for the ends, where it is held."""
    ramp = torch.arange(before, dtype=torch.float32)[None] + 0.5
    stretched = resize(ramp, after)[0].numpy()
    wanted = np.clip((np.arange(after) + 0.5) * before / after, 0.5, before - 0.5)
    np.testing.assert_allclose(stretched, wanted, rtol=1e-4, atol=1e-4)


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0.1, 40)), max_size=8), st.floats(0.1, 1))
def test_segments_beyond_the_features(pairs: list[tuple[float, float]], share: float) -> None:
    """The vectorised filter is the specification's loop."""
    segments = np.array([(start, start + length) for start, length in pairs], np.float32).reshape(-1, 2)
    labels = np.arange(len(segments))
    end, kept = 48 + 0.5, []
    for (start, stop), label in zip(segments.tolist(), labels, strict=True):
        if start < end and (min(stop, end) - start) / (stop - start) >= share:
            kept.append((min(start, end), min(stop, end), label))
    cut, names = cut_to_features(segments, labels, 48, 0.5, share)
    assert names.tolist() == [label for _, _, label in kept]
    np.testing.assert_allclose(cut, np.array([k[:2] for k in kept], np.float32).reshape(-1, 2))
