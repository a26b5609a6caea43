"""Folded networks answer as the originals do, and leave them and the random numbers alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kinoscope.recognition.models import AdaFocus
from kinoscope.recognition.models.backbones import GlobalCNN, LocalCNN
from kinoscope.recognition.models.folding import folded, with_folded_perception
from kinoscope.recognition.models.small import SmallGlobalCNN, SmallLocalCNN


def lively(network: nn.Module, x: torch.Tensor) -> nn.Module:
    """The network with normalisation that has seen `x`, so that answers depend on the image."""
    draws = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            module.weight.uniform_(0.6, 1.4, generator=draws)
            module.bias.uniform_(-0.3, 0.3, generator=draws)
    network.train().predict(x)  # type: ignore[operator]
    return network.eval()


@pytest.mark.parametrize(
    "network",
    [GlobalCNN(3), LocalCNN(3), SmallGlobalCNN(3), SmallLocalCNN(3), LocalCNN(3, segments=2)],
    ids=["global", "local", "small global", "small local", "shifted local"],
)
@torch.no_grad()
def test_folding_changes_nothing_but_speed(network: nn.Module) -> None:
    x = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    lively(network, x)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(0)
    fast = folded(network)
    assert torch.equal(torch.rand(2), torch.rand(2, generator=torch.Generator().manual_seed(0)))
    ours, theirs = network.predict(x), fast.predict(x)  # type: ignore[operator]
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4 * float(ours.abs().max()))
    assert ours.std(0).max() > 0.01 * ours.abs().max()  # the answer depends on the image
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules()) or "Shifted" in repr(network)


def test_folded_perception_shares_the_policy() -> None:
    model = AdaFocus(3, patch_size=32, input_size=64, glance_size=64, action_dim=9, hidden_state_dim=8).eval()
    eyes = with_folded_perception(model)
    assert eyes.policy is model.policy
    assert eyes.classifier is model.classifier
    assert eyes.local_cnn is not model.local_cnn
