"""AdaFocus V2: the window is differentiable, so one stage of ordinary training does.

Wang et al., CVPR 2022 (specification 12.1). Shapes: B clips, T frames, S frame side, P window side, C
classes.

What differs from the official code:
1. `backbone_weights` are given by the caller; nothing is downloaded.
2. The window may be cut from frames of a higher resolution than the glance (`glance_size` < frame side).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.recognition.models.adafocus import perception, step_loss
from kinoscope.recognition.models.backbones import GlobalCNN, LocalCNN
from kinoscope.recognition.models.classifiers import PoolingClassifier
from kinoscope.recognition.models.policy import PositionPolicy
from kinoscope.recognition.models.small import SmallGlobalCNN, SmallLocalCNN
from kinoscope.recognition.models.windows import check_patch, corners, crop, soft_window


def coarse_to_fine(frames: int) -> list[int]:
    """Order in which frames are looked at: the middle, the ends, then the middles in between.

    >>> coarse_to_fine(16)
    [7, 0, 15, 3, 11, 1, 5, 9, 13, 2, 4, 6, 8, 10, 12, 14]
    """
    order = list(dict.fromkeys([(frames - 1) // 2, 0, frames - 1]))
    gaps = [(0, order[0]), (order[0], frames - 1)]
    while gaps:
        gaps = [gap for gap in gaps if gap[1] - gap[0] > 1]
        middles = [(low + high) // 2 for low, high in gaps]
        order += middles
        gaps = [
            part for (low, high), mid in zip(gaps, middles, strict=True) for part in ((low, mid), (mid, high))
        ]
    return order


class AdaFocusV2(nn.Module):
    """The complete system: MobileNet-V2 glancer, ResNet-50 focuser, position policy, pooling classifier."""

    def __init__(
        self,
        classes: int,
        *,
        num_segments: int = 16,
        patch_size: int = 128,
        input_size: int = 224,
        glance_size: int = 224,
        stn_hidden_dim: int = 2048,
        classifier_dim: int = 4096,
        dropout: float = 0.2,
        networks: Literal["published", "small"] = "published",
    ) -> None:
        super().__init__()
        check_patch(patch_size, input_size, input_size)
        self.patch_size, self.input_size, self.glance_size = patch_size, input_size, glance_size
        self.global_cnn: GlobalCNN | SmallGlobalCNN
        self.local_cnn: LocalCNN | SmallLocalCNN
        self.global_cnn, self.local_cnn = perception(networks, classes, dropout)
        self.local_dropout = nn.Dropout(dropout)
        self.policy = PositionPolicy(
            self.global_cnn.width, -(-glance_size // self.global_cnn.stride), stn_hidden_dim
        )
        self.classifier = PoolingClassifier(
            self.global_cnn.width + self.local_cnn.width, classes, num_segments, classifier_dim, dropout
        )

    def glance(self, frames_BT3SS: Tensor) -> tuple[Tensor, Tensor]:
        """GlobalCNN's maps [B, T, D, M, M] and vectors [B, T, D]."""
        images = frames_BT3SS.flatten(0, 1)
        if images.shape[-1] != self.glance_size:
            size = (self.glance_size, self.glance_size)
            images = F.interpolate(images, size, mode="bilinear", align_corners=True)
        maps, vectors = self.global_cnn(images)
        return maps.unflatten(0, frames_BT3SS.shape[:2]), vectors.unflatten(0, frames_BT3SS.shape[:2])

    def look(self, frames_BT3SS: Tensor, positions_BT2: Tensor, hard: bool = False) -> Tensor:
        """LocalCNN's vectors [B, T, 2048] of the windows. hard: whole-pixel crops, for speed at test time."""
        images, positions = frames_BT3SS.flatten(0, 1), positions_BT2.flatten(0, 1)
        windows = (
            crop(images, corners(positions, self.input_size, self.patch_size), self.patch_size)
            if hard
            else soft_window(images, positions, self.patch_size)
        )
        return self.local_cnn(windows).unflatten(0, frames_BT3SS.shape[:2])

    def forward(self, frames_BT3SS: Tensor, positions_BT2: Tensor | None = None) -> dict[str, Tensor]:
        """`logits` [B, T, C] after every frame, `global_logits` and `local_logits` of single frames [B, T,
        C],
        `positions` [B, T, 2]: the given ones, or the policy's."""
        maps, vectors = self.glance(frames_BT3SS)
        positions = self.policy(maps.detach()) if positions_BT2 is None else positions_BT2
        local = self.look(frames_BT3SS, positions)
        assert self.local_cnn.head is not None
        return {
            "logits": self.classifier(torch.cat([vectors, local], -1)),
            "global_logits": self.global_cnn.head(vectors),
            "local_logits": self.local_cnn.head(self.local_dropout(local)),
            "positions": positions,
        }

    def parameter_groups(self, lr: float, multipliers: Sequence[float]) -> list[dict[str, object]]:
        """Groups with their rates: multipliers of the glancer, the focuser, the policy and the classifier."""
        parts = (self.global_cnn, self.local_cnn, self.policy, self.classifier)
        return [
            {"params": list(part.parameters()), "lr": lr * factor}
            for part, factor in zip(parts, multipliers, strict=True)
        ]


def v2_loss(outputs: Sequence[dict[str, Tensor]], labels_B: Tensor) -> Tensor:
    """Mean over the passes (learned and random positions) of the three cross-entropies over all frames."""
    names = ("logits", "global_logits", "local_logits")
    return torch.stack(
        [sum((step_loss(out[n], labels_B) for n in names), torch.zeros(())) for out in outputs]
    ).mean()
