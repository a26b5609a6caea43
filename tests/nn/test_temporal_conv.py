"""Convolutions on channels-last sequences against those of torch, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kinoscope.nn.temporal_conv import conv_over_time


@pytest.mark.parametrize("shape", [(1, 9, 4), (2, 50, 24), (1, 900, 24)])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (5, 1)])
def test_equals_conv1d(shape, kernel, stride):
    torch.manual_seed(0)
    x = torch.randn(shape, requires_grad=True)
    weight = torch.randn(6, shape[2], kernel, requires_grad=True)
    bias = torch.randn(6, requires_grad=True)
    ours = conv_over_time(x, weight, bias, stride)
    theirs = F.conv1d(x.transpose(1, 2), weight, bias, stride, kernel // 2).transpose(1, 2)
    assert torch.allclose(ours, theirs, atol=1e-4)
    probe = torch.randn_like(ours)
    gradients = (torch.autograd.grad((y * probe).sum(), (x, weight, bias)) for y in (ours, theirs))
    for mine, wanted in zip(*gradients, strict=True):
        assert torch.allclose(mine, wanted, rtol=1e-3, atol=1e-3)
