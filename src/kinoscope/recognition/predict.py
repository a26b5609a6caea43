"""A trained recogniser: classes, where and when it looked, what that cost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kinoscope.engine.files import write_json
from kinoscope.engine.weights import Weights
from kinoscope.errors import KinoscopeError
from kinoscope.media.video import probe
from kinoscope.recognition import exits
from kinoscope.recognition.augment import scale_size
from kinoscope.recognition.cost import everything_cost, part_costs, step_costs
from kinoscope.recognition.data import VIDEOS, Clips, Entry, Source, open_source
from kinoscope.recognition.metrics import mean_average_precision, top_k
from kinoscope.recognition.models import AdaFocus, AdaFocusTsm, AdaFocusV2
from kinoscope.recognition.models.classifiers import StatisticsClassifier
from kinoscope.recognition.models.folding import with_folded_perception
from kinoscope.recognition.models.windows import corners
from kinoscope.recognition.official import load_official as load_checkpoint
from kinoscope.recognition.settings import RecognitionSettings
from kinoscope.recognition.stages import build, clips_of


def load(weights: Weights, settings: RecognitionSettings) -> Recogniser:
    """A recogniser from a weights folder."""
    names = list(weights.about["labels"])
    model = build(settings, len(names))
    model.load_state_dict(weights.state)
    return Recogniser(model, settings, names)


def load_official(file: Path, settings: RecognitionSettings) -> Recogniser:
    """A recogniser from an official checkpoint; the class names come from the recipe's data set."""
    names = open_source(settings).classes
    model = build(settings, len(names))
    if not isinstance(model, AdaFocus | AdaFocusTsm):
        raise KinoscopeError(
            "official checkpoints are read for AdaFocus, parts 1 and 2",
            file=file,
            field="model.kind",
            value=settings.model.kind,
        )
    loaded = load_checkpoint(model, file)
    if lacking := {"global_cnn", "local_cnn", "classifier", "policy"} - set(loaded):
        raise KinoscopeError(
            f"this checkpoint lacks {', '.join(sorted(lacking))}",
            file=file,
            remedy="name it with start=[FILE] and train the later stages",
        )
    return Recogniser(model, settings, names)


@dataclass(frozen=True)
class Placement:
    """Where the network's frames lie in the picture: pixels of the picture a pixel, and the cut-out's left and top."""

    scale: float
    left: float
    top: float

    @staticmethod
    def of(picture: tuple[int, int], clips: Clips) -> Placement:
        """picture: (width, height) of the video."""
        short = min(picture)
        if clips.whole:
            return Placement(short / clips.size, 0.0, 0.0)
        scale = short / scale_size(clips.size)
        left, top = ((side - clips.size * scale) / 2 for side in picture)
        return Placement(scale, left, top)

    def box(self, corner: Sequence[int], side: Sequence[int]) -> list[int]:
        """[left, top, width, height] in the picture of a window's (row, column) and (height, width)."""
        (row, column), (height, width) = corner, side
        place = (self.left + column * self.scale, self.top + row * self.scale)
        return [round(v) for v in (*place, width * self.scale, height * self.scale)]


class Recogniser:
    """`predict(video)` and `evaluate(folder)`."""

    def __init__(self, model: nn.Module, settings: RecognitionSettings, labels: list[str]) -> None:
        self.model, self.settings, self.labels = model.eval(), settings, labels
        self.fast = with_folded_perception(self.model)  # what runs; `model` is what is counted

    @torch.no_grad()
    def steps(
        self, frames_T3SS: torch.Tensor
    ) -> tuple[np.ndarray, list[int], list[list[int]], list[list[int]]]:
        """Logits [K, C] of every step, the order of the frames, and corners (row, column) and sides (height, width)
        of the windows in that order, in pixels of the frames."""
        same = [[self.settings.model.patch_size] * 2]
        model, clip = self.fast, frames_T3SS[None]
        if isinstance(model, AdaFocusTsm):
            glanced, looked = clip.split([model.glancer_frames, model.focuser_frames], 1)
            states, _ = model.glance(glanced)
            where = model.choose(states).corners
            each = where[:, 0].repeat_interleave(model.focuser_frames // len(where), 0)
            logits = model(glanced, looked, where).numpy()
            return logits, list(range(len(each))), each.tolist(), same * len(each)
        if isinstance(model, AdaFocus):
            features, choice = model.features(clip)
            assert choice is not None
            out = model.classifier(features)
            assert torch.is_tensor(out)
            return (
                out[0].numpy(),
                list(range(clip.shape[1])),
                choice.corners[:, 0].tolist(),
                same * clip.shape[1],
            )
        if isinstance(model, AdaFocusV2):
            seen = model(model.arranged(clip))
            where = corners(seen["positions"][0], (clip.shape[-2], clip.shape[-1]), model.patch_size)
            if isinstance(model.classifier, StatisticsClassifier):  # frames in time; looked at in this order
                where = where[model.order]
            return seen["logits"][0].numpy(), model.order, where.tolist(), same * clip.shape[1]
        seen = model(clip)
        chosen = seen["frames"][0]
        action = seen["windows"][0][chosen]
        size = self.settings.model.input_size
        least = self.settings.model.smallest_window  # type: ignore[union-attr]
        sides = action[:, 2:] * (size - least) + least
        at = (action[:, :2] * (size - sides)).long()
        return seen["logits"][0].numpy(), chosen.tolist(), at.tolist(), sides.round().long().tolist()

    def clips(self, entries: list[Entry]) -> Clips:
        return clips_of(self.settings, entries)

    def predict(self, path: str | Path, everything: bool = False) -> dict[str, Any]:
        """Classes with probabilities, the windows in their order, the step that settled the answer."""
        file = Path(path)
        if not file.is_file() or file.suffix.lower() not in VIDEOS:
            raise KinoscopeError("this is no video file", file=file, remedy="one of " + " ".join(VIDEOS))
        clips = self.clips([Entry(file, (0,))])
        frames = clips.exact(0).frames
        logits, order, where, sides = self.steps(frames)
        info = probe(file)
        picture = Placement.of((info.width, info.height), clips)
        p = torch.from_numpy(logits).softmax(-1).numpy()
        best = p.argmax(1)
        changes = np.nonzero(best != best[-1])[0]
        ranked = p[-1].argsort()[::-1][: None if everything else 5]
        result: dict[str, Any] = {
            "input": str(file),
            "classes": [{"label": self.labels[c], "score": float(p[-1, c])} for c in ranked],
            "frames": len(order) if isinstance(self.model, AdaFocusTsm) else len(frames),
            "windows": [
                {"frame": f, "corner": c, "box": picture.box(c, side)}
                for f, c, side in zip(order, where, sides, strict=True)
            ],
            "settled_at_step": int(changes[-1] + 2) if len(changes) else 1,
            "step_scores": p[:, best[-1]].tolist(),
        }
        if isinstance(self.model, AdaFocus | AdaFocusTsm | AdaFocusV2):
            result["gmacs"] = part_costs(self.model, self.settings.model.num_segments)
            result["gmacs_everything"] = everything_cost(self.model, self.settings.model.num_segments)
        return result

    def _exit_curve(
        self, source: Source, steps: np.ndarray, truth: np.ndarray, counted: np.ndarray, costs: list[float]
    ) -> list[dict[str, Any]]:
        """Accuracy against cost, the thresholds fitted to the training videos that can be read."""
        train, clips = [], self.clips(source.train)
        for index in range(len(clips)):
            with contextlib.suppress(KinoscopeError):  # training has listed them
                train.append(self.steps(clips.exact(index).frames)[0])
        return exits.curve(
            torch.from_numpy(np.stack(train)),
            torch.from_numpy(steps),
            costs,
            lambda out: {
                "top1": top_k(out.numpy(), truth[:, 0], 1),
                "mAP": mean_average_precision(out.numpy(), counted),
            },
        )

    def evaluate(self, folder: Path) -> dict[str, Any]:
        """mAP, top-1 and top-5 of the test videos, mAP after every step, cost a part, videos a second."""
        source = open_source(self.settings)
        clips, all_steps, labels, skipped = self.clips(source.test), [], [], {}
        begin, network_s = time.perf_counter(), 0.0
        for index in range(len(clips)):
            try:
                clip = clips.exact(index)
            except KinoscopeError as error:
                skipped[str(error.file)] = str(error)
                continue
            at = time.perf_counter()
            all_steps.append(self.steps(clip.frames)[0])
            network_s += time.perf_counter() - at
            labels.append((*clip.labels, -1, -1)[:3])
        if not labels:
            raise KinoscopeError("not one test video can be read", field="data.test", value=len(skipped))
        total_s = time.perf_counter() - begin
        steps, truth = np.stack(all_steps), np.array(labels)
        counted = truth if source.all_labels else truth[:, :1]
        result: dict[str, Any] = {
            "protocol": "all videos, one view, last step",
            "mAP": mean_average_precision(steps[:, -1], counted),
            "top1": top_k(steps[:, -1], truth[:, 0], 1),
            "top5": top_k(steps[:, -1], truth[:, 0], 5),
            "mAP_by_step": {
                str(t + 1): mean_average_precision(steps[:, t], counted) for t in range(steps.shape[1])
            },
            "videos_per_s": len(labels) / total_s,
            "videos_per_s_without_decoding": len(labels) / network_s,
            "skipped": skipped,
        }
        if isinstance(self.model, AdaFocus | AdaFocusTsm | AdaFocusV2):
            result["gmacs"] = part_costs(self.model, self.settings.model.num_segments)
            if self.settings.conditional_exit:
                costs = step_costs(self.model, result["gmacs"], steps.shape[1])
                result["exit_curve"] = self._exit_curve(source, steps, truth, counted, costs)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "evaluation.json", result)
        np.savez_compressed(folder / "predictions.npz", logits=steps, labels=truth)
        return result
