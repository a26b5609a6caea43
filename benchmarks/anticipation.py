"""Speed of the anticipation task at the sizes of the official figures (one core, quiet machine, medians).

Official: features (TSN rgb, EPIC-Kitchens-100, 15 steps) inference of 2 clips 0.70 s, training step of 4 clips
2.82 s at a peak of 7.4 GB; ViT-384 inference of 15 frames, one crop, 19.6 s, training step of 4 frames 16.8 s;
training transform 0.067 s, evaluation transform 0.027 s (15 frames of 256 x 456 pixels, the ViT-224 preset); LMDB
window 0.0015 s; evaluation of 9,668 x 3,806 scores 4.0 s; late fusion of two runs 11.3 s.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Work, main
from kinoscope.anticipation.augment import PixelSettings, eval_transform, train_transform
from kinoscope.anticipation.evaluate import ScoreTable, evaluate, fuse, marginalise, membership
from kinoscope.anticipation.features import FeatureStore
from kinoscope.anticipation.loss import losses, total_loss
from kinoscope.anticipation.models import Anticipator, AnticipatorConfig
from kinoscope.anticipation.sampling import FrameSampling
from kinoscope.anticipation.schedule import parameter_groups

ACTIONS, VERBS, NOUNS, SEGMENTS = 3806, 97, 300, 9668
WEIGHTS = {
    "features": {"cls_action": 1.0, "target_distance": 1.0, "feat": 1.0},
    "pixels": {
        "cls_action": 1.0,
        "past_cls_action": 1.0,
        "global_simContrast": 4.0,
        "target_distance": 1.0,
        "feat": 1.0,
    },
}


def _features() -> Anticipator:
    torch.manual_seed(0)
    return Anticipator(AnticipatorConfig({"action": ACTIONS}, 15, backbone_dim=1024))


def _pixels(frames: int) -> Anticipator:
    torch.manual_seed(0)
    name = "vit_base_patch16_384.orig_in21k_ft_in1k"
    return Anticipator(AnticipatorConfig({"action": ACTIONS}, frames, name, tca_blocks=2))


def inference(model: Anticipator, video: Tensor) -> Work:
    model.eval()

    def work() -> object:
        with torch.inference_mode():
            return model(video, with_past=False)

    return work


def training(model: Anticipator, video: Tensor, kind: str) -> Work:
    model.train()
    if kind == "features":
        model.prototypes.requires_grad_(False)
    clips, frames = video.shape[:2]
    language = torch.randn(ACTIONS, 768)
    target, past = torch.arange(clips), torch.arange(clips * frames).view(clips, frames)
    optimizer = torch.optim.SGD(parameter_groups(model, 1e-5), lr=1e-4, momentum=0.9)
    weights = WEIGHTS[kind]

    def step() -> None:
        out = model(video, with_past=kind == "pixels")
        each = losses(
            out,
            {"action": target},
            {"action": past},
            model.prototypes,
            language if kind == "pixels" else None,
        )
        total, _ = total_loss(each, weights)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()

    return step


def transform(training_: bool) -> Work:
    clip = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (15, 256, 456, 3), dtype=np.uint8))
    settings = PixelSettings("248-280" if training_ else 248, 224)
    if not training_:
        return lambda: eval_transform(clip, settings)
    python, generator = random.Random(0), torch.Generator().manual_seed(0)
    return lambda: train_transform(clip, settings, python, generator)


def lmdb_window() -> Work:
    import lmdb

    folder = Path(tempfile.mkdtemp())
    values = np.random.default_rng(0).standard_normal((900, 1024)).astype(np.float32)
    environment = lmdb.open(str(folder), map_size=2**26)
    with environment.begin(write=True) as transaction:
        for number, vector in enumerate(values, start=1):
            transaction.put(f"P01_01_frame_{number:010d}.jpg".encode(), vector.tobytes())
    environment.close()
    store, sampling = FeatureStore([folder]), FrameSampling(15)
    return lambda: store.window("P01_01", 10.0, 25.0, sampling)


def _run(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((SEGMENTS, ACTIONS)).astype(np.float32)


def _classes() -> tuple[np.ndarray, np.ndarray]:
    pairs = np.arange(ACTIONS)
    return pairs % VERBS, pairs // VERBS * 7 % NOUNS


def _table(logits: np.ndarray) -> ScoreTable:
    verb, noun = _classes()
    return marginalise(logits, membership(verb.tolist(), VERBS), membership(noun.tolist(), NOUNS))


def _labels() -> dict[str, np.ndarray]:
    verb, noun = _classes()
    action = np.random.default_rng(9).integers(0, ACTIONS, SEGMENTS)
    return {"verb": verb[action], "noun": noun[action], "action": action}


def evaluation() -> Work:
    logits, labels = _run(0), _labels()
    return lambda: evaluate(_table(logits), labels)


def fusion() -> Work:
    """Marginalisation of two runs, their weighted sum and its figures."""
    runs, labels = [_run(0), _run(1)], _labels()
    return lambda: evaluate(fuse([_table(run) for run in runs], [2.5, 0.5]), labels)


OPERATIONS = {
    "features_inference_2_clips": lambda: inference(_features(), torch.randn(2, 15, 1024)),
    "features_train_step_4_clips": lambda: training(_features(), torch.randn(4, 15, 1024), "features"),
    "vit384_inference_1_clip_15_frames_1_crop": lambda: inference(
        _pixels(15), torch.randn(1, 15, 3, 1, 384, 384)
    ),
    "vit384_train_step_1_clip_4_frames": lambda: training(
        _pixels(4), torch.randn(1, 4, 3, 1, 384, 384), "pixels"
    ),
    "train_transform_15_frames_256p": lambda: transform(True),
    "eval_transform_15_frames_256p_3_crops": lambda: transform(False),
    "load_tsn_window_15s": lmdb_window,
    "evaluate_ek100_val_9668x3806": evaluation,
    "late_fuse_two_runs_ek100_val": fusion,
}

if __name__ == "__main__":
    main(OPERATIONS, __doc__)
