"""Runners of the data cases (specification 3.1-3.6)."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from golden.kit import Case, Outputs, Runner
from kinoscope.localization.evaluate import THRESHOLDS
from kinoscope.localization.features import FeatureSource
from kinoscope.localization.items import Item
from kinoscope.localization.prepare import prepare
from kinoscope.localization.settings import FeatureData, Model
from kinoscope.localization.truncation import random_window

PROTOCOLS = {"thumos": "thumos14", "anet": "activitynet", "epic": "epic", "ego4d": "ego4d"}


class Recorded:
    """Python's generator, which keeps (low, high, result) of every draw."""

    def __init__(self, seed: int) -> None:
        self.random, self.draws = random.Random(seed), []  # type: ignore[var-annotated]

    def randint(self, a: int, b: int, /) -> int:
        result = self.random.randint(a, b)
        self.draws.append((a, b, result))
        return result


def truncate(case: Case) -> Outputs:
    given = dict(case.hyperparameters)
    settings = given.pop("settings")
    if given:
        raise KeyError(f"unknown hyper-parameters {sorted(given)}")
    feats, segments, labels = (case.inputs[name] for name in ("feats", "segments", "labels"))
    outputs: Outputs = {}
    for j, entry in enumerate(settings):
        options: dict[str, Any] = dict(entry)
        draws = Recorded(options.pop("seed"))
        window = random_window(feats.shape[1], segments, draws, **options)
        outputs[f"{j}/draws"] = np.array(draws.draws, np.int64).reshape(-1, 3)
        outputs[f"{j}/feats"] = feats[:, window.start : window.stop]
        outputs[f"{j}/segments"] = window.segments
        outputs[f"{j}/labels"] = labels[window.rows]
    return outputs


def dataset(case: Case) -> Outputs:
    given = dict(case.hyperparameters)
    reader, text = given.pop("dataset_name"), given.pop("annotation_text")
    split, modes = given.pop("split"), given.pop("modes")
    folders, values = given.pop("folders"), dict(given.pop("dataset"))
    if given:
        raise KeyError(f"unknown hyper-parameters {sorted(given)}")
    outputs: Outputs = {}
    with tempfile.TemporaryDirectory() as place:
        annotations = Path(place) / "annotations.json"
        annotations.write_text(text)
        rows = [row for v in json.loads(text)["database"].values() for row in v.get("annotations", ())]
        values.setdefault("num_classes", len({row["label_id"] for row in rows}))
        features, widths = _write(case, folders, Path(place), values)
        data = FeatureData(
            reader=reader,
            annotations=str(annotations),
            features=features,
            train_subsets=split,
            test_subsets=split,
            **{**{k: v for k, v in values.items() if v is not None}, "input_dim": widths},
        )
        source = FeatureSource(data, Model())
        for mode in modes:
            found = dict(_dataset(source, mode))
            outputs |= {f"{mode}/{name}": value for name, value in found.items()}
            outputs[f"{mode}/tiou"] = np.array(THRESHOLDS[PROTOCOLS[reader]])
    return outputs


def _write(
    case: Case, folders: list[dict[str, Any]], place: Path, values: dict[str, Any]
) -> tuple[list[str], int]:
    """The case's feature files; their folders, and the channels of all together."""
    prefix, ext = values.get("file_prefix") or "", values.get("file_ext") or ".npy"
    paths, width = [], 0
    for k, folder in enumerate(folders):
        if unknown := folder.keys() - {"videos", "hdf5"}:
            raise KeyError(f"unknown settings of a folder: {sorted(unknown)}")
        arrays = {video: case.inputs[f"feat{k}_{video}"] for video in folder["videos"]}
        width += next(iter(arrays.values())).shape[1]
        path = place / f"features{k}"
        paths.append(str(path))
        if folder.get("hdf5"):
            paths[-1] += ".hdf5"
            with h5py.File(paths[-1], "w") as file:
                for video, array in arrays.items():
                    file[prefix + video] = array
            continue
        path.mkdir()
        for video, array in arrays.items():
            target = path / f"{prefix}{video}{ext}"
            if ext == ".npz":
                np.savez(target, feats=array)
            else:
                np.save(target, array)
    return paths, width


def _dataset(source: FeatureSource, mode: str) -> Outputs:
    training = {"train": True, "eval": False}[mode]
    outputs: Outputs = {
        "num_items": np.int64(len(source.train_ids)),
        "empty_label_ids": np.array(source.empty_label_ids, np.int64),
    }
    if training:
        generator = np.random.default_rng(0)
        items = [source.training_item(k, generator) for k in range(len(source.train_ids))]
    else:
        skipped: dict[str, str] = {}
        items = list(source.test_items(range(len(source.test_ids)), skipped))
        if skipped:
            raise ValueError(f"videos were left out: {skipped}")
    for item in items:
        outputs |= {f"{item.video_id}/{name}": value for name, value in _fields(item).items()}
    return outputs


def _fields(item: Item) -> Outputs:
    fields: Outputs = {
        "feats": item.feats.numpy(),
        "fps": np.float64(item.fps),
        "duration": np.float64(item.duration),
        "feat_stride": np.float64(item.feat_stride),
        "feat_num_frames": np.float64(item.feat_num_frames),
    }
    if len(item.segments):
        return fields | {"segments": item.segments.numpy(), "labels": item.labels.numpy()}
    return fields | {"no_segments": np.int64(1), "segments": item.segments.numpy()}


def ego4d_convert(case: Case) -> Outputs:
    given = dict(case.hyperparameters)
    videos, files = given.pop("videos"), given.pop("files")
    if given:
        raise KeyError(f"unknown hyper-parameters {sorted(given)}")
    kinds = {"slowfast": "slowfast8x8_r101_k400", "omnivore": "omnivore_video_swinl"}
    outputs: Outputs = {}
    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place) / "source", Path(place) / "target"
        for name, text in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text, encoding="utf-8")
        for kind, folder in kinds.items():
            (source / "features" / folder).mkdir(parents=True)
            for video in videos:
                if f"{kind}_{video}" in case.inputs:
                    tensor = torch.from_numpy(case.inputs[f"{kind}_{video}"])
                    torch.save(tensor, source / "features" / folder / f"{video}.pt")
        prepare("ego4d", source, target)
        database = json.loads((target / "annotations/ego4d.json").read_text())["database"]
        outputs["num_clips"] = np.int64(len(database))
        for clip, entry in database.items():
            outputs |= {f"{clip}/{name}": value for name, value in _clip(entry).items()}
        for kind in kinds:
            for file in sorted((target / f"{kind}_features").glob("*.npy")):
                outputs[f"{kind}/{file.stem}"] = np.load(file)
    return outputs


def _clip(entry: dict[str, Any]) -> Outputs:
    rows = entry["annotations"]
    return {
        "is_training": np.int64(entry["subset"] == "training"),
        "duration": np.float64(entry["duration"]),
        "fps": np.float64(entry["fps"]),
        "segments": np.array([row["segment"] for row in rows], np.float64),
        "frames": np.array([row["segment(frames)"] for row in rows], np.int64),
        "label_ids": np.array([row["label_id"] for row in rows], np.int64),
    }


RUNNERS: dict[str, Runner] = {
    "actionformer.truncate": truncate,
    "actionformer.dataset": dataset,
    "actionformer.ego4d_convert": ego4d_convert,
}
