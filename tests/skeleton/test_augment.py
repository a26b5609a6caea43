"""A batch of views equals its clips one by one, and draws depend on the generator alone."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinoscope.skeleton.augment import OneGenerator, View, apply, draw_view

SHAPE = (3, 20, 25, 2)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["", "12345", "123456", "4", "6"]))
def test_batch_equals_one_by_one(seed, extreme):
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(seed))
    before = x.clone()
    views = [
        draw_view(OneGenerator(np.random.default_rng([seed, i])), SHAPE, extreme=extreme) for i in range(4)
    ]
    single = torch.cat([apply(clip[None], [view]) for clip, view in zip(x, views, strict=True)])
    torch.testing.assert_close(apply(x, views), single)
    assert torch.equal(x, before)


def test_off_means_untouched():
    x = torch.randn(1, *SHAPE)
    view = draw_view(OneGenerator(np.random.default_rng(0)), SHAPE, shear=-1, padding_ratio=-1)
    assert view == View()
    assert torch.equal(apply(x, [view]), x)


def test_reversal_twice_is_nothing():
    x = torch.randn(2, *SHAPE)
    views = [View(reverse=True, flip=True)] * 2
    assert torch.equal(apply(apply(x, views), views), x)
    assert not torch.equal(apply(x, views), x)
