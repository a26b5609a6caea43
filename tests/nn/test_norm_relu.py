"""ReLU of a layer norm in one step against the single operations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kinoscope.nn.norm_relu import norm_relu


@pytest.mark.parametrize("kept", [False, True])
def test_values_and_gradients_of_the_single_operations(kept):
    torch.manual_seed(0)
    norm = nn.LayerNorm(6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 9, 6, requires_grad=True)
    keep = (torch.arange(9) % 4 != 3).float().unsqueeze(1) if kept else None
    ours = norm_relu(x, norm, keep)
    theirs = norm(x).relu() * (1 if keep is None else keep)
    assert torch.equal(ours, theirs)
    probe = torch.randn_like(ours)
    wanted = (x, norm.weight, norm.bias)
    gradients = (torch.autograd.grad((y * probe).sum(), wanted) for y in (ours, theirs))
    for mine, other in zip(*gradients, strict=True):
        assert torch.allclose(mine, other, atol=1e-6)


def test_gradients_by_differences():
    torch.manual_seed(1)
    norm = nn.LayerNorm(4).double()
    x = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: norm_relu(x, norm), (x,))
