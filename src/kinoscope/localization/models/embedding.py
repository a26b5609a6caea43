"""From features to the width of the backbone, and the table of positions (specification 4.2, steps 1-3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.localization.models.blocks import channel_norm
from kinoscope.nn.norm_relu import norm_relu
from kinoscope.nn.temporal_conv import MaskedConv


def position_table(length: int, width: int) -> Tensor:
    """Sines (even channels) and cosines (odd ones) [length, width], divided by sqrt(width), in float32."""
    channel = torch.arange(width)
    rate = 10000.0 ** (-2 * (channel // 2).double() / width)
    angle = torch.arange(length).double()[:, None] * rate
    return (torch.where(channel % 2 == 0, angle.sin(), angle.cos()) / width**0.5).float()


class Embedding(nn.Module):
    """A projection a part of the input (list-valued widths only), then convolutions with norm and ReLU."""

    def __init__(
        self,
        input_dim: int | Sequence[int],
        width: int | Sequence[int],
        kernel: int,
        layers: int,
        norm: bool = True,
        rms_norm: bool = False,
    ) -> None:
        super().__init__()
        self.parts: list[int] | None = None
        self.projections = nn.ModuleList()
        if isinstance(width, int):
            channels = input_dim if isinstance(input_dim, int) else sum(input_dim)
            total = width
        else:
            assert not isinstance(input_dim, int)
            self.parts = list(input_dim)
            self.projections.extend(MaskedConv(i, o, 1) for i, o in zip(input_dim, width, strict=True))
            channels = total = sum(width)
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for layer in range(layers):
            self.convs.append(MaskedConv(channels if layer == 0 else total, total, kernel, bias=not norm))
            self.norms.append(channel_norm(total, rms_norm) if norm else nn.Identity())

    def forward(self, x_BTC: Tensor, mask_BT: Tensor) -> Tensor:
        if self.parts is not None:
            pieces = x_BTC.split(self.parts, dim=-1)
            x_BTC = torch.cat(
                [project(piece, mask_BT)[0] for project, piece in zip(self.projections, pieces, strict=True)],
                dim=-1,
            )
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x_BTC = norm_relu(conv(x_BTC, mask_BT)[0], norm)
        return x_BTC


class Positions(nn.Module):
    """Adds the table of positions to the unmasked steps; longer inputs stretch it, but not in training."""

    table_TC: Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("table_TC", position_table(length, width), persistent=False)

    def forward(self, x_BTC: Tensor, mask_BT: Tensor, start: int = 0, total: int | None = None) -> Tensor:
        """`start` and `total` say where x lies in a longer input (in steps); by default x is the whole."""
        total = start + x_BTC.shape[1] if total is None else total
        table_TC = self.table_TC
        if total > len(table_TC):
            if self.training:
                raise ValueError(f"a training sequence of {total} steps; the table has {len(table_TC)}")
            table_TC = F.interpolate(table_TC.T[None], total, mode="linear", align_corners=False)[0].T
        return x_BTC + table_TC[start : start + x_BTC.shape[1]] * mask_BT.unsqueeze(-1)
