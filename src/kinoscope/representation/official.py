"""Names of the official checkpoints and settings, and ours: the one place that knows both.

Official files hold {epoch, model_state, optimizer_state, cfg}; the state dict has no `module.` prefix.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from kinoscope.errors import KinoscopeError
from kinoscope.representation import evaluate, objectives
from kinoscope.representation.image_augment import ImageAugment, Stage, evaluation_stages
from kinoscope.representation.models import FrameEncoder, build_encoder
from kinoscope.representation.official_config import PENN_ACTIONS
from kinoscope.representation.official_files import read_checkpoint
from kinoscope.representation.sampling import Draws, Sampler

# official name (a regular expression) -> ours; the first that matches counts
NAMES = (
    (r"^backbone\.", "trunk."),
    (r"^res_finetune\.", "tail."),
    (r"^embed\.fc_layers\.", "embedder.fc."),
    (r"^embed\.conv_layers\.", "embedder.conv."),
    (r"^embed\.video_emb\.", "embedder.to_hidden."),
    (r"^embed\.embedding_layer\.", "embedder.out."),
    (r"^embed\.video_encoder\.enc_layers\.(\d+)\.res_layer0\.norm\.", r"embedder.layers.\1.norm_attention."),
    (
        r"^embed\.video_encoder\.enc_layers\.(\d+)\.res_layer1\.norm\.",
        r"embedder.layers.\1.norm_feed_forward.",
    ),
    (
        r"^embed\.video_encoder\.enc_layers\.(\d+)\.self_att\.linear_Q2d\.",
        r"embedder.layers.\1.attention.query.",
    ),
    (
        r"^embed\.video_encoder\.enc_layers\.(\d+)\.self_att\.linear_K2d\.",
        r"embedder.layers.\1.attention.key.",
    ),
    (
        r"^embed\.video_encoder\.enc_layers\.(\d+)\.self_att\.linear_V2d\.",
        r"embedder.layers.\1.attention.value.",
    ),
    (
        r"^embed\.video_encoder\.enc_layers\.(\d+)\.self_att\.linear_d2Q\.",
        r"embedder.layers.\1.attention.output.",
    ),
    (
        r"^embed\.video_encoder\.enc_layers\.(\d+)\.feed_forward\.fc1\.",
        r"embedder.layers.\1.feed_forward.expand.",
    ),
    (
        r"^embed\.video_encoder\.enc_layers\.(\d+)\.feed_forward\.fc2\.",
        r"embedder.layers.\1.feed_forward.contract.",
    ),
    (r"^ssl_projection\.net\.", "projection."),
    (r"^classifier\.fc_layers\.", "classifier."),
)

PHASES = {"pouring": 5, **dict(zip(PENN_ACTIONS, (4, 3, 2, 3, 6, 3, 4, 2, 2, 2, 4, 3, 4), strict=True))}


def our_name(official: str) -> str:
    """Our name of an official state entry.

    >>> our_name("embed.video_encoder.enc_layers.1.self_att.linear_Q2d.weight")
    'embedder.layers.1.attention.query.weight'
    """
    for pattern, ours in NAMES:
        if re.match(pattern, official):
            return re.sub(pattern, ours, official)
    raise KinoscopeError("the official networks have no such entry", field=official)


def load_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Official state into `model`; KinoscopeError with the list of entries that are missing or too many."""
    named = {our_name(name): value for name, value in state.items()}
    own = model.state_dict()
    missing = sorted(set(own) - set(named))
    extra = sorted(set(named) - set(own))
    shapes = [name for name in named if name in own and named[name].shape != own[name].shape]
    if missing or extra or shapes:
        raise KinoscopeError(
            f"the weights do not fit the network: missing {missing}, too many {extra}, other shapes {shapes}"
        )
    model.load_state_dict(named)


def official_names(model: nn.Module, state: Mapping[str, Any]) -> dict[str, str]:
    """Our name -> official name, for the entries of an official state."""
    return {our_name(name): name for name in state}


def classes_of(cfg: Mapping[str, Any]) -> int:
    """Classes of the supervised head: of FineGym as set, else phases of the first data set."""
    dataset = cfg["DATASETS"][0]
    return int(cfg["EVAL"].get("CLASS_NUM", 99)) if dataset == "finegym" else PHASES[dataset]


def build_model(
    cfg: Mapping[str, Any], layers: int | None = None, channels_last: bool = True
) -> FrameEncoder:
    """The network of an official configuration; `layers` overrides its number of encoder layers.

    channels_last: the fast memory layout instead of the official one.
    """
    model, base, embedder = cfg["MODEL"], cfg["MODEL"]["BASE_MODEL"], cfg["MODEL"]["EMBEDDER_MODEL"]
    kind = model["EMBEDDER_TYPE"]
    if kind not in ("transformer", "conv", "vanilla"):
        raise KinoscopeError(
            "there is no such embedder",
            field="MODEL.EMBEDDER_TYPE",
            value=kind,
            remedy="one of transformer, conv, vanilla",
        )
    return build_encoder(
        kind=kind,
        layer=base["LAYER"],
        trained_frames=cfg["TRAIN"]["NUM_FRAMES"],
        contexts=cfg["DATA"]["NUM_CONTEXTS"],
        train_trunk=model["TRAIN_BASE"],
        frames_per_pass=base.get("FRAMES_PER_BATCH", 40),
        hidden=embedder.get("HIDDEN_SIZE", 256),
        inner=embedder.get("D_FF", 1024),
        heads=embedder.get("NUM_HEADS", 8),
        layers=embedder.get("NUM_LAYERS", 3) if layers is None else layers,
        conv=tuple(tuple(entry) for entry in embedder.get("CONV_LAYERS", ())),
        fc=tuple(entry[0] for entry in embedder["FC_LAYERS"]),
        capacity=embedder["CAPACITY_SCALAR"],
        size=embedder["EMBEDDING_SIZE"],
        dropout=embedder["FC_DROPOUT_RATE"],
        l2_normalize=model["L2_NORMALIZE"],
        projection=model.get("PROJECTION_SIZE", 128) if model["PROJECTION"] else None,
        classes=classes_of(cfg) if cfg["TRAINING_ALGO"] == "classification" else None,
        channels_last=channels_last,
    )


def scl_options(section: Mapping[str, Any]) -> dict[str, Any]:
    """Our arguments of `scl_loss` from the official section SCL (or SIMCLR)."""
    return {
        "temperature": section["SOFTMAX_TEMPERATURE"],
        "variance": section["LABEL_VARIENCE"],
        "positive": section["POSITIVE_TYPE"],
        "negative": section["NEGATIVE_TYPE"],
        "window": section["POSITIVE_WINDOW"],
    }


def tcc_options(section: Mapping[str, Any]) -> dict[str, Any]:
    """Our arguments of `tcc_loss` from the official section TCC."""
    return {
        "kind": section["LOSS_TYPE"],
        "similarity": section["SIMILARITY_TYPE"],
        "temperature": section["SOFTMAX_TEMPERATURE"],
        "smoothing": section["LABEL_SMOOTHING"],
        "variance_weight": section["VARIANCE_LAMBDA"],
        "normalize_indices": section["NORMALIZE_INDICES"],
    }


def build_objective(cfg: Mapping[str, Any]) -> objectives.Objective:
    """The training algorithm of an official configuration."""
    kind = cfg["TRAINING_ALGO"]
    if kind in ("scl", "simclr"):
        section = cfg["SIMCLR"] if "SCL" not in cfg or (kind == "simclr" and "SIMCLR" in cfg) else cfg["SCL"]
        return objectives.scl(cfg["MODEL"]["PROJECTION"], **scl_options(section))
    if kind == "tcc":
        return objectives.tcc(**tcc_options(cfg["TCC"]))
    if kind == "tcn":
        return objectives.tcn(cfg["TCN"]["REG_LAMBDA"])
    if kind == "classification":
        return objectives.classification()
    raise KinoscopeError(
        "there is no such algorithm",
        field="TRAINING_ALGO",
        value=kind,
        remedy="one of scl (or simclr), tcc, tcn, classification",
    )


def encoder_layers(state: Mapping[str, Any]) -> int:
    """Number of transformer layers that a state dict holds."""
    found = {
        int(m[1]) for name in state if (m := re.match(r"embed\.video_encoder\.enc_layers\.(\d+)\.", name))
    }
    return len(found)


def load_official(path: Path) -> tuple[FrameEncoder, dict[str, Any]]:
    """(network with its weights, its official settings) of an official checkpoint.

    The number of layers is the one of the weights: a released file says 3 where it has 2.
    """
    checkpoint = read_checkpoint(path)
    cfg, state = checkpoint["cfg"], checkpoint["model_state"]
    layers = encoder_layers(state)
    told = cfg["MODEL"]["EMBEDDER_MODEL"].get("NUM_LAYERS")
    if cfg["MODEL"]["EMBEDDER_TYPE"] == "transformer" and told != layers:
        warnings.warn(
            f"{path}: NUM_LAYERS says {told}, the weights have {layers}; going by the weights", stacklevel=2
        )
    model = build_model(cfg, layers)
    load_state(model, state)
    return model, cfg


def architecture(cfg: Mapping[str, Any], network: FrameEncoder) -> dict[str, Any]:
    """Our settings of the embedder of an official checkpoint; the number of layers is that of the network."""
    embedder = cfg["MODEL"]["EMBEDDER_MODEL"]
    found = {
        "kind": cfg["MODEL"]["EMBEDDER_TYPE"],
        "fc_layers": tuple(entry[0] for entry in embedder["FC_LAYERS"]),
        "capacity_scalar": embedder["CAPACITY_SCALAR"],
        "embedding_size": embedder["EMBEDDING_SIZE"],
    }
    if found["kind"] == "transformer":
        found["num_layers"] = len(network.embedder.layers)  # type: ignore[arg-type]
    return found


def build_sampler(section: Mapping[str, Any]) -> Sampler:
    """The frame sampler of official settings: section DATA with `dataset`, NUM_FRAMES and TRAINING_ALGO beside.

    Crops go by the video's length for every data set but FineGym (quirk 14); in the first release (`simclr`) for
    Kinetics-400 as well. Raises KinoscopeError for a key that is
    not one of these.
    """
    own = dict(section)
    algorithm, dataset = own.pop("TRAINING_ALGO", "scl"), own.pop("dataset")
    window = own.pop("POSITIVE_WINDOW", 5)
    sampler = Sampler(
        frames=own.pop("NUM_FRAMES"),
        strategy=own.pop("SAMPLING_STRATEGY"),
        region=own.pop("SAMPLING_REGION"),
        consistent_offset=own.pop("CONSISTENT_OFFSET", 0.2),
        crop_of_clip=dataset == "finegym" or (algorithm == "simclr" and dataset == "kinetics400"),
        contexts=own.pop("NUM_CONTEXTS", 1),
        stride=own.pop("CONTEXT_STRIDE", 1),
        positive_window=window if algorithm == "tcn" else 0,
    )
    if own:
        raise KinoscopeError("sampling has no such settings", value=sorted(own))
    return sampler


Split = Mapping[str, list[np.ndarray]]


def run_task(
    task: str, dataset: str, embs: Split, labels: Split, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """One evaluation task under the official names of its scalars and pictures; `returned` is its headline.

    embs, labels: arrays by video for `train` and `val`. settings: section EVAL, and L2_NORMALIZE for the pictures.
    """
    fractions = settings.get("CLASSIFICATION_FRACTIONS", [0.1, 0.5, 1.0])
    stride = settings.get("KENDALLS_TAU_STRIDE", 5)
    distance = settings.get("KENDALLS_TAU_DISTANCE", "sqeuclidean")
    both = embs["train"], labels["train"], embs["val"], labels["val"]
    out: dict[str, Any] = {}
    if task == "classification":
        for fraction in fractions:
            train, val = evaluate.classification(*both, fraction)
            out[f"classification/train_{dataset}_{fraction}_accuracy"] = train
            out[f"classification/val_{dataset}_{fraction}_accuracy"] = val
        return {**out, "returned": val}
    if task == "event_completion":
        for fraction in fractions:
            train, val = evaluate.event_completion(*both, PHASES.get(dataset, 99), fraction)
            out[f"event_completion/train_{dataset}_{fraction}_score"] = train
            out[f"event_completion/val_{dataset}_{fraction}_score"] = val
        return {**out, "returned": val}
    if task == "kendalls_tau":
        temperature = 0.1 if settings.get("L2_NORMALIZE", True) else 1.0
        for split in ("train", "val"):
            videos = embs[split]
            out[f"kendalls_tau/{dataset}_{split}_align_tau"] = evaluate.kendalls_tau(videos, stride, distance)
            count = len(videos)
            pairs = [(i, j) for i in range(count) for j in range(i + 1, count)] if count == 14 else [(0, 1)]
            for i, j in pairs if count > 1 else []:
                out[f"{dataset}_{split}/sim_matrix_{i}_{j}"] = evaluate.similarity_matrix(
                    videos[i][::stride], videos[j][::stride], temperature, distance
                )
        return {**out, "returned": out[f"kendalls_tau/{dataset}_val_align_tau"]}
    if task == "retrieval":
        ks = settings.get("RETRIEVAL_KS", [5, 10, 15])
        found = evaluate.retrieval(embs["val"], labels["val"], ks, stride, distance)
        out = {f"AP/{dataset}_val set {k}_align_precision": value for k, value in found.items()}
        return {**out, "returned": found[ks[0]]}
    raise KinoscopeError(
        "there is no such task",
        field="EVAL.TASKS",
        value=task,
        remedy="one of classification, event_completion, kendalls_tau, retrieval",
    )


def build_augment(
    cfg: Mapping[str, Any], size: int, contrastive: bool, training: bool, draws: Draws
) -> list[Stage]:
    """The spatial changes of official settings (DATASETS, AUGMENTATION), in order.

    contrastive: the pipeline of two views (SSL); otherwise the supervised one, which also serves the evaluation.
    """
    section = cfg["AUGMENTATION"]
    if not training:
        return evaluation_stages(size, contrastive or section["RANDOM_CROP"])
    names = ("BRIGHTNESS", "CONTRAST", "HUE", "SATURATION")
    b, c, h, s = (section[f"{name}_MAX_DELTA"] if section[name] else 0.0 for name in names)
    augment = ImageAugment(
        size,
        "contrastive" if contrastive else "supervised",
        section["STRENGTH"],
        0.0 if cfg["DATASETS"][0] == "finegym" else 0.5,
        crop=section["RANDOM_CROP"],
        flip=section["RANDOM_FLIP"],
        deltas=(b, c, h, s),
    )
    return augment.stages(draws)
