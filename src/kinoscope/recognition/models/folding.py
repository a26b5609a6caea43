"""Networks that no longer train, made fast: batch norm folded into the convolution before it, channels last.

On processors the activation that follows joins the convolution too, where PyTorch has the fused call of its own
compiler. Results agree to rounding. Not in the official code.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import Bottleneck

M = TypeVar("M", bound=nn.Module)
PERCEPTION = ("global_cnn", "local_cnn")


def folded(network: M) -> M:
    """A copy in evaluation mode, without gradients, its normalisation folded away."""
    out = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(out.modules()):
        _fold_norms(module)
    out = out.to(memory_format=torch.channels_last)
    if FusedConv.available() and next(out.parameters()).device.type == "cpu":
        for module in list(out.modules()):
            _fuse_activations(module)
    return out


def with_folded_perception(model: M) -> M:
    """The model with folded copies of its two perception networks; all other parts are shared, not copied.

    Make it again when the networks have changed.
    """
    out = copy.copy(model)
    out._modules = dict(model._modules)
    for name in PERCEPTION:
        out._modules[name] = folded(model.get_submodule(name))
    return out


class FusedConv(nn.Module):
    """A convolution with its ReLU or ReLU6 in one pass over memory. Inference on processors only."""

    def __init__(self, conv: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__()
        self.bias = conv.bias
        self.geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self.attributes = ("hardtanh", [0.0, 6.0]) if isinstance(activation, nn.ReLU6) else ("relu", [])
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight.detach(), *self.geometry, None)

    @staticmethod
    def available() -> bool:
        """Whether this PyTorch has the fused call and it computes what it should."""
        try:
            draws = torch.Generator().manual_seed(0)  # training draws from the global one
            conv, x = skip_init(nn.Conv2d, 16, 16, 3, padding=1), torch.randn(1, 16, 4, 4, generator=draws)
            with torch.no_grad():
                for parameter in conv.parameters():
                    parameter.normal_(generator=draws)
                return torch.allclose(FusedConv(conv, nn.ReLU())(x), conv(x).relu(), atol=1e-4)
        except (AttributeError, RuntimeError, NotImplementedError):
            return False

    def forward(self, x: Tensor) -> Tensor:
        fused = torch.ops.mkldnn._convolution_pointwise
        return fused(x, self.weight, self.bias, *self.geometry, *self.attributes, "")


class FusedBottleneck(nn.Module):
    """A block of ResNet-50 of folded convolutions."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        self.conv1, self.conv2 = FusedConv(block.conv1, block.relu), FusedConv(block.conv2, block.relu)
        self.conv3, self.downsample = block.conv3, block.downsample

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.downsample is None else self.downsample(x)
        return self.conv3(self.conv2(self.conv1(x))).add_(beside).relu_()


def _fold_norms(parent: nn.Module) -> None:
    """Pairs of a convolution and the batch norm that follows it among the children, in order of definition."""
    before: tuple[str, nn.Module] | None = None
    for name, child in list(parent.named_children()):
        if before is not None and isinstance(child, nn.BatchNorm2d) and type(before[1]) is nn.Conv2d:
            setattr(parent, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(parent, name, nn.Identity())
        before = (name, child)


def _fuse_activations(parent: nn.Module) -> None:
    """Convolution, (folded norm,) activation in a row of a `Sequential`; plain blocks of ResNet."""
    before: tuple[str, nn.Conv2d] | None = None
    for name, child in list(parent.named_children()):
        if isinstance(child, Bottleneck) and all(type(c) is nn.Conv2d for c in (child.conv1, child.conv2)):
            setattr(parent, name, FusedBottleneck(child))
        elif isinstance(child, nn.ReLU | nn.ReLU6) and before and isinstance(parent, nn.Sequential):
            setattr(parent, before[0], FusedConv(before[1], child))
            setattr(parent, name, nn.Identity())
        if type(child) is nn.Conv2d:
            before = (name, child)
        elif not isinstance(child, nn.Identity):
            before = None
