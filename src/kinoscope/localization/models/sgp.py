"""Scalable-granularity perception, the layers of TriDet's pyramid (arXiv 2303.07347, section 3.2).

SGP(x) = phi(x) FC(x) + psi(x) (conv_w(x) + conv_kw(x)) + x, with phi(x) = ReLU(FC(mean over time of x)) and psi(x) =
conv_w(x). Every convolution is depth-wise, and FC a number a channel, as the published size of the model tells
(16 million parameters on THUMOS14). In a block it takes the place of attention, and a group norm that of the second
layer norm.

Differences from the authors' code:
1. Means over time and the group norm see real steps alone, and convolutions zeros beyond the end, so that padding
   changes nothing.

Shape suffixes: B batch, T time, C channels, G groups, c channels of a group.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinoscope.localization.models.blocks import channel_norm, pooled
from kinoscope.nn.drop_path import AffineDropPath
from kinoscope.nn.feed_forward import GeluMLP
from kinoscope.nn.temporal_conv import MaskedConv

GROUPS = 16


def wide_kernel(window: int, k: float) -> int:
    """Kernel of the wide convolution: k * (window + 1), made odd.

    >>> wide_kernel(1, 5), wide_kernel(1, 1.5)
    (11, 3)
    """
    kernel = round((window + 1) * k)
    return kernel + 1 if kernel % 2 == 0 else kernel


class SGP(nn.Module):
    """The layer: x_BTC with zeros at masked steps, and mask_BT, to [B, T, C]."""

    def __init__(self, width: int, window: int = 1, k: float = 5.0) -> None:
        super().__init__()

        def conv(kernel: int) -> MaskedConv:
            return MaskedConv(width, width, kernel, groups=width)

        self.instant, self.gate = conv(1), conv(window)
        self.narrow, self.wide = conv(window), conv(wide_kernel(window, k))
        self.mean_scale, self.mean_shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x_BTC: Tensor, mask_BT: Tensor) -> Tensor:
        count_B1 = mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
        mean_BC = x_BTC.sum(dim=1) / count_B1
        phi_B1C = (mean_BC * self.mean_scale + self.mean_shift).relu().unsqueeze(1)
        instant_BTC = self.instant(x_BTC, mask_BT)[0] * phi_B1C
        window_BTC = self.narrow(x_BTC, mask_BT)[0] + self.wide(x_BTC, mask_BT)[0]
        return instant_BTC + self.gate(x_BTC, mask_BT)[0] * window_BTC + x_BTC


class MaskedGroupNorm(nn.Module):
    """Group norm of x_BTC over real steps and the channels of a group; scale and shift a channel."""

    def __init__(self, width: int, groups: int = GROUPS, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x_BTC: Tensor, mask_BT: Tensor) -> Tensor:
        x_BTGc = x_BTC.float().unflatten(-1, (self.groups, -1))
        real_BT11 = mask_BT[:, :, None, None].float()
        count_B111 = (real_BT11.sum(1, keepdim=True) * x_BTGc.shape[-1]).clamp(min=1)
        mean_B1G1 = (x_BTGc * real_BT11).sum((1, 3), keepdim=True) / count_B111
        apart_BTGc = x_BTGc - mean_B1G1
        variance_B1G1 = (apart_BTGc.square() * real_BT11).sum((1, 3), keepdim=True) / count_B111
        normed_BTC = (apart_BTGc * (variance_B1G1 + self.eps).rsqrt()).flatten(2)
        return (normed_BTC * self.weight + self.bias).to(x_BTC.dtype)


class SGPBlock(nn.Module):
    """Pooling, SGP after a layer norm, MLP after a group norm; branches have own gains where drop_path > 0."""

    def __init__(
        self,
        width: int,
        stride: int = 1,
        window: int = 1,
        k: float = 5.0,
        hidden: int | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.sgp_norm, self.sgp = channel_norm(width), SGP(width, window, k)
        self.mlp_norm, self.mlp = MaskedGroupNorm(width), GeluMLP(width, hidden, dropout)
        self.sgp_path = AffineDropPath(width, drop_path) if drop_path > 0 else nn.Identity()
        self.mlp_path = AffineDropPath(width, drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x_BTC: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        mask_BT = mask_BT[:, :: self.stride]
        mask_BT1 = mask_BT.unsqueeze(-1)
        x_BTC = pooled(x_BTC, self.stride) * mask_BT1
        x_BTC = x_BTC + self.sgp_path(self.sgp(self.sgp_norm(x_BTC) * mask_BT1, mask_BT) * mask_BT1)
        return x_BTC + self.mlp_path(self.mlp(self.mlp_norm(x_BTC, mask_BT)) * mask_BT1), mask_BT
