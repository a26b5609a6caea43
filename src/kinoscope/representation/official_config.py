"""The official configuration: defaults, a YAML file, `--opts` (CARL, section 2).

In the official program a section of the file replaces the default section as a whole (`replace`); here sections are
merged by default (quirk 1). A switch that is neither true nor false is an error; officially it becomes None (quirk 3).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kinoscope.errors import KinoscopeError
from kinoscope.recipe import merged, parse_yaml

PENN_ACTIONS = (
    "baseball_pitch",
    "baseball_swing",
    "bench_press",
    "bowl",
    "clean_and_jerk",
    "golf_swing",
    "jumping_jacks",
    "pushup",
    "pullup",
    "situp",
    "squat",
    "tennis_forehand",
    "tennis_serve",
)

DEFAULTS: dict[str, Any] = {
    "LOGDIR": "scl_transformer_logs",
    "DATASETS": ["pouring"],
    "PATH_TO_DATASET": "pouring",
    "TRAINING_ALGO": "scl",
    "SSL": True,
    "IMAGE_SIZE": 224,
    "RNG_SEED": 1,
    "NUM_GPUS": 1,
    "SHARD_ID": 0,
    "TRAIN": {"MAX_EPOCHS": 500, "BATCH_SIZE": 1, "NUM_FRAMES": 240},
    "EVAL": {
        "BATCH_SIZE": 1,
        "NUM_FRAMES": 240,
        "VAL_INTERVAL": 50,
        "FRAMES_PER_BATCH": 1000,
        "KENDALLS_TAU_STRIDE": 5,
        "KENDALLS_TAU_DISTANCE": "sqeuclidean",
        "CLASSIFICATION_FRACTIONS": [0.1, 0.5, 1.0],
        "RETRIEVAL_KS": [5, 10, 15],
        "TASKS": ["kendalls_tau", "retrieval", "classification", "event_completion"],
    },
    "MODEL": {
        "EMBEDDER_TYPE": "transformer",
        "TRAIN_BASE": "frozen",
        "L2_NORMALIZE": True,
        "PROJECTION": True,
        "PROJECTION_HIDDEN_SIZE": 512,
        "PROJECTION_SIZE": 128,
        "BASE_MODEL": {"NETWORK": "Resnet50_byol", "LAYER": 3, "FRAMES_PER_BATCH": 40},
        "EMBEDDER_MODEL": {
            "HIDDEN_SIZE": 256,
            "D_FF": 1024,
            "NUM_HEADS": 8,
            "NUM_LAYERS": 3,
            "CONV_LAYERS": [[256, 3, 1], [256, 3, 1]],
            "FLATTEN_METHOD": "max_pool",
            "FC_LAYERS": [[256, True], [256, True]],
            "CAPACITY_SCALAR": 2,
            "EMBEDDING_SIZE": 128,
            "FC_DROPOUT_RATE": 0.1,
            "USE_BN": True,
        },
    },
    "SCL": {
        "LABEL_VARIENCE": 10.0,
        "SOFTMAX_TEMPERATURE": 0.1,
        "POSITIVE_TYPE": "gauss",
        "NEGATIVE_TYPE": "single_noself",
        "POSITIVE_WINDOW": 5,
    },
    "TCC": {
        "LOSS_TYPE": "regression_mse_var",
        "SIMILARITY_TYPE": "l2",
        "SOFTMAX_TEMPERATURE": 0.1,
        "LABEL_SMOOTHING": 0.1,
        "VARIANCE_LAMBDA": 0.001,
        "NORMALIZE_INDICES": True,
        "CYCLE_LENGTH": 2,
        "FRACTION": 1.0,
        "HUBER_DELTA": 0.1,
    },
    "TCN": {"POSITIVE_WINDOW": 5, "REG_LAMBDA": 0.002},
    "OPTIMIZER": {
        "TYPE": "AdamOptimizer",
        "WEIGHT_DECAY": 1e-5,
        "GRAD_CLIP": 10,
        "LR": {
            "INITIAL_LR": 1e-4,
            "DECAY_TYPE": "cosine",
            "WARMUP_LR": 1e-4,
            "FINAL_LR": 0.0,
            "NUM_WARMUP_STEPS": 1,
        },
    },
    "DATA": {
        "FRACTION": 1.0,
        "ADDITION_TRAINSET": False,
        "SAMPLING_STRATEGY": "time_augment",
        "NUM_CONTEXTS": 1,
        "CONTEXT_STRIDE": 1,
        "SAMPLING_REGION": 1.5,
        "CONSISTENT_OFFSET": 0.2,
        "FRAME_LABELS": True,
        "SAMPLE_ALL_STRIDE": 1,
        "NUM_WORKERS": 4,
    },
    "AUGMENTATION": {
        "STRENGTH": 1.0,
        "RANDOM_FLIP": True,
        "RANDOM_CROP": True,
        "BRIGHTNESS": True,
        "BRIGHTNESS_MAX_DELTA": 0.8,
        "CONTRAST": True,
        "CONTRAST_MAX_DELTA": 0.8,
        "HUE": True,
        "HUE_MAX_DELTA": 0.2,
        "SATURATION": True,
        "SATURATION_MAX_DELTA": 0.8,
    },
    "LOGGING": {"REPORT_INTERVAL": 20},
    "CHECKPOINT": {"SAVE_INTERVAL": 50},
}


def load_config(
    file: Path | None = None,
    options: Sequence[str] = (),
    logdir: str | None = None,
    replace: bool = False,
) -> dict[str, Any]:
    """The configuration that the official command line would run with.

    options: K1 V1 K2 V2 ... as behind `--opts`. replace: the file's sections replace the default ones whole, as in the
    official program. The names of the first release (`SIMCLR`, `simclr`) are kept; everything reads both.
    """
    config: dict[str, Any] = copy.deepcopy(DEFAULTS)
    if file is not None:
        values = parse_yaml(file.read_text(encoding="utf-8"), file) or {}
        if not isinstance(values, dict):
            raise KinoscopeError("a configuration is a mapping", file=file, value=type(values).__name__)
        if "SIMCLR" in values:
            config["SIMCLR"] = config.pop("SCL")
        config = {**config, **values} if replace else merged(config, values)
    if len(options) % 2:
        raise KinoscopeError("--opts takes pairs of key and value", value=list(options))
    for key, text in zip(options[::2], options[1::2], strict=True):
        _set(config, key, text)
    config["LOGDIR"] = logdir or os.path.join("/tmp", config["LOGDIR"])  # the official default, kept
    for name in ("BATCH_SIZE", "NUM_FRAMES"):
        config["EVAL"][name] = config["TRAIN"][name]
    return config


def _set(config: dict[str, Any], key: str, text: str) -> None:
    *sections, last = key.split(".")
    place: Any = config
    for section in (*sections, last):
        if not isinstance(place, Mapping) or section not in place:
            raise KinoscopeError("the configuration has no such key", field="--opts", value=key)
        parent, place = place, place[section]
    parent[last] = _converted(text, place, key)  # type: ignore[index]


def _converted(text: str, present: Any, key: str) -> Any:
    """`text` as a value of the present value's type."""
    if isinstance(present, list):
        items = text.strip("[]").split(" ")
        return [_converted(item, present[0] if present else "", key) for item in items]
    try:
        if isinstance(present, bool):
            return {"true": True, "True": True, "false": False, "False": False}[text]
        return type(present)(text) if isinstance(present, int | float) else text
    except (ValueError, KeyError) as error:
        raise KinoscopeError(
            f"this option is of type {type(present).__name__}", field=key, value=text
        ) from error


def published_augmentation(name: str) -> dict[str, Any]:
    """{DATASETS, AUGMENTATION} of a published configuration, by file name of either release.

    `scl_*` (`simclr_*`) hold the strong changes of two views; `tcc_*`, `tcn_*` and `classification_*` change brightness
    and contrast a little and do not crop.
    """
    stem = Path(name).stem
    kinds = {
        "finegym": ["finegym"],
        "k400": ["kinetics400", "baseball_pitch"],
        "action": PENN_ACTIONS,
    }
    dataset = next((list(names) for key, names in kinds.items() if key in stem.split("_")), ["pouring"])
    if stem.startswith(("scl", "simclr")):
        return {"DATASETS": dataset, "AUGMENTATION": dict(DEFAULTS["AUGMENTATION"])}
    if not stem.startswith(("tcc", "tcn", "classification")):
        raise KinoscopeError("there is no such published configuration", value=name)
    mild = {"BRIGHTNESS_MAX_DELTA": 32 / 255, "CONTRAST_MAX_DELTA": 0.5, "HUE": False, "SATURATION": False}
    return {
        "DATASETS": dataset,
        "AUGMENTATION": {**DEFAULTS["AUGMENTATION"], **mild, "RANDOM_CROP": False},
    }
