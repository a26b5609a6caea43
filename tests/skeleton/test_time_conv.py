"""The Fourier convolution is the convolution; dropout drops what it says."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from kinoscope.skeleton.models.dropout import Dropout
from kinoscope.skeleton.models.time_conv import fourier_conv


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.sampled_from([1, 3, 9]), st.integers(1, 5))
def test_fourier_conv_equals_the_direct_sum(frames, kernel, bodies):
    generator = torch.Generator().manual_seed(frames)
    x = torch.randn(3, frames, bodies, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 6, kernel, generator=generator, dtype=torch.float64, requires_grad=True)
    direct = F.conv2d(x.permute(0, 3, 1, 2), weight[..., None], padding=(kernel // 2, 0)).permute(0, 2, 3, 1)
    found = fourier_conv(x, weight)
    assert torch.allclose(found, direct, atol=1e-10)
    target = torch.randn(direct.shape, generator=generator, dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, weight), target),
        torch.autograd.grad(direct, (x, weight), target),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_the_share(p):
    torch.manual_seed(0)
    layer, x = Dropout(p), torch.ones(331, 301)
    y = layer(x)
    assert abs(float((y == 0).float().mean()) - p) < 0.01
    assert abs(float(y.mean()) - 1) < 0.03
    assert y.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)])
    assert layer.eval()(x) is x
