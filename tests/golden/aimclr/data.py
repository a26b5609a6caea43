"""Runners of augmentation, conversion, down-sampling, subsets, metrics and settings."""

from __future__ import annotations

import pickle
import random
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from golden.aimclr.setup import checked, text
from golden.kit import Case, Outputs, Runner
from kinoscope.skeleton import augment, configuration, metrics, ntu, pku
from kinoscope.skeleton.downsample import downsample
from kinoscope.skeleton.few_labels import labelled_subset
from kinoscope.skeleton.schedule import learning_rate


def _source(seed: int) -> augment.OfficialGenerators:
    return augment.OfficialGenerators(random.Random(seed), np.random.RandomState(seed))


def _one(x: np.ndarray, view: augment.View) -> np.ndarray:
    return augment.apply(torch.from_numpy(x.astype(np.float64))[None], [view])[0].numpy()


def primitives(case: Case) -> Outputs:
    x, outputs = case.inputs["x"], {}
    for i, call in enumerate(checked(case.hyperparameters, {"calls"})["calls"]):
        checked(call, {"function", "seed", "kwargs"})
        kwargs, source, view = dict(call.get("kwargs", {})), _source(call["seed"]), augment.View()
        name = call["function"]
        if name == "temperal_crop":
            augment.draw_crop(view, source, x.shape[1], kwargs.pop("temperal_padding_ratio", 6))
        elif name == "shear":
            augment.draw_shear(view, source, kwargs.pop("r", 0.5))
        elif name == "random_spatial_flip":
            augment.draw_flip(view, source, kwargs.pop("p", 0.5))
        elif name == "random_rotate":
            augment.draw_rotation(view, source)
        elif name == "gaus_noise":
            assert kwargs.pop("mean", 0) == 0
            augment.draw_noise(view, source, x.shape, kwargs.pop("std", 0.01), kwargs.pop("p", 0.5))
        elif name == "gaus_filter":
            augment.draw_blur(view, source, *kwargs.pop("sigma", (0.1, 2)), kwargs.pop("p", 0.5))
        elif name == "axis_mask":
            augment.draw_mask(view, source, kwargs.pop("p", 0.5))
        elif name == "random_time_flip":
            augment.draw_reverse(view, source, kwargs.pop("p", 0.5))
        else:
            raise KeyError(name)
        checked(kwargs, ())
        outputs[f"y/{i}"] = _one(x, view)
    return outputs


def pipelines(case: Case) -> Outputs:
    x, outputs = case.inputs["x"], {}
    for i, call in enumerate(checked(case.hyperparameters, {"calls"})["calls"]):
        checked(call, {"feeder", "seed", "index", "kwargs"})
        kwargs = checked(
            call.get("kwargs", {}), {"aug_method", "shear_amplitude", "temperal_padding_ratio", "mmap"}
        )
        clip, source = x[call["index"]], _source(call["seed"])
        common: dict[str, Any] = {
            "shear": kwargs.get("shear_amplitude", 0.5),
            "padding_ratio": kwargs.get("temperal_padding_ratio", 6),
        }
        if call["feeder"] == "triple":
            kinds = [kwargs.get("aug_method", "12345"), "", ""]
        else:
            assert call["feeder"] == "single"
            kinds = [""]
        for j, extreme in enumerate(kinds):
            outputs[f"y/{i}/{j}"] = _one(
                clip, augment.draw_view(source, clip.shape, extreme=extreme, **common)
            )
        if f"label/{i}" in case.expected:
            outputs[f"label/{i}"] = _label(case, call["index"])
    return outputs


def _label(case: Case, index: int) -> np.ndarray:
    """Labels of the made-up file: given as an input, or the sample's number."""
    return case.inputs["label"][index] if "label" in case.inputs else np.array(index)


def semi(case: Case) -> Outputs:
    labels, outputs = case.inputs["label"], {}
    for i, call in enumerate(checked(case.hyperparameters, {"calls"})["calls"]):
        checked(call, {"seed", "label_percent", "mmap"})
        chosen = labelled_subset(labels, call.get("label_percent", 0.1), call["seed"])
        outputs |= {f"index/{i}": chosen, f"label/{i}": labels[chosen]}
    return outputs


def preprocess(case: Case) -> Outputs:
    hyper = checked(case.hyperparameters, {"lengths", "persons", "labels", "args", "blank_frames"})
    args = dict(hyper["args"])
    args.pop("mmap", None)
    checked(args, {"data_type", "t_length", "y_rotation", "sampling", "displacement"})
    outputs: Outputs = {}
    for i, (length, persons) in enumerate(zip(hyper["lengths"], hyper["persons"], strict=True)):
        raw = np.zeros((3, 300, 25, 2), np.float32)
        raw[:, :length] = case.inputs[f"s{i}"]
        if persons == 1:
            raw[..., 1] = 0
        blank = hyper.get("blank_frames") or {}
        frames = blank.get(str(i), []) if isinstance(blank, dict) else blank[i] if _nested(blank) else blank
        raw[:, frames] = 0
        position, motion, counted = downsample(raw, **args)
        assert motion is not None
        outputs |= {f"position/{i}": position, f"motion/{i}": motion, f"length/{i}": np.array(counted)}
        outputs[f"label/{i}"] = np.array(hyper["labels"][i] - min(hyper["labels"]))
    return outputs


def _nested(frames: Any) -> bool:
    return bool(frames) and isinstance(frames[0], list)


def _arrays(folder: Path, part: str, name: str, frames: int, outputs: Outputs, brief: bool = False) -> None:
    names, labels = pickle.loads((folder / f"{part}_label.pkl").read_bytes())
    data = np.load(folder / f"{part}_data.npy")
    outputs |= {
        f"{name}/names": text("\n".join(names)),
        f"{name}/labels": np.array(labels),
        f"{name}/shape": np.array(data.shape),
        f"{name}/data": data[:, :, :frames],
        f"{name}/rest_abs_sum": np.abs(data[:, :, frames:]).sum(),
        f"{name}/data_abs_sum": np.abs(data).sum((1, 2, 3, 4)),
    }


def ntu_gendata(case: Case) -> Outputs:
    hyper = checked(case.hyperparameters, {"benchmarks", "frames", "ignored"})
    source = case.folder / "files"
    ignored = hyper.get("ignored")
    missing = ntu.listed(case.folder / ignored) if ignored else set()
    outputs: Outputs = {}
    with tempfile.TemporaryDirectory() as folder:
        for benchmark in hyper["benchmarks"]:
            target = Path(folder) / benchmark
            parts = ntu.split([p.name for p in source.glob("*.skeleton")], benchmark, missing)
            for part, names in parts.items():
                labels = [ntu.parse_name(name).label for name in names]
                assert not ntu.convert(source, names, labels, target, part)
                _arrays(target, part, f"{benchmark}/{part}", hyper["frames"], outputs)
    return outputs


def pku_mmd(case: Case) -> Outputs:
    hyper = checked(case.hyperparameters, {"part", "frames", "benchmarks", "ignored"})
    files, outputs = case.folder / "files", {}
    missing = ntu.listed(files / "missing.txt") if (files / "missing.txt").exists() else set()
    clips: dict[str, str] = {}
    for sequence in sorted((files / "skeleton").glob("*.txt")):
        labels = files / "label" / sequence.name
        if labels.exists():
            clips |= dict(pku.cut(sequence, labels, hyper["part"]))
    names = sorted(clips)
    outputs["clips/names"] = text("\n".join(names))
    outputs["clips/text_crc32"] = np.array([zlib.crc32(clips[name].encode()) for name in names])
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "clips"
        source.mkdir()
        for name, content in clips.items():
            (source / name).write_text(content)
        for benchmark in hyper.get("benchmarks", ("xsub", "xview")):
            training = pku.training_videos(files, hyper["part"], benchmark)
            for part, chosen in pku.split(names, training, missing).items():
                target = Path(folder) / benchmark
                bad = ntu.convert(
                    source, chosen, [pku.clip_label(n) for n in chosen], target, part, shortened=True
                )
                assert not bad, bad
                _arrays(target, part, f"{benchmark}/{part}", hyper["frames"], outputs)
    return outputs


def accuracy(case: Case) -> Outputs:
    hyper = checked(case.hyperparameters, {"topk", "alpha", "weights"})
    labels, outputs = case.inputs["label"], {}
    streams = {name: case.inputs[name] for name in ("joint", "bone", "motion")}
    for name, scores in streams.items():
        for k in hyper["topk"]:
            outputs[f"top{k}/{name}"] = np.array(metrics.percent(metrics.top_k(scores, labels, k)))
    samples = [str(i) for i in range(len(labels))]
    tables = {name: dict(zip(samples, scores, strict=True)) for name, scores in streams.items()}
    weights = hyper.get("weights") or hyper.get("alpha")
    if isinstance(weights, list):
        weights = dict(zip(("joint", "bone", "motion"), weights, strict=True))
    total = metrics.ensemble(tables, samples, weights or metrics.ENSEMBLE)
    outputs |= {f"ensemble/top{k}": np.array(metrics.top_k(total, labels, k)) for k in (1, 5)}
    return outputs


def schedule(case: Case) -> Outputs:
    outputs = {}
    for i, s in enumerate(checked(case.hyperparameters, {"schedules"})["schedules"]):
        checked(s, {"optimizer", "base_lr", "step", "num_epoch"})
        epochs = range(1, s["num_epoch"] + 1)
        outputs[f"lr/{i}"] = np.array(
            [learning_rate(s["base_lr"], s["step"], e, s["optimizer"]) for e in epochs]
        )
    return outputs


def config(case: Case) -> Outputs:
    outputs = {}
    for i, call in enumerate(checked(case.hyperparameters, {"calls"})["calls"]):
        checked(call, {"processor", "argv"})
        try:
            merged = configuration.official_settings(call["processor"], call["argv"], case.folder)
            outputs[f"args/{i}"] = text(configuration.as_json(merged))
        except configuration.UnknownArguments:
            outputs[f"args/{i}"] = text("AssertionError")
    return outputs


RUNNERS: dict[str, Runner] = {
    "aimclr.augment": primitives,
    "aimclr.pipeline": pipelines,
    "aimclr.semi": semi,
    "aimclr.preprocess": preprocess,
    "aimclr.ntu_gendata": ntu_gendata,
    "aimclr.pku": pku_mmd,
    "aimclr.metrics": accuracy,
    "aimclr.schedule": schedule,
    "aimclr.config": config,
}
