"""The narrow ST-GCN that encodes skeleton clips.

Shapes: N clips, M bodies, B = N*M, C channels, T frames, V joints, K adjacency matrices, D features.
AimCLR section 4.1; ST-GCN (AAAI 2018). Differences from the official code:
1. the adjacency is applied before the 1x1 convolution (same sum, a third of the memory where C grows);
2. blocks keep (V, T, B, C): joints and frames mix by plain products, channels lie together; the wide block
   convolves in the Fourier domain (`time_conv.py`), a quarter of the multiplications; small batches that are
   differentiated gain nothing from it and sum in the published order, down to the official roundings;
3. in evaluation mode, a body that is absent (all zero) in all clips is encoded once (same numbers).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from kinoscope.media.layouts import NTU_25, Layout
from kinoscope.skeleton.graph import adjacency
from kinoscope.skeleton.models.attention_drop import attention_drop
from kinoscope.skeleton.models.dropout import Dropout
from kinoscope.skeleton.models.time_conv import MIN_CHANNELS, conv_1x1, fourier_conv

# Joints x frames x bodies below which the published order runs: single clips are faster so, and small batches that are
# differentiated keep the official roundings (a ReLU whose input is a rounding error from zero decides by them).
SINGLE, SMALL = 3_000, 50_000


@dataclass(frozen=True)
class EncoderConfig:
    """Published sizes of the encoder."""

    in_channels: int = 3
    hidden_channels: int = 16
    hidden_dim: int = 256
    dropout: float = 0.5
    layout: Layout = field(default=NTU_25)
    strategy: str = "spatial"
    max_hop: int = 1
    dilation: int = 1
    edge_importance: bool = True


class Block(nn.Module):
    """Graph convolution over joints, then a convolution over 9 frames, with a shortcut."""

    def __init__(
        self, in_channels: int, out_channels: int, parts: int, stride: int, dropout: float, residual: bool
    ) -> None:
        super().__init__()
        self.parts, self.out_channels, self.residual = parts, out_channels, residual
        self.graph_conv = nn.Conv2d(in_channels, parts * out_channels, 1)
        self.graph_norm = nn.BatchNorm2d(out_channels)
        self.time_conv = nn.Conv2d(out_channels, out_channels, (9, 1), (stride, 1), (4, 0))
        self.time_norm = nn.BatchNorm2d(out_channels)
        self.dropout = Dropout(dropout)
        self.shortcut: nn.Sequential | None = None
        if residual and (in_channels != out_channels or stride != 1):
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, (stride, 1)), nn.BatchNorm2d(out_channels)
            )

    def mix(self, x_VTBC: Tensor, adjacency_KVV: Tensor) -> Tensor:
        """sum over k, v of (W_k x + b_k)[v] A_k[v, w]."""
        V, T, B, C = x_VTBC.shape
        spread = adjacency_KVV.transpose(1, 2).reshape(-1, V) @ x_VTBC.reshape(V, -1)
        parts = spread.view(self.parts, V, T, B, C).unbind()
        weight = self.graph_conv.weight.view(self.parts, self.out_channels, C).transpose(0, 1).flatten(1)
        y = conv_1x1(torch.cat(parts, -1), weight)
        assert self.graph_conv.bias is not None
        bias_VC = torch.einsum(
            "kc,kvw->wc", self.graph_conv.bias.view(self.parts, self.out_channels), adjacency_KVV
        )
        return y.add_(bias_VC[:, None, None])

    def in_time(self, x_VTBC: Tensor) -> Tensor:
        """The convolution over frames."""
        conv = self.time_conv
        if conv.stride == (1, 1) and conv.out_channels >= MIN_CHANNELS:
            assert conv.bias is not None
            return fourier_conv(x_VTBC, conv.weight[..., 0]) + conv.bias
        return _channels_last(conv, x_VTBC)

    @staticmethod
    def shortened(shortcut: nn.Sequential, x_VTBC: Tensor) -> Tensor:
        """The shortcut of fewer frames or more channels. Frames are left out first: the backward pass of a strided
        1x1 convolution on channels-last pictures writes past its memory in oneDNN."""
        conv, norm = shortcut
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        y = conv_1x1(x_VTBC[:, :: conv.stride[0]], conv.weight.flatten(1)) + conv.bias
        return _channels_last(norm, y)

    def forward(self, x: Tensor, adjacency_KVV: Tensor, published: bool) -> Tensor:
        """x and result: (B, C, T, V) where `published`, else (V, T, B, C)."""
        return (self.in_official_order if published else self.joints_first)(x, adjacency_KVV)

    def joints_first(self, x_VTBC: Tensor, adjacency_KVV: Tensor) -> Tensor:
        """Products over joints, then over channels that lie together."""
        # K times the input lies between the two products of `mix`: it is made again in the backward pass, not kept
        mixed = checkpoint(self.mix, x_VTBC, adjacency_KVV, use_reentrant=False, preserve_rng_state=False)
        y = _channels_last(self.graph_norm, mixed).relu_()
        y = self.dropout(_channels_last(self.time_norm, self.in_time(y)))
        if self.residual:
            y = y + (x_VTBC if self.shortcut is None else self.shortened(self.shortcut, x_VTBC))
        return F.relu(y, inplace=True)

    def in_official_order(self, x_BCTV: Tensor, adjacency_KVV: Tensor) -> Tensor:
        """The same sums as the official code orders them."""
        z = self.graph_conv(x_BCTV).unflatten(1, (self.parts, self.out_channels))
        y = torch.einsum("nkctv,kvw->nctw", z, adjacency_KVV).contiguous()
        y = self.time_norm(self.time_conv(self.graph_norm(y).relu_()))
        y = self.dropout(y)
        if self.residual:
            y = y + (x_BCTV if self.shortcut is None else self.shortcut(x_BCTV))
        return F.relu(y, inplace=True)


def _channels_last(layer: nn.Module, x_VTBC: Tensor) -> Tensor:
    """A layer for images on joints as the batch, frames x bodies as the picture: no data is moved."""
    y: Tensor = layer(x_VTBC.permute(0, 3, 1, 2))
    return y.permute(0, 2, 3, 1)


class ClipEncoder(nn.Module):
    """Clips (N, C, T, V, M) to `out_features` numbers through `head`; `features` stops before the head.

    What the encoders share; each says how the bodies of a clip become a feature map.
    """

    head: nn.Module

    def feature_map(self, x_NCTVM: Tensor) -> Tensor:
        """(N*M, D, T', V'): what the last block puts out."""
        raise NotImplementedError

    @staticmethod
    def pool(x_BDTV: Tensor, bodies: int) -> Tensor:
        """(N, D): mean over frames and joints, then over bodies, absent ones included."""
        return x_BDTV.mean((2, 3)).view(-1, bodies, x_BDTV.shape[1]).mean(1)

    def features(self, x_NCTVM: Tensor) -> Tensor:
        """(N, D) features before the head: what k-NN, t-SNE and export use."""
        if self.training or torch.is_grad_enabled() or x_NCTVM.shape[-1] == 1:
            return self.pool(self.feature_map(x_NCTVM), x_NCTVM.shape[-1])
        N, C, T, V, M = x_NCTVM.shape
        bodies = x_NCTVM.permute(0, 4, 1, 2, 3).reshape(N * M, C, T, V, 1)
        present = bodies.flatten(1).abs().amax(1) > 0
        if present.all():
            return self.pool(self.feature_map(x_NCTVM), M)
        chosen = torch.cat([bodies[present], torch.zeros_like(bodies[:1])])
        pooled = self.feature_map(chosen).mean((2, 3))
        every = pooled[-1].expand(N * M, -1).clone()
        every[present] = pooled[:-1]
        return every.view(N, M, -1).mean(1)

    def forward(self, x_NCTVM: Tensor) -> Tensor:
        return self.head(self.features(x_NCTVM))

    def forward_dropped(self, x_NCTVM: Tensor, keep: float = 0.7) -> tuple[Tensor, Tensor]:
        """Outputs of the clip and of its features after the attention-guided drop: one pass for both."""
        features, bodies = self.feature_map(x_NCTVM), x_NCTVM.shape[-1]
        dropped = attention_drop(features, keep).features
        return self.head(self.pool(features, bodies)), self.head(self.pool(dropped, bodies))


class Encoder(ClipEncoder):
    """The published ST-GCN."""

    def __init__(self, config: EncoderConfig, out_features: int, mlp: bool = False) -> None:
        super().__init__()
        matrices = torch.from_numpy(
            adjacency(config.layout, config.strategy, config.max_hop, config.dilation)
        ).float()
        self.adjacency: Tensor
        self.register_buffer("adjacency", matrices)
        parts, h = len(matrices), config.hidden_channels
        self.input_norm = nn.BatchNorm1d(config.in_channels * config.layout.count)
        widths = [(config.in_channels, h), (h, h), (h, h), (h, h), (h, 2 * h), (2 * h, 2 * h), (2 * h, 2 * h)]
        widths += [(2 * h, 4 * h), (4 * h, 4 * h), (4 * h, config.hidden_dim)]
        self.blocks = nn.ModuleList(
            Block(a, b, parts, 2 if i in (4, 7) else 1, config.dropout if i else 0.0, residual=i > 0)
            for i, (a, b) in enumerate(widths)
        )
        self.head = projector(config.hidden_dim, out_features, mlp)
        self.importance: nn.ParameterList | None = None
        if config.edge_importance:
            self.importance = nn.ParameterList(torch.ones_like(matrices) for _ in widths)

    def feature_map(self, x_NCTVM: Tensor) -> Tensor:
        """(N*M, D, T', V): what the last block puts out."""
        N, C, T, V, M = x_NCTVM.shape
        x = x_NCTVM.permute(0, 4, 3, 1, 2).reshape(N * M, V * C, T)
        x = self.input_norm(x).view(N * M, V, C, T)
        published = (SMALL if torch.is_grad_enabled() else SINGLE) > N * M * T * V
        x = x.permute((0, 2, 3, 1) if published else (1, 3, 0, 2)).contiguous()
        for i, block in enumerate(self.blocks):
            weight = self.adjacency if self.importance is None else self.adjacency * self.importance[i]
            x = block(x, weight, published)
        return x if published else x.permute(2, 3, 1, 0)


def projector(in_features: int, out_features: int, mlp: bool) -> nn.Module:
    """One linear layer, or two with a ReLU between."""
    last = nn.Linear(in_features, out_features)
    return nn.Sequential(nn.Linear(in_features, in_features), nn.ReLU(), last) if mlp else last


def initialise(model: nn.Module) -> None:
    """Weights ~ N(0, 0.02), norms ~ N(1, 0.02), biases 0, in module order, as every official program does."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
