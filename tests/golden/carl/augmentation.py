"""Spatial augmentation and the items of the evaluation."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from golden.carl.models import known
from golden.kit import Case, Outputs
from kinoscope.representation import image_augment as images
from kinoscope.representation.official import build_augment
from kinoscope.representation.official_config import published_augmentation


class Replay:
    """The draws that the official code made, in its order; python's randint includes its upper bound."""

    def __init__(self, draws: list[dict[str, Any]]) -> None:
        self.draws = iter(draws)

    def _next(self, op: str) -> dict[str, Any]:
        draw = next(self.draws)
        assert draw["op"] == op, draw
        return draw

    def uniform(self, low: float, high: float) -> float:
        draw = self._next("uniform")
        assert math.isclose(low, draw["low"]), draw
        assert math.isclose(high, draw["high"]), draw
        return float(draw["value"])

    def integers(self, low: int, high: int, size: Any = None) -> int:
        draw = self._next("randint")
        assert (low, high - 1) == (draw["low"], draw["high"]), draw
        return int(draw["value"])

    def permutation(self, x: int) -> np.ndarray:
        return np.array(self._next("permutation")["value"])


class PythonDraws:
    """Python's generator, seeded as the official code seeds it."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)

    def uniform(self, low: float, high: float) -> float:
        return self.source.uniform(low, high)

    def integers(self, low: int, high: int, size: Any = None) -> int:
        return self.source.randint(low, high - 1)

    def permutation(self, x: int) -> np.ndarray:
        raise AssertionError


def augment(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "variants", "draws")
    out: Outputs = {}
    for variant in settings["variants"]:
        known(variant, "name", "config", "ssl", "augment", "IMAGE_SIZE", "seed", "stages", "input")
        name = variant["name"]
        replay = Replay(settings["draws"].get(name, []))
        cfg = published_augmentation(variant["config"])
        changes = build_augment(cfg, variant["IMAGE_SIZE"], variant["ssl"], variant["augment"], replay)
        clip = torch.as_tensor(case.inputs[variant.get("input", "video")])
        for index, (_, change) in enumerate(changes):
            clip = change(clip)
            # the stages carry the names of the official functions; ours stand at the same places
            for official in case.expected:
                if official.startswith(f"{name}/{index}_"):
                    out[official] = clip.numpy().copy()
        out[f"{name}/out"] = clip.numpy()
        assert next(replay.draws, None) is None
    return out


def augment_ops(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "crops", "resize", "jitter", "boxes", "rrc_box", "rrc_size")
    video = torch.as_tensor(case.inputs["video"])
    out: dict[str, Tensor] = {
        "grayscale": images.grayscale(video),
        "flip": images.flip(video),
        "resize": images.resize(video, settings["resize"]),
        "normalize": images.normalize(video),
        "random_resized_crop": images.resized_crop(video, tuple(settings["rrc_box"]), settings["rrc_size"]),
    }
    for crop in settings["crops"]:
        for place in (0, 1, 2):
            clip = torch.as_tensor(case.inputs[crop["input"]])
            out[f"uniform_crop/{crop['input']}_{crop['size']}_{place}"] = images.uniform_crop(
                clip, crop["size"], place
            )
    for name, value in settings["jitter"].items():
        out[f"{name}_jitter"] = images.jitter(video, [(name, value if name == "hue" else 1 + value)])
    result: Outputs = {name: value.numpy() for name, value in out.items()}
    for k, box in enumerate(settings["boxes"]):
        known(box, "seed", "scale", "ratio", "height", "width", "n")
        draws = PythonDraws(box["seed"])
        result[f"crop_boxes/{k}"] = np.array(
            [
                images.crop_box(box["height"], box["width"], draws, tuple(box["scale"]), tuple(box["ratio"]))
                for _ in range(box["n"])
            ]
        )
    return result


def dataset_item(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "cfg", "variants")
    out: Outputs = {}
    for variant in settings["variants"]:
        known(variant, "name", "IMAGE_SIZE", "RANDOM_CROP", "SAMPLE_ALL_STRIDE")
        item = images.evaluation_item(
            case.inputs["video_uint8"].astype(np.uint8),
            case.inputs["frame_label"],
            variant["IMAGE_SIZE"],
            variant["RANDOM_CROP"],
            variant["SAMPLE_ALL_STRIDE"],
        )
        name = variant["name"]
        out |= {
            f"{name}/video": item.video.numpy(),
            f"{name}/label": item.labels,
            f"{name}/seq_len": np.asarray(len(item.steps)),
            f"{name}/chosen_steps": item.steps,
            f"{name}/mask": item.mask,
        }
    return out


RUNNERS = {
    "carl.augment": augment,
    "carl.augment_ops": augment_ops,
    "carl.dataset_item": dataset_item,
}
