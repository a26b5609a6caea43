"""Recomputation changes what is kept, not what comes out; the random numbers of dropout repeat."""

from __future__ import annotations

import torch

from kinoscope.nn.feed_forward import GeluMLP
from kinoscope.nn.recompute import set_recompute


def kept_bytes(function):
    """(result, bytes that autograd keeps for it)."""
    sizes: dict[int, int] = {}

    def pack(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    return result, sum(sizes.values())


def test_equal_gradients_from_less_memory():
    mlp, x = GeluMLP(16, dropout=0.5), torch.randn(2, 700, 16)
    results = []
    for again in (False, True):
        set_recompute(mlp, again)
        mlp.zero_grad()
        torch.manual_seed(3)
        y, kept = kept_bytes(lambda: mlp(x))
        y.square().sum().backward()
        results.append((y, kept, [p.grad.clone() for p in mlp.parameters()]))
    (y, kept, gradients), (y2, kept2, gradients2) = results
    assert torch.equal(y, y2)
    assert kept2 < 0.6 * kept
    assert all(torch.equal(a, b) for a, b in zip(gradients, gradients2, strict=True))
