"""Official files: checkpoints, configurations, data-set pickles, TFRecords, FineGym."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from vectors import vectorkit

from golden.carl.models import known
from golden.kit import Case, Outputs
from kinoscope.representation import finegym, official_data
from kinoscope.representation.official import PENN_ACTIONS
from kinoscope.representation.official_config import load_config
from kinoscope.representation.official_files import newest_checkpoint, read_checkpoint
from kinoscope.representation.tfrecord import read_records


@contextmanager
def decoded(case: Case, *names: str) -> Iterator[Path]:
    """A folder with the files that the case keeps as base64 text, under their own names."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            blob = base64.b64decode((case.folder / name).read_text())
            (Path(folder) / name.removesuffix(".b64")).write_bytes(blob)
        yield Path(folder)


def at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[part]
    return tree


def checkpoint_file(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "files", "text_values")
    with decoded(case, *settings["files"]) as folder:
        content = read_checkpoint(newest_checkpoint(folder))
    for key, value in settings["text_values"].items():
        assert at(content["cfg"], key) == value, key
    optimizer = content["optimizer_state"]
    out: Outputs = {
        "start_epoch": np.asarray(content["epoch"]),
        "lr": np.asarray(optimizer["param_groups"][0]["lr"]),
        "adam_step": np.asarray(float(optimizer["state"][0]["step"])),
        "exp_avg_0": optimizer["state"][0]["exp_avg"].numpy(),
    }
    out |= {f"model_state/{name}": value.numpy() for name, value in content["model_state"].items()}
    wanted = [name for name in case.expected if name.startswith("cfg/")]
    return out | {name: np.asarray(at(content["cfg"], name.removeprefix("cfg/"))) for name in wanted}


def flattened(tree: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from flattened(value, f"{place}.{key}" if place else str(key))
    else:
        yield place, tree


def is_number(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(is_number(item) for item in value) and not isinstance(value[0], list)
    return isinstance(value, bool | int | float)


def config_case(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "variants", "text_values")
    out: Outputs = {}
    texts: dict[str, Any] = {}
    for variant in settings["variants"]:
        known(variant, "name", "yaml", "opts", "logdir")
        file = None if variant["yaml"] is None else case.folder / variant["yaml"]
        config = load_config(file, variant["opts"] or (), variant["logdir"], replace=True)
        for key, value in flattened(config):
            name = f"{variant['name']}/{key}"
            if is_number(value):
                out[name] = np.asarray(value, np.float64)
            else:
                texts[name] = value
    assert texts == settings["text_values"], set(texts.items()) ^ set(settings["text_values"].items())
    assert set(out) == set(case.expected), set(out) ^ set(case.expected)
    return out


def dataset_files(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "text_values")
    out: Outputs = {}
    texts: dict[str, Any] = {}
    with decoded(case, "pouring_train.pkl.b64", "penn_action_train.pkl.b64") as folder:
        pouring, penn = folder / "pouring_train.pkl", folder / "penn_action_train.pkl"
        for name in settings["text_values"]:
            if name == "k400":
                rows = official_data.read_kinetics(case.folder / "kinetics400_train.csv")
                out["k400/count"], texts[name] = np.asarray(len(rows)), [list(row) for row in rows]
                continue
            data, _, part = name.partition("_")
            action = None if data != "penn" or part == "all" else PENN_ACTIONS.index(part)
            entries = official_data.read_entries(
                penn if data == "penn" else pouring, 0.5 if part == "half" else 1.0, action
            )
            out[f"{name}/count"] = np.asarray(len(entries))
            texts[name] = [[entry.name, entry.video_file] for entry in entries]
            for k, entry in enumerate(entries):
                out[f"{name}/{k}/frame_label"] = entry.frame_label
                out[f"{name}/{k}/seq_len"] = np.asarray(entry.seq_len)
                out[f"{name}/{k}/id"] = np.asarray(entry.id)
    assert texts == settings["text_values"]
    return out


def tfrecord(case: Case) -> Outputs:
    known(case.hyperparameters, "file")
    name = case.hyperparameters["file"]
    out: Outputs = {}
    with decoded(case, name) as folder:
        for k, record in enumerate(read_records(folder / name.removesuffix(".b64"))):
            assert record.frame_labels is not None
            frames = record.frames().astype(np.float32)
            exact = {
                "frame_labels": record.frame_labels,
                "label": np.asarray(record.label),
                "len": np.asarray(len(frames)),
                "name_bytes": np.frombuffer(record.name.encode(), np.uint8).astype(np.int64),
            }
            for entry, value in exact.items():
                np.testing.assert_array_equal(value, case.expected[f"{k}/{entry}"])
            out |= {f"{k}/frames": frames} | {f"{k}/{entry}": value for entry, value in exact.items()}
    return out


def finegym_process(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "files", "raw_videos", "probe", "ffmpeg_commands")
    annotation, *lists = (case.folder / name for name in settings["files"])
    annotations = json.loads(annotation.read_text())
    out: Outputs = {}
    commands: list[str] = []
    for path in lists:
        split = "train" if "_train_" in path.name else "val"
        elements = finegym.read_elements(path)
        found = finegym.events(
            annotations,
            elements,
            lambda event: (settings["probe"][event]["fps"], settings["probe"][event]["frames"]),
        )
        for entry in found:
            place = f"{split}/{entry.name}"
            out[f"{place}/frame_label"] = entry.frame_label.astype(np.float32)
            out[f"{place}/seq_len"] = np.asarray(entry.seq_len)
            out[f"{place}/event_label"] = np.asarray(entry.label)
            raw = settings["raw_videos"][entry.name.rsplit("_E_", 1)[0]]
            commands += finegym.official_commands(annotations, entry.name, raw, "ROOT")
    assert sorted(commands) == settings["ffmpeg_commands"]
    return out


def finegym_probe(case: Case) -> Outputs:
    settings = case.hyperparameters
    known(settings, "cfg")
    cfg = settings["cfg"]
    pairs = {
        split: [
            (case.inputs[f"{split}_embs_{k}"], case.inputs[f"{split}_labels_{k}"])
            for k in range(sum(name.startswith(f"{split}_embs") for name in case.inputs))
        ]
        for split in ("train", "val")
    }
    width, classes = pairs["train"][0][0].shape[1], cfg["EVAL"]["CLASS_NUM"]
    out: Outputs = {}
    for fraction in (
        [1] if cfg["TRAINING_ALGO"] == "classification" else cfg["EVAL"]["CLASSIFICATION_FRACTIONS"]
    ):
        layer = torch.nn.Linear(width, classes)
        with torch.no_grad():
            layer.weight.copy_(torch.as_tensor(vectorkit.fill("linear.weight", (classes, width))))
            layer.bias.copy_(torch.as_tensor(vectorkit.fill("linear.bias", (classes,))))
        count = max(10 * cfg["NUM_GPUS"], int(fraction * len(pairs["train"])))
        result = finegym.linear_probe(
            pairs["train"][:count],
            pairs["val"],
            classes,
            cfg["EVAL"]["CLASSIFICATION_LR"],
            cfg["EVAL"]["CLASSIFICATION_EPOCHS"],
            10 * cfg["NUM_GPUS"],
            layer=layer,
        )
        out[f"classification_{fraction}/train"] = np.asarray(result.train)
        out[f"classification_{fraction}/val"] = np.asarray(result.test)
    out["linear.weight"] = layer.weight.detach().numpy()
    out["linear.bias"] = layer.bias.detach().numpy()
    with tempfile.TemporaryDirectory() as folder:
        embs, labels = pairs["val"][0]
        saved = finegym.read_embeddings(finegym.save_embeddings(Path(folder), "val_000", embs, labels))
    assert saved["name"] == "val_000"
    return out | {f"pkl/{name}_val_000": np.asarray(saved[name]) for name in ("embs", "labels", "seq_len")}


RUNNERS = {
    "carl.checkpoint_file": checkpoint_file,
    "carl.config_case": config_case,
    "carl.dataset_files": dataset_files,
    "carl.tfrecord": tfrecord,
    "carl.finegym_process": finegym_process,
    "carl.finegym_probe": finegym_probe,
}
