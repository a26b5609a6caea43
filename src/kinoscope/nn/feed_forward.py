"""The two-layer networks of transformer blocks, on channels-last sequences x_BTC; zero at masked steps."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.nn.recompute import recomputed
from kinoscope.nn.temporal_conv import Pointwise


class GeluMLP(nn.Module):
    """width -> hidden (default 4 * width), exact GELU, hidden -> width, with dropout after each."""

    def __init__(self, width: int, hidden: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.up = Pointwise(width, hidden or 4 * width)
        self.down = Pointwise(hidden or 4 * width, width)
        self.dropout = nn.Dropout(dropout)
        self.recompute = False  # GELU and dropout run again in the backward pass

    def forward(self, x_BTC: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        hidden_BTH = self.up(x_BTC)
        return self.dropout(
            recomputed(lambda h: self.down(self.dropout(F.gelu(h)), mask_BT), hidden_BTH, self.recompute)
        )


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)), arXiv 2002.05202; hidden defaults to 8/3 of the width in steps of 64."""

    def __init__(self, width: int, hidden: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        hidden = hidden or -(-int(4 * width * 2 / 3) // 64) * 64
        self.gate, self.up = Pointwise(width, hidden), Pointwise(width, hidden)
        self.down = Pointwise(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTC: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        return self.dropout(self.down(F.silu(self.gate(x_BTC)) * self.up(x_BTC), mask_BT))
