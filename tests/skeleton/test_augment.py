"""A batch of views equals its clips one by one, and draws depend on the generator alone."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinoscope.media.layouts import NTU_25
from kinoscope.skeleton.augment import OneGenerator, View, apply, draw_gentle, draw_view, withhold

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


def test_a_gentle_view_turns_about_the_vertical_and_keeps_the_pose():
    x = torch.randn(4, 3, 20, 25, 1)
    generator = OneGenerator(np.random.default_rng(3))
    views = [View() for _ in range(4)]
    for view in views:
        draw_gentle(view, generator, (3, 20, 25, 1), rotation=40)
    turned = apply(x, views)
    assert torch.allclose(turned[:, 1], x[:, 1], atol=1e-6)  # heights stay
    assert torch.allclose(turned.norm(dim=1), x.norm(dim=1), atol=1e-5)
    assert not torch.allclose(turned, x, atol=1e-2)


def test_an_uneven_pace_shows_frames_of_the_clip_in_order():
    ramp = torch.arange(30.0).view(1, 1, 30, 1, 1).expand(1, 3, 30, 5, 1).contiguous()
    for seed in range(20):
        view = View()
        draw_gentle(view, OneGenerator(np.random.default_rng(seed)), (3, 30, 5, 1), tempo=0.3)
        played = apply(ramp, [view])[0, 0, :, 0, 0]
        assert bool((played.diff() >= -1e-5).all())
        assert float(played.min()) >= 0
        assert float(played.max()) <= 29
        assert float(played[-1] - played[0]) >= 29 * 0.5


def test_longer_bones_keep_their_directions_and_carry_what_hangs_from_them():
    x = torch.randn(3, 3, 12, 25, 2)
    views = [View() for _ in range(3)]
    for i, view in enumerate(views[:2]):
        source = OneGenerator(np.random.default_rng(i))
        draw_gentle(view, source, tuple(x.shape[1:]), limbs=0.3, links=len(NTU_25.links))
    grown = apply(x, views)
    assert torch.equal(grown[2], x[2])
    children, parents = map(list, zip(*NTU_25.links, strict=True))
    before, after = (t[..., children, :] - t[..., parents, :] for t in (x, grown))
    for i, view in enumerate(views[:2]):
        factors = 1 + torch.from_numpy(view.limbs).float()
        torch.testing.assert_close(after[i], before[i] * factors[:, None], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(grown[..., NTU_25.centre, :], x[..., NTU_25.centre, :])


def test_hidden_joints_and_withheld_streams_are_zero_and_one_stream_stays():
    x = torch.randn(40, 3, 6, 25, 1)
    views = [View() for _ in range(40)]
    for i, view in enumerate(views[:39]):
        source = OneGenerator(np.random.default_rng(i))
        draw_gentle(view, source, tuple(x.shape[1:]), hide=0.3, withhold=0.8)
    out = apply(x, views)
    for i, view in enumerate(views[:39]):
        assert (out[i][..., view.hidden, :] == 0).all()
        assert torch.equal(out[i][..., ~view.hidden, :], x[i][..., ~view.hidden, :])
        assert not all(view.withheld)
    assert torch.equal(out[39], x[39])
    three = torch.ones(40, 9, 6, 25, 1)
    kept = withhold(three, views)
    for i, view in enumerate(views[:39]):
        assert [not bool(part.any()) for part in kept[i].split(3)] == list(view.withheld)
    assert kept[39].all()
    assert any(any(view.withheld) for view in views[:39])


def test_a_posture_lasts_through_the_clip():
    x = torch.zeros(1, 3, 6, 25, 1)
    view = View()
    draw_gentle(view, OneGenerator(np.random.default_rng(0)), (3, 6, 25, 1), posture=0.1)
    out = apply(x, [view])
    assert torch.equal(out, out[:, :, :1].expand_as(out))
    assert 0.05 < float(out.std()) < 0.2
