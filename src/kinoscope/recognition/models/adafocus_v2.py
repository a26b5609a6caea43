"""AdaFocus V2: the window is differentiable, so one stage of ordinary training does.

Wang et al., CVPR 2022 (specification 12.1). Shapes: B clips, T frames, S frame side, P window side, C
classes.

What differs from the official code:
1. `backbone_weights` are given by the caller; nothing is downloaded.
2. The window may be cut from frames of a higher resolution than the glance (`glance_size` < frame side), and
   frames need not be square: the glance is the whole frame at the size of the glance.
3. For few videos: a policy that starts where something moves, a classifier on statistics of the windows
   (`policy: motion`, `classifier: statistics`); frames then come in their order in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.recognition.models.adafocus import step_loss
from kinoscope.recognition.models.classifiers import PoolingClassifier, StatisticsClassifier
from kinoscope.recognition.models.perception import FocuserNet, GlancerNet, Networks, perception
from kinoscope.recognition.models.policy import MotionPolicy, PositionPolicy
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
        networks: Networks = "published",
        policy: Literal["published", "motion"] = "published",
        classifier: Literal["pooling", "statistics"] = "pooling",
    ) -> None:
        super().__init__()
        check_patch(patch_size, input_size, input_size)
        self.patch_size, self.input_size, self.glance_size = patch_size, input_size, glance_size
        self.global_cnn: GlancerNet
        self.local_cnn: FocuserNet
        self.global_cnn, self.local_cnn = perception(networks, classes, dropout)
        self.local_dropout = nn.Dropout(dropout)
        glanced, looked = self.global_cnn.width, self.local_cnn.width
        side = -(-glance_size // self.global_cnn.stride)
        self.order = coarse_to_fine(num_segments)  # in which frames are looked at
        self.policy: PositionPolicy | MotionPolicy = (
            MotionPolicy(glanced) if policy == "motion" else PositionPolicy(glanced, side, stn_hidden_dim)
        )
        self.classifier: PoolingClassifier | StatisticsClassifier = (
            StatisticsClassifier(looked, classes, self.order)
            if classifier == "statistics"
            else PoolingClassifier(glanced + looked, classes, num_segments, classifier_dim, dropout)
        )

    def arranged(self, frames_BT3HW: Tensor) -> Tensor:
        """Frames as `forward` wants them: coarse to fine, or as they are where the classifier knows the time."""
        return (
            frames_BT3HW if isinstance(self.classifier, StatisticsClassifier) else frames_BT3HW[:, self.order]
        )

    def where(self, maps_BTDMM: Tensor, size: tuple[int, int]) -> Tensor:
        """Positions [B, T, 2] of the windows in frames of this height and width: 0 and 1 are the borders."""
        if isinstance(self.policy, PositionPolicy):
            return self.policy(maps_BTDMM)
        frame = torch.tensor(size, device=maps_BTDMM.device)
        room = (frame - self.patch_size).clamp_min(1)
        return ((self.policy(maps_BTDMM) * frame - self.patch_size / 2) / room).clamp(0, 1)

    def glance(self, frames_BT3SS: Tensor) -> tuple[Tensor, Tensor]:
        """GlobalCNN's maps [B, T, D, M, M] and vectors [B, T, D]."""
        images, size = frames_BT3SS.flatten(0, 1), (self.glance_size, self.glance_size)
        if images.shape[-1] != images.shape[-2]:
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        elif images.shape[-1] != self.glance_size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=True)
        maps, vectors = self.global_cnn(images)
        return maps.unflatten(0, frames_BT3SS.shape[:2]), vectors.unflatten(0, frames_BT3SS.shape[:2])

    def look(self, frames_BT3SS: Tensor, positions_BT2: Tensor, hard: bool = False) -> Tensor:
        """LocalCNN's vectors [B, T, 2048] of the windows. hard: whole-pixel crops, for speed at test time."""
        images, positions = frames_BT3SS.flatten(0, 1), positions_BT2.flatten(0, 1)
        height, width = images.shape[-2:]
        windows = (
            crop(images, corners(positions, (height, width), self.patch_size), self.patch_size)
            if hard
            else soft_window(images, positions, self.patch_size)
        )
        return self.local_cnn(windows).unflatten(0, frames_BT3SS.shape[:2])

    def forward(self, frames_BT3SS: Tensor, positions_BT2: Tensor | None = None) -> dict[str, Tensor]:
        """`logits` [B, T, C] after every frame, `global_logits` and `local_logits` of single frames [B, T, C],
        `positions` [B, T, 2]: the given ones, or the policy's, and `local` [B, T, F], what the focuser saw."""
        maps, vectors = self.glance(frames_BT3SS)
        size = (frames_BT3SS.shape[-2], frames_BT3SS.shape[-1])
        positions = self.where(maps.detach(), size) if positions_BT2 is None else positions_BT2
        # whole pixels where nothing is differentiated: interpolation blurs some frames and not others, which the
        # statistics would take for movement
        hard = isinstance(self.policy, MotionPolicy) and not torch.is_grad_enabled()
        local = self.look(frames_BT3SS, positions, hard)
        assert self.local_cnn.head is not None
        alone = isinstance(self.classifier, StatisticsClassifier)
        return {
            "logits": self.classifier(local if alone else torch.cat([vectors, local], -1)),
            "global_logits": self.global_cnn.head(vectors),
            "local_logits": self.local_cnn.head(self.local_dropout(local)),
            "positions": positions,
            "local": local,
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
