"""Split files, frame indices, transforms, metrics."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image

from golden.adafocus.setup import numpy, settings
from golden.kit import Case, Outputs, Runner
from kinoscope.recognition import augment, sampling
from kinoscope.recognition.metrics import average_precision, mean_average_precision, top_k
from kinoscope.recognition.models.adafocus import scan
from kinoscope.recognition.splits import LAYOUTS, Record, class_names, read_split


def text(lines: list[str]) -> np.ndarray:
    return np.frombuffer("\n".join(lines).encode(), np.uint8)


def split_files(case: Case) -> Outputs:
    out: Outputs = {}
    for name in settings(case, {"datasets"})["datasets"]:
        layout = LAYOUTS[name]
        out[f"{name}_num_classes"] = np.array(len(class_names(case.folder / layout.classes)))
        for part, file in (("train", layout.train), ("val", layout.test)):
            records: list[Record] = read_split(case.folder / file, layout.separator)
            out[f"{name}_{part}_path"] = text([r.name for r in records])
            out[f"{name}_{part}_frames"] = np.array([r.frames for r in records])
            out[f"{name}_{part}_labels"] = np.array([r.triple for r in records])
        out[f"{name}_first_file"] = text([f"{layout.frames}/NAME/{layout.image.format(1)}"])
    return out


def frame_sampling(case: Case) -> Outputs:
    given = settings(case, {"num_segments", "num_frames", "numpy_seed"})

    def seeded() -> np.random.RandomState:
        return np.random.RandomState(given["numpy_seed"])

    out: Outputs = {}
    for t in given["num_segments"]:
        for n in given["num_frames"]:
            out[f"val_{t}_{n}"] = sampling.val_indices(n, t)
            out[f"test_{t}_{n}"] = sampling.centred(n, t)
            out[f"twice_{t}_{n}"] = sampling.centred(n, t, twice=True)
            out[f"train_{t}_{n}"] = sampling.train_indices(n, t, seeded())
            out[f"dense_{t}_{n}"] = sampling.dense_indices(n, t, seeded())
            out[f"densetest_{t}_{n}"] = sampling.dense_test_indices(n, t)
    return out


def sth_sampling(case: Case) -> Outputs:
    given = settings(case, {"segments", "num_frames", "numpy_seed"})
    nets = dict(zip(("glancer", "focuser"), given["segments"], strict=True))
    out: Outputs = {}
    for n in given["num_frames"]:
        draws = np.random.RandomState(given["numpy_seed"])
        for net, t in nets.items():
            out[f"val_{net}_{n}"] = sampling.sth_val_indices(n, t)
            out[f"test_{net}_{n}"] = sampling.centred(n, t)
            out[f"train_{net}_{n}"] = sampling.sth_train_indices(n, t, draws)
    return out


def transforms(case: Case) -> Outputs:
    given = settings(case, {"frames", "input_size", "choose", "python_seed", "glance_size"})
    images = [Image.fromarray(case.inputs[name].astype(np.uint8)) for name in given["frames"]]
    size = given["input_size"]
    pairs = augment.crop_pairs(*images[0].size, size)
    pair = pairs[given["choose"][0]]
    offsets = augment.crop_offsets(*images[0].size, *pair)
    cropped = augment.multi_scale_crop(images, size, pair, offsets[given["choose"][1]])
    val = augment.val_clip(images, size).flatten(0, 1)
    train = augment.train_clip(images, size, random.Random(given["python_seed"])).flatten(0, 1)
    return {
        "val": numpy(val),
        "crop_pairs": np.array(pairs),
        "offsets": np.array(offsets),
        "cropped": np.stack([np.asarray(image) for image in cropped]),
        "train": numpy(train),
        "scan": numpy(scan(val[None], given["glance_size"])),
    }


def metrics(case: Case) -> Outputs:
    out: Outputs = {}
    for name in settings(case, {"sets"})["sets"]:
        scores, targets = case.inputs[f"scores_{name}"], case.inputs[f"targets_{name}"]
        if name == "multi":
            rows = [list(dict.fromkeys(int(v) for v in row if v < scores.shape[1])) or [0] for row in targets]
            targets = np.array([(row + [-1] * targets.shape[1])[: targets.shape[1]] for row in rows])
            out[f"used_targets_{name}"] = targets
        out[f"map_{name}"] = np.array(mean_average_precision(scores, targets, compact=True))
        out[f"ap_{name}"] = average_precision(scores, targets, compact=True)
        out[f"top1_{name}"] = np.array([top_k(scores, targets[:, 0], 1)])
        out[f"top5_{name}"] = np.array([top_k(scores, targets[:, 0], 5)])
    return out


RUNNERS: dict[str, Runner] = {
    "adafocus.split_files": split_files,
    "adafocus.frame_sampling": frame_sampling,
    "adafocus.sth_sampling": sth_sampling,
    "adafocus.transforms": transforms,
    "adafocus.metrics": metrics,
}
