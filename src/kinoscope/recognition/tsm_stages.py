"""The stages of AdaFocus-TSM: two preparations, 1 with random windows, 2 by PPO, 3 under the policy (spec 11.4-11.6).

What differs from the official code:
1. Both networks can be prepared here; the official code leaves that to the TSM program, whose files are read too
   (`start`).
2. The optimiser trains what was meant to train (`models.tsm.optimizer_groups` can do as released).
3. Stage 1 is judged with the middle window; `validation_windows=random` is the official, noisy score.
4. A frame or video that cannot be read costs that video; the official code puts in random others without limit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.engine.stage import Run, Stage
from kinoscope.recognition.models import AdaFocusTsm
from kinoscope.recognition.models.adafocus import frame_loss
from kinoscope.recognition.models.folding import with_folded_perception
from kinoscope.recognition.models.policy import ActorCritic
from kinoscope.recognition.models.tsm import optimizer_groups, rollout
from kinoscope.recognition.models.windows import corners
from kinoscope.recognition.official import load_official, load_tsm_program, read_checkpoint
from kinoscope.recognition.ppo import Memory, policy_optimizer, ppo_update
from kinoscope.recognition.settings import RecognitionSettings, TsmModel
from kinoscope.recognition.stages import RecognitionStage, build, load_earlier, load_pretrained
from kinoscope.recognition.steps import set_stage_mode

PARTS = {
    "prepare_global": ("global_cnn.",),
    "prepare_local": ("local_cnn.", "classifier."),
    "stage1": ("local_cnn.", "classifier."),
    "stage2": ("policy.",),
    "stage3": ("local_cnn.", "classifier."),
}


def tsm_stages(settings: RecognitionSettings) -> list[Stage]:
    """All five, in order."""
    names = list(PARTS)
    return [
        (TsmPolicyStage if name == "stage2" else TsmStage)(settings, name, settings.train.budget(name, names))
        for name in names
    ]


class TsmStage(RecognitionStage):
    """The preparations, stage 1 and stage 3."""

    def build_model(self) -> nn.Module:
        model = cast(AdaFocusTsm, build(self.recipe, len(self.source.classes)))
        load_pretrained(model, self.recipe)
        loaded = []
        for file in map(Path, self.recipe.start):
            ours = {"glancer", "focuser", "fc", "policy"} & set(read_checkpoint(file))
            loaded += load_official(model, file) if ours else load_tsm_program(model, file)
        parts = {name: PARTS[name] for name in ("prepare_global", "prepare_local")}
        load_earlier(model, self.name, self.folder, bool(loaded), parts)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(PARTS[self.name]))
        self._eyes: AdaFocusTsm | None = None
        return model

    @property
    def number(self) -> int:
        return {"stage1": 1, "stage2": 2, "stage3": 3}.get(self.name, 0)

    def set_mode(self, model: nn.Module) -> None:
        net, settings = cast(AdaFocusTsm, getattr(model, "module", model)), cast(TsmModel, self.recipe.model)
        set_stage_mode(net, self.number)
        net.dropout.p = settings.dropout_stage3 if self.number == 3 else settings.dropout

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        net, train = cast(AdaFocusTsm, model), self.settings
        if self.name == "prepare_global":
            return [{"params": list(net.global_cnn.parameters()), "lr": train.backbone_lr}]
        fc_lr = train.backbone_lr if self.number == 0 else train.fc_lr
        groups = optimizer_groups(net, train.backbone_lr, fc_lr, train.optimizer.weight_decay)
        return [group for group in groups if group["params"]]

    def sets(self, frames_BT3SS: Tensor) -> tuple[Tensor, Tensor]:
        """Frames of the glancer and of the focuser."""
        settings = cast(TsmModel, self.recipe.model)
        glanced, looked = frames_BT3SS.split(
            [settings.num_segments_glancer, settings.num_segments_focuser], 1
        )
        return glanced, looked

    def random_windows(self, clips: int, device: torch.device, divisions: int = 1) -> Tensor:
        """Corners [V, B, 2] of uniformly drawn windows."""
        settings = self.recipe.model
        drawn = torch.rand(divisions, clips, 2, device=device)
        return corners(drawn, settings.input_size, settings.patch_size)

    def step(self, model: nn.Module, batch: tuple[Tensor, Tensor], run: Run) -> dict[str, Tensor]:
        frames, labels = (x.to(run.device) for x in batch)
        glanced, looked = self.sets(frames)
        if self.number == 0:
            network = "global" if self.name == "prepare_global" else "local"
            return {"loss": frame_loss(model(glanced, looked, prepare=network), labels)}
        where = self.random_windows(len(labels), run.device) if self.number == 1 else None
        return {"loss": F.cross_entropy(model(glanced, looked, where), labels)}

    def scores(self, model: nn.Module, frames_BT3SS: Tensor) -> Tensor:
        glanced, looked = self.sets(frames_BT3SS)
        if self.number == 0:
            network = "global" if self.name == "prepare_global" else "local"
            return model(glanced, looked, prepare=network).mean(1, keepdim=True)
        where = None
        if self.number == 1:
            where = self.random_windows(len(frames_BT3SS), frames_BT3SS.device)
            if self.recipe.validation_windows == "centre":
                size, patch = self.recipe.model.input_size, self.recipe.model.patch_size
                where = torch.full_like(where, (size - patch) // 2)
        return model(glanced, looked, where)[:, None]


class TsmPolicyStage(TsmStage):
    """Stage 2: the policy by PPO, one decision (or `video_div`) a clip, everything else fixed."""

    def build_model(self) -> nn.Module:
        model = super().build_model()
        policy = cast(ActorCritic, model.get_submodule("policy"))
        self.adam = policy_optimizer(policy, cast(TsmModel, self.recipe.model).policy_lr)
        return model

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        return [{"params": list(model.get_submodule("policy").parameters())}]

    def update(self, model: nn.Module, batch: tuple[Tensor, Tensor], run: Run) -> dict[str, Tensor]:
        net = cast(AdaFocusTsm, getattr(model, "module", model))
        if self._eyes is None:
            self._eyes = with_folded_perception(net)
        frames, labels = (x.to(run.device) for x in batch)
        baseline = self.random_windows(len(labels), run.device, net.video_div)
        states, choice, logits, _, rewards = rollout(self._eyes, *self.sets(frames), labels, baseline)
        memory = Memory(states, choice.actions, choice.log_probabilities, rewards.expand(net.video_div, -1))
        gamma = cast(TsmModel, self.recipe.model).gamma
        losses = ppo_update(net.policy, net.acting, self.adam, memory, gamma=gamma)
        confidence = logits.softmax(-1).gather(-1, labels[:, None]).mean()
        return {"loss": torch.tensor(losses[-1]), "reward": rewards.mean(), "confidence": confidence}

    def state(self) -> dict[str, Any]:
        return {"adam": self.adam.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.adam.load_state_dict(state["adam"])
