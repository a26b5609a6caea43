"""The demo of recognition: AdaFocus on drawn motions, all five stages, beside the same network looking elsewhere.

The last stage (focuser and classifier) is trained once for every way of looking, for the same number of steps: where
the policy says, at random, at the centre, and at the whole frame shrunk to the size of a window (equal cost). V2 starts
from the same prepared networks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.engine.files import write_json
from kinoscope.engine.folder import train_stages
from kinoscope.engine.trainer import Trainer
from kinoscope.engine.weights import find_weights, load_weights
from kinoscope.recipe import to_yaml
from kinoscope.recognition.augment import MEAN, STD
from kinoscope.recognition.cost import part_costs
from kinoscope.recognition.data import Clip
from kinoscope.recognition.heads import HeadsStage
from kinoscope.recognition.metrics import top_k
from kinoscope.recognition.models import AdaFocus, AdaFocusV2
from kinoscope.recognition.models.windows import corners
from kinoscope.recognition.settings import RecognitionSettings, V2Model
from kinoscope.recognition.stages import AdaFocusStage, build, stages
from kinoscope.report import write
from kinoscope.tasks import load_recipe

RECIPE = "recognition/adafocus_figures"
ELSEWHERE = ("random", "centre", "whole frame")
SHOWN = 6  # clips of the picture


class Looking(AdaFocusStage):
    """Stage 3 with windows that do not come from the policy."""

    def __init__(self, settings: RecognitionSettings, rule: str) -> None:
        super().__init__(settings, "stage3", settings.train.stage3)
        self.rule, self.name = rule, "stage3_" + rule.replace(" ", "_")

    @property
    def number(self) -> int:
        return 3

    def _trained(self) -> tuple[str, ...]:
        return ("local_cnn.features", "classifier.")

    def build_model(self) -> nn.Module:
        model = super().build_model()
        if self.rule == "whole frame":
            model.__class__ = WholeFrame
        return model

    def _start(self, model: AdaFocus) -> None:
        model.load_state_dict(load_weights(find_weights(self.folder, "stage2")).state)

    def windows(self, model: AdaFocus, frames_BT3SS: Tensor, maps_BTDMM: Tensor) -> Tensor:
        if self.rule == "random":
            return self._random(frames_BT3SS)
        middle = (model.input_size - model.patch_size) // 2
        return torch.full((*frames_BT3SS.shape[:2], 2), middle, device=frames_BT3SS.device)

    def scores(self, model: nn.Module, frames_BT3SS: Tensor) -> Tensor:
        net = cast(AdaFocus, getattr(model, "module", model))
        maps, vectors = net.glance(frames_BT3SS)
        return net(frames_BT3SS, self.windows(net, frames_BT3SS, maps), vectors_BTD=vectors)


class WholeFrame(AdaFocus):
    """The focuser sees the whole frame at the size of a window."""

    def look(self, frames_BT3SS: Tensor, corners_BT2: Tensor) -> Tensor:
        size = (self.patch_size, self.patch_size)
        small = F.interpolate(frames_BT3SS.flatten(0, 1), size, mode="area")
        return self.local_cnn(small).unflatten(0, frames_BT3SS.shape[:2])


class Successor(HeadsStage):
    """AdaFocus V2 on the networks that AdaFocus has prepared: a policy of movement, linear layers on statistics."""

    name = "v2"

    def __init__(self, settings: RecognitionSettings) -> None:
        same = settings.model.model_dump(include={"num_segments", "input_size", "patch_size", "glance_size"})
        model = V2Model(networks="small", policy="motion", classifier="statistics", **same)
        super().__init__(settings.model_copy(update={"model": model}), self.name, settings.train.heads)

    def network(self) -> nn.Module:
        model = super().network()
        for name, prefix in (("prepare_global", "global_cnn."), ("prepare_local", "local_cnn.")):
            state = load_weights(find_weights(self.folder, name)).state
            model.load_state_dict({k: v for k, v in state.items() if k.startswith(prefix)}, strict=False)
        return model


def demo(folder: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Trains all stages and the three ways of looking elsewhere; accuracy, cost and how much of the figure is seen."""
    settings = load_recipe(RECIPE, list(overrides))
    recipe = to_yaml(settings)
    parts = stages(settings)
    learned = cast(AdaFocusStage, parts[-1])
    train_stages(parts, folder, recipe, resume=False)
    others = [Looking(settings, rule) for rule in ELSEWHERE]
    for other in others:
        Trainer(other, folder, recipe, resume=False).train()
    successor = Successor(settings)
    Trainer(successor, folder, recipe, resume=False).train()
    clips = [learned.testing.exact(index) for index in range(len(learned.testing))]
    rows = {}
    for rule, stage in zip(("learned", *ELSEWHERE), (learned, *others), strict=True):
        model = cast(AdaFocus, build(settings, len(learned.source.classes)))
        model.load_state_dict(load_weights(folder / "weights" / stage.name).state)
        if rule == "whole frame":
            model.__class__ = WholeFrame
        rows[rule] = measure(stage, model.eval(), clips)
        if rule == "learned":
            costs = part_costs(model, settings.model.num_segments)
            picture(
                stage, model, clips[:: max(len(clips) // SHOWN, 1)][:SHOWN], folder / "where_it_looks.png"
            )
    rows["v2"], costs_v2 = measure_v2(successor, folder, clips)
    for rule, row in rows.items():
        seen = "" if row["covered"] is None else f"figure inside the window {row['covered']:5.1f} %"
        print(
            f"{rule:12} top-1 {row['top1']:5.1f} %  {(costs_v2 if rule == 'v2' else costs)['total']:.4f} GMAC  {seen}",
            file=sys.stderr,
        )
    evaluation = {
        "protocol": "people who were not trained on, last step",
        "looking": rows,
        "gmacs": costs,
        "gmacs_v2": costs_v2,
    }
    write_json(folder / "evaluation.json", evaluation)
    scores = ", ".join(f"{rule} {row['top1']:.1f}" for rule, row in rows.items())
    return {"summary": f"top-1: {scores}", "report": str(write(folder)), **evaluation}


@torch.no_grad()
def measure(stage: AdaFocusStage, model: AdaFocus, clips: Sequence[Clip]) -> dict[str, float | None]:
    """Top-1, and the mean share of the figure's box inside the window, in percent."""
    torch.manual_seed(0)
    frames = torch.stack([clip.frames for clip in clips])
    maps, vectors = model.glance(frames)
    where = stage.windows(model, frames, maps)
    logits = model(frames, where, vectors_BTD=vectors)[:, -1].numpy()
    top1 = top_k(logits, np.array([clip.labels[0] for clip in clips]), 1)
    if isinstance(model, WholeFrame):
        return {"top1": top1, "covered": None}
    boxes = np.stack([clip.boxes for clip in clips if clip.boxes is not None])
    return {"top1": top1, "covered": 100 * float(covered(where.numpy(), boxes, model.patch_size).mean())}


@torch.no_grad()
def measure_v2(
    stage: Successor, folder: Path, clips: Sequence[Clip]
) -> tuple[dict[str, float | None], dict[str, float]]:
    """The same of V2, and its costs."""
    model = cast(AdaFocusV2, build(stage.recipe, len(stage.source.classes)))
    model.load_state_dict(load_weights(folder / "weights" / stage.name).state)
    frames = torch.stack([clip.frames for clip in clips])
    out = model.eval()(model.arranged(frames))
    where = corners(out["positions"], model.input_size, model.patch_size)
    boxes = np.stack([clip.boxes for clip in clips if clip.boxes is not None])
    top1 = top_k(out["logits"][:, -1].numpy(), np.array([clip.labels[0] for clip in clips]), 1)
    share = 100 * float(covered(where.numpy(), boxes, model.patch_size).mean())
    return {"top1": top1, "covered": share}, part_costs(model, stage.recipe.model.num_segments)


def covered(corners_2: np.ndarray, boxes_4: np.ndarray, patch: int) -> np.ndarray:
    """Share of each box (top, left, bottom, right) inside the window at each corner (row, column): [...]."""
    low = np.maximum(corners_2, boxes_4[..., :2])
    high = np.minimum(corners_2 + patch, boxes_4[..., 2:])
    sides = boxes_4[..., 2:] - boxes_4[..., :2]
    return np.maximum(high - low, 0).prod(-1) / np.maximum(sides, 1e-6).prod(-1)


@torch.no_grad()
def picture(stage: AdaFocusStage, model: AdaFocus, clips: Sequence[Clip], file: Path, zoom: int = 3) -> None:
    """One row a clip: its frames with the windows that the policy chose."""
    frames = torch.stack([clip.frames for clip in clips])
    where = stage.windows(model, frames, model.glance(frames)[0])
    pixels = (frames * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)).clamp(0, 1) * 255
    rows = (
        pixels.byte().permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    )  # frames side by side, clips below
    image = Image.fromarray(rows.numpy())
    image = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    pen, side = ImageDraw.Draw(image), model.input_size
    for row, corners_T2 in enumerate(where.tolist()):
        for t, (y, x) in enumerate(corners_T2):
            top, left = (row * side + y) * zoom, (t * side + x) * zoom
            edge = model.patch_size * zoom - 1
            pen.rectangle((left, top, left + edge, top + edge), outline=(80, 255, 120), width=2)
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)
