"""The whole network: trunk, tail, embedder, heads (CARL, sections 3.1, 3.5 and 3.6).

Shapes: B clips, T frames, D embedding width. Different from the official code:
1. A frozen trunk is kept in evaluation mode by `train()`; the official one sets it on every pass.
2. The mask of clips with contexts has one entry for each embedding (quirk 18).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.representation.models.conv import ConvEmbedder
from kinoscope.representation.models.resnet import CHANNELS, split_resnet50
from kinoscope.representation.models.transformer import TransformerEmbedder

TrainTrunk = Literal["frozen", "only_bn", "train_all"]


class FrameEncoder(nn.Module):
    """Clips to frame embeddings.

    trunk, tail: networks on single frames; the trunk runs without gradient and with its stored statistics when
    `trunk_frozen`. frames_per_pass: frames (of all clips together) that run through trunk and tail in one pass;
    in training the tail's batch norms see one pass at a time, so that it is part of the numerics; None: all.
    projection: hidden width of the head behind the embedding in training, None for no head.
    classes: width of the supervised classifier, None for none. channels_last: images in the memory layout that is
    fast; sums then run in another order than officially, which a chaotic float32 training shows. own_statistics: every
    clip of features is standardised by itself, so that what differs from camera to camera falls away.
    """

    def __init__(
        self,
        trunk: nn.Module,
        tail: nn.Module,
        embedder: nn.Module,
        size: int = 128,
        projection: int | None = 128,
        l2_normalize: bool = True,
        classes: int | None = None,
        trunk_frozen: bool = True,
        use_tail: bool = True,
        frames_per_pass: int | None = 40,
        dropout: float = 0.1,
        channels_last: bool = True,
        own_statistics: bool = False,
    ) -> None:
        super().__init__()
        self.trunk, self.tail, self.embedder = trunk, tail, embedder
        self.channels_last, self.own_statistics = channels_last, own_statistics
        self.l2_normalize, self.trunk_frozen = l2_normalize, trunk_frozen
        self.use_tail, self.frames_per_pass = use_tail, frames_per_pass
        if projection is not None:
            self.projection = nn.Sequential(
                nn.Linear(size, projection),
                nn.BatchNorm1d(projection),
                nn.ReLU(),
                nn.Linear(projection, size),
            )
        if classes is not None:
            self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(size, classes))

    def train(self, mode: bool = True) -> FrameEncoder:
        super().train(mode)
        if self.trunk_frozen:
            self.trunk.eval()
        return self

    def trunk_features(self, frames: Tensor) -> Tensor:
        """What the trunk makes of frames (N, 3, H, W): (N, C, h, w); without gradient where it is frozen."""
        if frames.ndim == 4 and self.channels_last:
            frames = frames.contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.trunk_frozen):
            return self.trunk(frames)

    def frame_features(self, clips: Tensor) -> Tensor:
        """(B, T, ...) clips through trunk and tail, pass by pass: (B, T, C, h, w)."""
        B, T = clips.shape[:2]
        step = self.frames_per_pass or T
        parts = []
        for start in range(0, T, step):
            part = clips[:, start : start + step]
            features = self.trunk_features(part.flatten(0, 1))
            if self.use_tail:
                features = self.tail(features)
            parts.append(features.view(B, part.shape[1], *features.shape[1:]))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    def forward(
        self,
        clips: Tensor,
        mask_BT: Tensor | None = None,
        project: bool = False,
        classify: bool = False,
    ) -> Tensor:
        """(B, T, 3, H, W), or (B, T, F) of poses, with mask (B, T) -> embeddings (B, T, D), or class scores.

        project: through the projection head, then of length one. Otherwise of length one where `l2_normalize`.
        """
        if self.own_statistics:
            clips = standardised(clips, mask_BT)
        x_BTD = self.embedder(self.frame_features(clips), None if mask_BT is None else mask_BT.bool())
        return self.head(x_BTD, project, classify)

    def head(self, x_BTD: Tensor, project: bool = False, classify: bool = False) -> Tensor:
        """What follows the embedder: projection and normalisation, or the class scores."""
        if project and hasattr(self, "projection"):
            x_BTD = F.normalize(self.projection(x_BTD.flatten(0, 1)).view_as(x_BTD), dim=-1)
        elif self.l2_normalize:
            x_BTD = F.normalize(x_BTD, dim=-1)
        return self.classifier(x_BTD) if classify else x_BTD


def standardised(x_BTC: Tensor, mask_BT: Tensor | None) -> Tensor:
    """Every channel of every clip with mean 0 and deviation 1 over its valid frames."""
    weight = x_BTC.new_ones(x_BTC.shape[:2]) if mask_BT is None else mask_BT.to(x_BTC)
    weight = (weight / weight.sum(1, keepdim=True).clamp_min(1))[..., None]
    centred = x_BTC - (weight * x_BTC).sum(1, keepdim=True)
    return centred / ((weight * centred**2).sum(1, keepdim=True).sqrt() + 1e-3)


def build_encoder(
    kind: str = "transformer",
    layer: int = 3,
    trained_frames: int = 240,
    contexts: int = 1,
    train_trunk: TrainTrunk = "frozen",
    frames_per_pass: int = 40,
    hidden: int = 256,
    inner: int = 1024,
    heads: int = 8,
    layers: int = 3,
    conv: tuple[tuple[int, int, int], ...] = ((256, 3, 1), (256, 3, 1)),
    fc: tuple[int, ...] = (256, 256),
    capacity: int = 2,
    size: int = 128,
    dropout: float = 0.1,
    l2_normalize: bool = True,
    projection: int | None = 128,
    classes: int | None = None,
    channels_last: bool = True,
    equal_layers: bool = True,
) -> FrameEncoder:
    """The official networks over ResNet-50: `transformer`, `conv` or `vanilla`.

    With `conv` the tail exists, as in official checkpoints, but is not used. The trunk of a transformer is
    frozen whatever `train_trunk` says, which is what the official code does.
    """
    trunk, tail, channels = split_resnet50(layer if kind == "transformer" or layer == 3 else 4)
    embedder: nn.Module
    if kind == "transformer":
        embedder = TransformerEmbedder(
            channels, trained_frames, hidden, inner, heads, layers, fc, capacity, size, dropout, equal_layers
        )
    elif kind == "conv":
        channels = CHANNELS[3] if layer == 3 else channels
        embedder = ConvEmbedder(channels, contexts, conv, fc, capacity, size, dropout)
    else:
        embedder = ConvEmbedder(channels, contexts, (), fc, capacity, size, dropout)
    encoder = FrameEncoder(
        trunk,
        tail,
        embedder,
        size,
        projection,
        l2_normalize,
        classes,
        trunk_frozen=kind == "transformer" or train_trunk == "frozen",
        use_tail=kind != "conv",
        frames_per_pass=frames_per_pass if kind == "transformer" else None,
        dropout=dropout,
        channels_last=channels_last,
    )
    if channels_last:
        trunk.to(memory_format=torch.channels_last)
        tail.to(memory_format=torch.channels_last)
    return encoder
