"""Banded attention against attention under a dense mask."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kinoscope.nn.local_attention import local_attention


@pytest.mark.parametrize(("length", "reach"), [(1, 2), (31, 9), (32, 3), (100, 9), (70, 40)])
@pytest.mark.parametrize("biased", [False, True])
def test_equals_dense_attention(length, reach, biased):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, length, 8, dtype=torch.float64, requires_grad=True) for _ in range(3))
    mask = torch.arange(length) < torch.tensor([[length], [max(1, length - 11)]])
    bias = torch.randn(2, 2 * reach + 1, dtype=torch.float64) if biased else None
    out = local_attention(q, k, v, mask, 2, reach, bias)
    offset = torch.arange(length) - torch.arange(length)[:, None]
    allowed = (offset.abs() <= reach) & mask[:, None, None, :]
    dense = torch.zeros(2, 2, length, length, dtype=torch.float64)
    if bias is not None:
        dense = dense + bias[:, (offset + reach).clamp(0, 2 * reach)]
    dense = dense.masked_fill(~allowed, -1e4)
    heads = [x.unflatten(-1, (2, 4)).transpose(1, 2) for x in (q, k, v)]
    expected = F.scaled_dot_product_attention(*heads, attn_mask=dense).transpose(1, 2).flatten(2)
    assert torch.allclose(out[mask], expected[mask])
    gradient = torch.autograd.grad(out[mask].pow(2).sum(), (q, k, v))
    wanted = torch.autograd.grad(expected[mask].pow(2).sum(), (q, k, v))
    for ours, theirs in zip(gradient, wanted, strict=True):
        assert torch.allclose(ours, theirs)
