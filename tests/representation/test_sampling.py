"""Which frames make a view."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinoscope.errors import KinoscopeError
from kinoscope.representation.official import build_sampler
from kinoscope.representation.sampling import Sampler, chunks


@settings(deadline=None)
@given(
    st.integers(1, 80),
    st.integers(2, 30),
    st.sampled_from(["time_augment", "offset_uniform"]),
    st.booleans(),
    st.integers(1, 3),
    st.integers(0, 2**31),
)
def test_frames_rise_lie_in_the_video_and_padding_is_masked(
    length: int, frames: int, strategy: str, crop: bool, contexts: int, seed: int
) -> None:
    sampler = Sampler(frames, strategy, crop_of_clip=crop, contexts=contexts, stride=2)  # type: ignore[arg-type]
    draws = np.random.default_rng(seed)
    before = None
    for _ in range(2):
        load, chosen, mask = sampler(length, draws, before)
        before = load
        assert load.shape == (frames * contexts,)
        assert chosen.shape == mask.shape == (frames,)
        assert load.min() >= 0
        assert load.max() < length
        valid = chosen[mask == 1]
        assert (np.diff(valid) > 0).all()
        assert 1 <= len(valid) <= min(length, frames)
        assert (load.reshape(frames, contexts)[:, -1] == chosen).all()


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_two_crops_of_a_long_video_overlap(seed: int) -> None:
    draws = np.random.default_rng(seed)
    sampler = Sampler(40, region=1.0, consistent_offset=0.2, crop_of_clip=True)
    first, _, _ = sampler(500, draws)
    second, _, _ = sampler(500, draws, first)
    assert len(set(first) & set(second)) >= 0.2 * 40


def test_positives_of_tcn_come_up_to_the_window_earlier() -> None:
    _, chosen, mask = Sampler(20, "offset_uniform", positive_window=5)(60, np.random.default_rng(0))
    gap = (chosen[0::2] - chosen[1::2])[mask[1::2] == 1]
    assert gap.min() >= 1
    assert gap.max() <= 5


def test_a_video_without_frames_is_an_error() -> None:
    with pytest.raises(KinoscopeError, match="no frames"):
        Sampler(4)(0, np.random.default_rng(0))


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 100))
def test_chunks_cover_the_video_once(length: int, most: int) -> None:
    pieces = chunks(length, most)
    assert np.concatenate([np.arange(length)[piece] for piece in pieces]).tolist() == list(range(length))
    assert max(piece.stop - piece.start for piece in pieces) <= most


def test_crops_of_kinetics_go_by_the_view_in_the_first_release_alone() -> None:
    section = {
        "dataset": "kinetics400",
        "NUM_FRAMES": 8,
        "SAMPLING_STRATEGY": "time_augment",
        "SAMPLING_REGION": 1.5,
    }
    first, second = (build_sampler({**section, "TRAINING_ALGO": name}) for name in ("simclr", "scl"))
    assert (first.crop_of_clip, second.crop_of_clip) == (True, False)
