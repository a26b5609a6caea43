"""AdaFocus-TSM for Something-Something: two frame sets, temporal shifts, one window a clip.

AdaFocus, ICCV 2021, section 4.3 (specification 11). Shapes: B clips, Tg frames of the glancer, Tf of the
focuser,
V = `video_div` decisions a clip, C classes.

What differs from the official code:
1. Frozen parts run without gradient, and chosen and random windows pass through LocalCNN as one batch.
2. No random number is drawn at test time.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

from kinoscope.errors import KinoscopeError
from kinoscope.recognition.models.adafocus import Choice
from kinoscope.recognition.models.backbones import GLOBAL_WIDTH, LOCAL_WIDTH, GlobalCNN, LocalCNN
from kinoscope.recognition.models.policy import ActorCritic, ContinuousPolicy, DiscretePolicy
from kinoscope.recognition.models.windows import action_grid, check_patch, corners, crop


class AdaFocusTsm(nn.Module):
    """The complete system of part 2. `policy: none` while windows are random (stage 1)."""

    def __init__(
        self,
        classes: int,
        *,
        num_segments_glancer: int = 8,
        num_segments_focuser: int = 12,
        patch_size: int = 144,
        input_size: int = 224,
        shift_div: int = 8,
        is_shift: bool = True,
        random_patch: bool = False,
        ppo_continuous: bool = True,
        actorcritic_with_bn: bool = True,
        action_std: float = 0.25,
        action_dim: int = 25,
        hidden_state_dim: int = 1024,
        video_div: int = 1,
        with_glancer: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_patch(patch_size, input_size, input_size)
        for name, segments in (
            ("num_segments_glancer", num_segments_glancer),
            ("num_segments_focuser", num_segments_focuser),
        ):
            if segments % video_div:
                raise KinoscopeError(
                    f"video_div={video_div} does not divide the frames of a clip", field=name, value=segments
                )
        self.glancer_frames, self.focuser_frames = num_segments_glancer, num_segments_focuser
        self.patch_size, self.input_size = patch_size, input_size
        self.video_div, self.with_glancer = video_div, with_glancer
        self.global_cnn = GlobalCNN(classes, 0.0, num_segments_glancer if is_shift else None, shift_div)
        self.local_cnn = LocalCNN(None, num_segments_focuser if is_shift else None, shift_div)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(LOCAL_WIDTH, classes)
        self.grid: Tensor | None = None
        if not random_patch:
            channels, side = GLOBAL_WIDTH * num_segments_glancer // video_div, input_size // 32

            def policy() -> ActorCritic:
                if ppo_continuous:
                    return ContinuousPolicy(channels, side, hidden_state_dim, action_std, actorcritic_with_bn)
                return DiscretePolicy(channels, side, hidden_state_dim, action_dim, norms=True, reduced=64)

            self.policy, self.acting = policy(), policy()
            self.acting.load_state_dict(self.policy.state_dict())
            if not ppo_continuous:
                self.grid = action_grid(action_dim)

    @property
    def has_policy(self) -> bool:
        return hasattr(self, "policy")

    def glance(self, frames_BT3SS: Tensor) -> tuple[Tensor, Tensor]:
        """States of the policy [V, B, channels, M, M], and GlobalCNN's logits [B, Tg, C]."""
        clips = frames_BT3SS.shape[0]
        maps, vectors = self.global_cnn(frames_BT3SS.flatten(0, 1))
        logits = self.global_cnn.head(vectors).view(clips, self.glancer_frames, -1)
        states = maps.reshape(clips, self.video_div, -1, *maps.shape[-2:]).transpose(0, 1)
        return states, logits

    def choose(self, states_VBDMM: Tensor, explore: bool = False) -> Choice:
        """One window for every division of a clip, from the acting copy of the policy."""
        if not self.has_policy:
            raise KinoscopeError("this model has no policy yet", field="stage", remedy="train stage 2 first")
        actions, log_probabilities = self.acting.act(states_VBDMM, explore)
        positions = actions if self.grid is None else self.grid.to(actions.device)[actions]
        return Choice(
            actions, log_probabilities, positions, corners(positions, self.input_size, self.patch_size)
        )

    def look(self, frames_BT3SS: Tensor, corners_VB2: Tensor) -> Tensor:
        """Local logits [B, Tf, C] with the windows of the divisions; one window serves all its frames."""
        repeats = self.focuser_frames // len(corners_VB2)
        each = corners_VB2.transpose(0, 1).repeat_interleave(repeats, 1)
        windows = crop(frames_BT3SS.flatten(0, 1), each.flatten(0, 1), self.patch_size)
        return self.classifier(self.dropout(self.local_cnn(windows))).unflatten(0, frames_BT3SS.shape[:2])

    def fuse(self, global_BTC: Tensor, local_BTC: Tensor) -> Tensor:
        """The prediction [B, C]: mean local logits plus mean global logits."""
        local = local_BTC.mean(1)
        return local + global_BTC.mean(1) if self.with_glancer else local

    def forward(
        self,
        glancer_BT3SS: Tensor,
        focuser_BT3SS: Tensor,
        corners_VB2: Tensor | None = None,
        prepare: Literal["global", "local"] | None = None,
    ) -> Tensor:
        """Logits [B, C] with the given windows, or the greedily chosen ones. GlobalCNN is not trained there.

        prepare: logits [B, T, C] of one network's whole frames, its preparation.
        """
        if prepare is not None:
            whole = glancer_BT3SS if prepare == "global" else focuser_BT3SS
            images = whole.flatten(0, 1)
            if prepare == "global":
                logits = self.global_cnn.head(self.dropout(self.global_cnn(images)[1]))
            else:
                logits = self.classifier(self.dropout(self.local_cnn(images)))
            return logits.unflatten(0, whole.shape[:2])
        with torch.no_grad():
            states, global_logits = self.glance(glancer_BT3SS)
            if corners_VB2 is None:
                corners_VB2 = self.choose(states).corners
        return self.fuse(global_logits, self.look(focuser_BT3SS, corners_VB2))


@torch.no_grad()
def rollout(
    model: AdaFocusTsm,
    glancer_BT3SS: Tensor,
    focuser_BT3SS: Tensor,
    labels_B: Tensor,
    baseline_corners_VB2: Tensor,
    explore: bool = True,
) -> tuple[Tensor, Choice, Tensor, Tensor, Tensor]:
    """States, choice, logits [B, C], those of the random window, and the reward [B] (their confidences'
    difference)."""
    states, global_logits = model.glance(glancer_BT3SS)
    choice = model.choose(states, explore)
    both = torch.cat([choice.corners, baseline_corners_VB2.to(choice.corners.device)], 1)
    local, other = model.look(torch.cat([focuser_BT3SS, focuser_BT3SS]), both).chunk(2)
    logits, baseline = model.fuse(global_logits, local), model.fuse(global_logits, other)
    index = labels_B[:, None]
    chosen, random = (x.softmax(-1).gather(-1, index).squeeze(-1) for x in (logits, baseline))
    return states, choice, logits, baseline, chosen - random


def optimizer_groups(
    model: AdaFocusTsm,
    backbone_lr: float,
    fc_lr: float,
    weight_decay: float = 1e-4,
    official_defect: bool = False,
) -> list[dict[str, object]]:
    """The six groups of the official optimiser: first convolution weight and bias, other convolutions'
    weights
    and biases, batch norms, classifier.

    official_defect: as released, the schedule reaches the first two groups alone (the second is empty), so
    all
    but the first convolution keeps the rate 0. Otherwise LocalCNN trains at backbone_lr, the classifier at
    fc_lr.
    """
    groups: list[list[nn.Parameter]] = [[] for _ in range(5)]
    first = True
    for module in model.local_cnn.modules():
        if isinstance(module, nn.Conv2d):
            at = 0 if first else 2
            first = False
            groups[at].append(cast(nn.Parameter, module.weight))
            if module.bias is not None:
                groups[at + 1].append(cast(nn.Parameter, module.bias))
        elif isinstance(module, nn.BatchNorm2d):
            groups[4] += list(module.parameters())
    groups.append(list(model.classifier.parameters()))
    rates = [backbone_lr, fc_lr, 0, 0, 0, 0] if official_defect else [backbone_lr] * 5 + [fc_lr]
    return [
        {"params": group, "lr": rate, "weight_decay": weight_decay}
        for group, rate in zip(groups, rates, strict=True)
    ]
