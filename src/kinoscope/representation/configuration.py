"""Official YAML files of both releases (`scl_*`, `simclr_*`, `tcc_*`, ...) as recipes (specification, section 2).

Keys that a file leaves out have the defaults of the official program. What a file says that nothing here says is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kinoscope.errors import KinoscopeError
from kinoscope.recipe import merged, parse_yaml, validate
from kinoscope.representation.official_config import PENN_ACTIONS, load_config
from kinoscope.representation.settings import RepresentationSettings

OPTIMIZERS = {"AdamOptimizer": "adam", "AdamWOptimizer": "adamw", "MomentumOptimizer": "sgd"}
# official key -> ours, where the value goes over as it is
PLAIN = {
    "IMAGE_SIZE": "data.image_size",
    "RNG_SEED": "train.seed",
    "TRAIN.MAX_EPOCHS": "train.epochs",
    "TRAIN.BATCH_SIZE": "train.batch_size",
    "TRAIN.NUM_FRAMES": "sampling.num_frames",
    "EVAL.VAL_INTERVAL": "train.validate_every",
    "EVAL.FRAMES_PER_BATCH": "evaluation.frames_per_batch",
    "EVAL.KENDALLS_TAU_STRIDE": "evaluation.kendalls_tau_stride",
    "EVAL.KENDALLS_TAU_DISTANCE": "evaluation.kendalls_tau_distance",
    "EVAL.CLASSIFICATION_FRACTIONS": "evaluation.classification_fractions",
    "EVAL.RETRIEVAL_KS": "evaluation.retrieval_ks",
    "EVAL.CLASS_NUM": "data.class_num",
    "EVAL.CLASSIFICATION_LR": "evaluation.classification_lr",
    "EVAL.CLASSIFICATION_EPOCHS": "evaluation.classification_epochs",
    "MODEL.EMBEDDER_TYPE": "model.embedder.kind",
    "MODEL.TRAIN_BASE": "model.trunk.train",
    "MODEL.L2_NORMALIZE": "model.l2_normalize",
    "MODEL.PROJECTION": "model.projection",
    "MODEL.PROJECTION_SIZE": "model.projection_size",
    "MODEL.BASE_MODEL.LAYER": "model.trunk.layer",
    "MODEL.BASE_MODEL.FRAMES_PER_BATCH": "model.trunk.frames_per_pass",
    "MODEL.EMBEDDER_MODEL.HIDDEN_SIZE": "model.embedder.hidden_size",
    "MODEL.EMBEDDER_MODEL.D_FF": "model.embedder.d_ff",
    "MODEL.EMBEDDER_MODEL.NUM_HEADS": "model.embedder.num_heads",
    "MODEL.EMBEDDER_MODEL.NUM_LAYERS": "model.embedder.num_layers",
    "MODEL.EMBEDDER_MODEL.CONV_LAYERS": "model.embedder.conv_layers",
    "MODEL.EMBEDDER_MODEL.CAPACITY_SCALAR": "model.embedder.capacity_scalar",
    "MODEL.EMBEDDER_MODEL.EMBEDDING_SIZE": "model.embedder.embedding_size",
    "MODEL.EMBEDDER_MODEL.FC_DROPOUT_RATE": "model.embedder.fc_dropout_rate",
    "SCL.LABEL_VARIENCE": "scl.label_variance",
    "SCL.SOFTMAX_TEMPERATURE": "scl.softmax_temperature",
    "SCL.POSITIVE_TYPE": "scl.positive_type",
    "SCL.NEGATIVE_TYPE": "scl.negative_type",
    "SCL.POSITIVE_WINDOW": "scl.positive_window",
    "TCC.LOSS_TYPE": "tcc.loss_type",
    "TCC.SIMILARITY_TYPE": "tcc.similarity_type",
    "TCC.SOFTMAX_TEMPERATURE": "tcc.softmax_temperature",
    "TCC.LABEL_SMOOTHING": "tcc.label_smoothing",
    "TCC.VARIANCE_LAMBDA": "tcc.variance_lambda",
    "TCC.NORMALIZE_INDICES": "tcc.normalize_indices",
    "TCN.POSITIVE_WINDOW": "tcn.positive_window",
    "TCN.REG_LAMBDA": "tcn.reg_lambda",
    "OPTIMIZER.WEIGHT_DECAY": "train.optimizer.weight_decay",
    "OPTIMIZER.GRAD_CLIP": "train.clip_norm",
    "OPTIMIZER.LR.INITIAL_LR": "train.optimizer.learning_rate",
    "OPTIMIZER.LR.DECAY_TYPE": "rates.decay_type",
    "OPTIMIZER.LR.WARMUP_LR": "rates.warmup_lr",
    "OPTIMIZER.LR.NUM_WARMUP_STEPS": "rates.num_warmup_steps",
    "OPTIMIZER.LR.FINAL_LR": "rates.final_lr",
    "DATA.FRACTION": "data.fraction",
    "DATA.ADDITION_TRAINSET": "data.addition_trainset",
    "DATA.SAMPLE_ALL_STRIDE": "data.sample_all_stride",
    "DATA.SAMPLING_STRATEGY": "sampling.strategy",
    "DATA.SAMPLING_REGION": "sampling.region",
    "DATA.CONSISTENT_OFFSET": "sampling.consistent_offset",
    "DATA.NUM_CONTEXTS": "sampling.num_contexts",
    "DATA.CONTEXT_STRIDE": "sampling.context_stride",
    "DATA.NUM_WORKERS": "train.workers",
    "AUGMENTATION.STRENGTH": "augment.strength",
    "AUGMENTATION.RANDOM_FLIP": "augment.random_flip",
    "AUGMENTATION.RANDOM_CROP": "augment.random_crop",
    "LOGGING.REPORT_INTERVAL": "train.log_every",
    "CHECKPOINT.SAVE_INTERVAL": "train.checkpoint_every",
}
COLOURS = ("BRIGHTNESS", "CONTRAST", "HUE", "SATURATION")
# read below, or settled by the command line, or by what else the recipe says
KNOWN = {
    *PLAIN,
    *(f"AUGMENTATION.{name}{end}" for name in COLOURS for end in ("", "_MAX_DELTA")),
    *("DATASETS", "TRAINING_ALGO", "SSL", "USE_AMP", "OPTIMIZER.TYPE", "MODEL.BASE_MODEL.NETWORK"),
    *("MODEL.EMBEDDER_MODEL.FC_LAYERS", "EVAL.BATCH_SIZE", "EVAL.NUM_FRAMES", "EVAL.TASKS"),
    *("LOGDIR", "PATH_TO_DATASET", "NUM_GPUS", "SHARD_ID", "DATA.FRAME_LABELS"),
}


def convert_configuration(path: Path) -> tuple[str, list[str]]:
    """The recipe (YAML) of an official file, and its keys that have no counterpart here.

    Raises KinoscopeError where the file is none of CARL, or its values do not fit together.
    """
    given = parse_yaml(path.read_text(encoding="utf-8"), path)
    if not isinstance(given, dict) or not ("DATASETS" in given or "TRAINING_ALGO" in given):
        raise KinoscopeError(
            "this is no configuration of CARL", file=path, remedy="it has DATASETS and TRAINING_ALGO"
        )
    cfg = load_config(path)
    first_release = "SIMCLR" in given or given.get("TRAINING_ALGO") == "simclr"
    if first_release:
        cfg["SCL"] = {**cfg.pop("SIMCLR", cfg.get("SCL", {}))}
        if "SOFTMAX_TEMPERATURE" not in given.get("SIMCLR", {}):
            cfg["SCL"]["SOFTMAX_TEMPERATURE"] = 0.3  # the default of that release
    recipe: dict[str, Any] = {"task": "representation", "description": f"converted from {path.name}"}
    for key, ours in PLAIN.items():
        value = _at(cfg, key)
        if value is not None:
            recipe = merged(recipe, _nested(ours, value))
    recipe = merged(recipe, _decided(cfg, first_release))
    settings = validate(RepresentationSettings, recipe, path)
    text = yaml.safe_dump(recipe, sort_keys=False)
    keys = (key.replace("SIMCLR.", "SCL.", 1) if key.startswith("SIMCLR.") else key for key in _leaves(given))
    unknown = sorted({key for key in keys if key not in KNOWN})
    if bool(cfg["SSL"]) != (settings.algorithm == "scl"):
        unknown.append("SSL")
    return text, unknown


def _decided(cfg: dict[str, Any], first_release: bool) -> dict[str, Any]:
    """What follows from several official keys, or from the name of the data set."""
    names = list(cfg["DATASETS"])
    first = names[0]
    dataset = first if first in ("pouring", "finegym", "kinetics400") else "penn_action"
    if dataset == "penn_action" and first not in PENN_ACTIONS:
        raise KinoscopeError("there is no such data set", field="DATASETS", value=first)
    data: dict[str, Any] = {"kind": "published", "dataset": dataset}
    judged = names[1:] if dataset == "kinetics400" else names
    if dataset in ("penn_action", "kinetics400") and tuple(judged) != PENN_ACTIONS:
        data["evaluate_on"] = judged
    algorithm = {"simclr": "scl"}.get(cfg["TRAINING_ALGO"], cfg["TRAINING_ALGO"])
    network = str(cfg["MODEL"]["BASE_MODEL"]["NETWORK"])
    kinds = [kind for kind in ("simclr", "byol", "mocov2") if kind in network]
    section = cfg["AUGMENTATION"]
    deltas = {
        f"{name.lower()}_max_delta": section[f"{name}_MAX_DELTA"] if section[name] else 0.0
        for name in COLOURS
    }
    return {
        "data": data,
        "algorithm": algorithm,
        "model": {
            "trunk": {"network": kinds[0] if kinds else "pretrained"},
            "embedder": {"fc_layers": [entry[0] for entry in cfg["MODEL"]["EMBEDDER_MODEL"]["FC_LAYERS"]]},
        },
        "sampling": {
            "crop_of_clip": dataset == "finegym" or (first_release and dataset == "kinetics400"),
            "same_class": algorithm == "tcc" and dataset == "penn_action",
        },
        "augment": {"kind": "images", **deltas, "blur_probability": 0.0 if dataset == "finegym" else 0.5},
        "train": {
            "optimizer": {"kind": OPTIMIZERS[cfg["OPTIMIZER"]["TYPE"]]},
            "schedule": {"kind": "constant"},
            "precision": "fp16" if cfg.get("USE_AMP", True) else "fp32",
            "ema_decay": None,
            "keep": "last",
        },
    }


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return None
        tree = tree[part]
    return tree


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    found: dict[str, Any] = value
    return found


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
