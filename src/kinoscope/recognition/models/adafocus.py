"""AdaFocus: glance at every frame, choose a window of each, look there closely, decide over time.

Wang et al., ICCV 2021, section 3 (specification 1-5). Shapes: B clips, T frames, S frame side, P window side,
D = 1280 channels and M side of the glancer's map, C classes, F features of a frame.

What differs from the official code:
1. The T decisions of the policy come first and all windows then pass through LocalCNN as one batch:
   results are
   the same, since no decision depends on what LocalCNN saw.
2. Frozen parts run without gradient.
3. `consensus: fc` works in stage 1 with and without AMP.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.errors import KinoscopeError
from kinoscope.recognition.models.backbones import GLOBAL_WIDTH
from kinoscope.recognition.models.classifiers import GruClassifier, LinearClassifier
from kinoscope.recognition.models.perception import FocuserNet, GlancerNet, Networks, perception
from kinoscope.recognition.models.policy import DiscretePolicy
from kinoscope.recognition.models.windows import action_grid, check_patch, corners, crop


@dataclass(frozen=True)
class Choice:
    """Where the policy looks: actions [T, B], log-probabilities [T, B], positions and corners [T, B, 2]."""

    actions: Tensor
    log_probabilities: Tensor
    positions: Tensor
    corners: Tensor


class AdaFocus(nn.Module):
    """The complete system. `action_dim=None`: no policy yet (preparation and stage 1, random windows)."""

    grid: Tensor

    def __init__(
        self,
        classes: int,
        *,
        patch_size: int = 128,
        input_size: int = 224,
        glance_size: int = 224,
        action_dim: int | None = 49,
        hidden_state_dim: int = 1024,
        feature_map_channels: int = GLOBAL_WIDTH,
        policy_conv: bool = True,
        consensus: Literal["gru", "fc"] = "gru",
        hidden_dim: int = 1024,
        dropout: float = 0.5,
        with_glancer: bool = True,
        networks: Networks = "published",
    ) -> None:
        super().__init__()
        if feature_map_channels != GLOBAL_WIDTH:
            raise KinoscopeError(
                f"MobileNet-V2's map has {GLOBAL_WIDTH} channels",
                field="feature_map_channels",
                value=feature_map_channels,
            )
        check_patch(patch_size, input_size, input_size)
        self.patch_size, self.input_size, self.glance_size = patch_size, input_size, glance_size
        self.with_glancer = with_glancer
        self.global_cnn: GlancerNet
        self.local_cnn: FocuserNet
        self.global_cnn, self.local_cnn = perception(networks, classes)
        if action_dim is not None:
            self.register_buffer("grid", action_grid(action_dim), persistent=False)
            side = math.ceil(glance_size / self.global_cnn.stride)
            self.policy, self.acting = (
                DiscretePolicy(self.global_cnn.width, side, hidden_state_dim, action_dim, policy_conv)
                for _ in range(2)
            )
            self.acting.load_state_dict(self.policy.state_dict())
        width = self.local_cnn.width + (self.global_cnn.width if with_glancer else 0)
        self.classifier: GruClassifier | LinearClassifier = (
            GruClassifier(width, hidden_dim, classes, dropout)
            if consensus == "gru"
            else LinearClassifier(width, classes, dropout)
        )

    @property
    def has_policy(self) -> bool:
        return hasattr(self, "policy")

    def glance(self, frames_BT3SS: Tensor) -> tuple[Tensor, Tensor]:
        """GlobalCNN's maps [B, T, D, M, M] and vectors [B, T, D] of the frames at the size of the glance."""
        images = scan(frames_BT3SS.flatten(0, 1), self.glance_size)
        maps, vectors = self.global_cnn(images)
        return maps.unflatten(0, frames_BT3SS.shape[:2]), vectors.unflatten(0, frames_BT3SS.shape[:2])

    def choose(self, maps_BTDMM: Tensor, explore: bool = False) -> Choice:
        """One window for every frame, from the acting copy of the policy."""
        if not self.has_policy:
            raise KinoscopeError(
                "this model has no policy yet",
                field="stage",
                remedy="train stage 2, or give the windows (stage 1 draws them at random)",
            )
        actions, log_probabilities = self.acting.act(maps_BTDMM.transpose(0, 1), explore)
        positions = self.grid[actions]
        return Choice(
            actions, log_probabilities, positions, corners(positions, self.input_size, self.patch_size)
        )

    def look(self, frames_BT3SS: Tensor, corners_BT2: Tensor) -> Tensor:
        """LocalCNN's vectors [B, T, 2048] of one window of every frame."""
        windows = crop(frames_BT3SS.flatten(0, 1), corners_BT2.flatten(0, 1), self.patch_size)
        return self.local_cnn(windows).unflatten(0, frames_BT3SS.shape[:2])

    def fuse(self, global_BTD: Tensor, local_BTD: Tensor) -> Tensor:
        """Features of the frames [B, T, F]: the global vector, then the local one."""
        return torch.cat([global_BTD, local_BTD], -1) if self.with_glancer else local_BTD

    def features(
        self, frames_BT3SS: Tensor, corners_BT2: Tensor | None = None
    ) -> tuple[Tensor, Choice | None]:
        """Features [B, T, F] with the given windows, or the greedily chosen ones (and the choice)."""
        maps, global_vectors = self.glance(frames_BT3SS)
        choice = None
        if corners_BT2 is None:
            choice = self.choose(maps)
            corners_BT2 = choice.corners.transpose(0, 1)
        return self.fuse(global_vectors, self.look(frames_BT3SS, corners_BT2)), choice

    def forward(
        self,
        frames_BT3SS: Tensor,
        corners_BT2: Tensor | None = None,
        prepare: Literal["global", "local"] | None = None,
        vectors_BTD: Tensor | None = None,
        features_BTF: Tensor | None = None,
    ) -> Tensor:
        """Scores after every frame [B, T, C]: logits (gru), or log-probabilities of the clip [B, C] (fc).

        prepare: logits [B, T, C] of the whole frames from one network alone (stage 0). vectors, features: what a
        frozen part has computed already (stages 1 and 3).
        """
        if prepare is not None:
            network = self.global_cnn if prepare == "global" else self.local_cnn
            return network.predict(frames_BT3SS.flatten(0, 1)).unflatten(0, frames_BT3SS.shape[:2])
        if features_BTF is None and vectors_BTD is not None and corners_BT2 is not None:
            features_BTF = self.fuse(vectors_BTD, self.look(frames_BT3SS, corners_BT2))
        if features_BTF is None:
            features_BTF, _ = self.features(frames_BT3SS, corners_BT2)
        out = self.classifier(features_BTF)
        return out[0] if isinstance(out, tuple) else out


@dataclass(frozen=True)
class Rollout:
    """What stage 2 sees in one batch; everything [T, B, ...]."""

    states: Tensor
    choice: Choice
    logits: Tensor
    baseline_logits: Tensor
    confidence: Tensor
    baseline_confidence: Tensor


@torch.no_grad()
def rollout(
    model: AdaFocus,
    frames_BT3SS: Tensor,
    labels_B: Tensor,
    baseline_corners_TB2: Tensor | None,
    explore: bool = True,
) -> Rollout:
    """Every decision of a batch of clips, its confidence and that of the baseline (specification 4.4).

    baseline: random windows of the same frames at the given corners; None: zeros in place of the local
    vector.
    The chosen and the random windows pass through LocalCNN in one batch.
    """
    if not isinstance(model.classifier, GruClassifier):
        raise KinoscopeError(
            "the policy is trained on step-wise logits, which the linear consensus does not have",
            field="consensus",
            value="fc",
            remedy="consensus=gru",
        )
    maps, global_vectors = model.glance(frames_BT3SS)
    choice = model.choose(maps, explore)
    chosen_corners = choice.corners.transpose(0, 1)
    if baseline_corners_TB2 is None:
        local = model.look(frames_BT3SS, chosen_corners)
        other = torch.zeros_like(local)
    else:
        both = torch.cat([chosen_corners, baseline_corners_TB2.transpose(0, 1).to(chosen_corners.device)])
        local, other = model.look(torch.cat([frames_BT3SS, frames_BT3SS]), both).chunk(2)
    logits, baseline = model.classifier.probe(
        model.fuse(global_vectors, local), model.fuse(global_vectors, other)
    )
    logits, baseline = logits.transpose(0, 1), baseline.transpose(0, 1)
    index = labels_B.expand(len(logits), -1)[..., None]
    confidence, baseline_confidence = (
        x.softmax(-1).gather(-1, index).squeeze(-1) for x in (logits, baseline)
    )
    return Rollout(maps.transpose(0, 1), choice, logits, baseline, confidence, baseline_confidence)


def scan(images_NCHW: Tensor, size: int) -> Tensor:
    """Frames at the size of the glance, by nearest neighbour; the frames themselves at their own size."""
    if images_NCHW.shape[-2:] == (size, size):
        return images_NCHW
    return F.interpolate(images_NCHW, (size, size), mode="nearest")


def step_loss(logits_BTC: Tensor, labels_B: Tensor) -> Tensor:
    """Cross-entropy of every step with the clip's label, mean over all of them."""
    return F.cross_entropy(logits_BTC.flatten(0, 1), labels_B.repeat_interleave(logits_BTC.shape[1]))


def frame_loss(logits_BTC: Tensor, labels_B: Tensor) -> Tensor:
    """Preparation: cross-entropy of the mean of the frames' logits."""
    return F.cross_entropy(logits_BTC.mean(1), labels_B)
