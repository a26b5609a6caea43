"""Small random features in the official layouts, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("Jump", "Run", "Sit")
RECIPES = {
    "thumos": "localization/actionformer_thumos_i3d",
    "anet": "localization/actionformer_activitynet_tsp",
    "epic": "localization/actionformer_epic_verb",
    "ego4d": "localization/actionformer_ego4d_slowfast_omnivore_egovlp",
}
SUBSETS = {"thumos": ("validation", "test")}
TINY = [
    "model.backbone.arch=[1, 1, 2]",
    "model.backbone.n_head=2",
    "model.backbone.n_mha_win_size=5",
    "model.neck.fpn_dim=16",
    "model.head.head_dim=16",
    "model.regression_range=[[0, 8], [8, 32], [32, 10000]]",
    "train.epochs=1",
    "train.schedule.warmup_epochs=1",
    "train.workers=0",
    "train.batch_size=2",
    "data.max_seq_len=32",
]


def write_dataset(folder: Path, reader: str, videos: int = 8) -> list[str]:
    """Annotations and features as `reader` expects them below `folder`; the overrides that point a recipe there."""
    generator = np.random.default_rng(0)
    train, test = SUBSETS.get(reader, ("training", "validation"))
    widths = (8, 4, 2) if reader == "ego4d" else (8,)
    stride, window = (4, 16) if reader == "thumos" else (16, 16) if reader == "anet" else (16, 32)
    fps = 15.0 if reader == "anet" else 30.0
    database: dict[str, Any] = {}
    for k in range(videos):
        video, rows = f"video_{k}", 40 + 3 * k
        duration = ((rows - 1) * stride + window) / fps
        starts = np.sort(generator.uniform(0, 0.7 * duration, 3))
        database[video] = {
            "subset": train if k < videos - 3 else test,
            "duration": duration,
            "fps": fps,
            "annotations": [
                {"label": NAMES[n], "label_id": n, "segment": [float(s), float(s + 0.2 * duration)]}
                for n, s in enumerate(starts)
            ],
        }
        for part, width in enumerate(widths):
            _write(folder, reader, part, video, generator.standard_normal((rows, width)).astype(np.float32))
    (folder / "annotations.json").write_text(json.dumps({"version": "small", "database": database}))
    places = [str(folder / f"features{part}") for part in range(len(widths))]
    chosen = [f"data.annotations={folder}/annotations.json", f"data.features={places}"]
    if reader == "anet":
        scores = {video: generator.uniform(size=len(NAMES)).tolist() for video in database}
        (folder / "scores.json").write_text(json.dumps({"results": scores}))
        chosen += [f"decode.ext_score_file={folder}/scores.json"]
    else:
        chosen += [f"data.num_classes={len(NAMES)}"]
    if reader == "ego4d":
        return [*chosen, f"data.input_dim={list(widths)}", "model.backbone.embd_dim=[4, 6, 6]"]
    return [*chosen, "data.input_dim=8", "model.backbone.embd_dim=16"]


def _write(folder: Path, reader: str, part: int, video: str, values: np.ndarray) -> None:
    place = folder / f"features{part}"
    place.mkdir(parents=True, exist_ok=True)
    if reader == "epic":
        np.savez(place / f"{video}.npz", feats=values)
    else:
        np.save(place / f"{'v_' if reader == 'anet' else ''}{video}.npy", values)
