"""Speed of the skeleton task at the sizes of the official figures (one core, quiet machine, medians).

Official figures: pre-training step of 128 13.9 s, with nearest neighbours 13.1 s (8.0 GB peak), one
clip 0.0089 s, 128 clips 1.09 s, linear step 1.09 s, triple augmentation 0.49 ms a sample, down-sampling
1.4 ms a sample, parsing 100 frames 5.7 ms, top-5 of 16,487 x 60 0.030 s. Operations that end in
`_1_sample` are seconds for one sample.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.harness import Work, main
from kinoscope.skeleton.augment import OneGenerator, apply, draw_view
from kinoscope.skeleton.downsample import downsample
from kinoscope.skeleton.loss import aimclr_loss
from kinoscope.skeleton.metrics import top_k
from kinoscope.skeleton.models import AimCLR, Classifier, EncoderConfig
from kinoscope.skeleton.skeleton_files import read_skeleton

CLIP = (3, 50, 25, 2)


def pretrain(mine: int) -> Work:
    model = AimCLR(EncoderConfig()).train()
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9, weight_decay=1e-4
    )
    views = [torch.randn(128, *CLIP) for _ in range(3)]

    def step() -> None:
        out = model(*views, mine)
        optimizer.zero_grad()
        aimclr_loss(out)["loss"].backward()
        optimizer.step()
        model.enqueue(out.keys)

    return step


def inference(clips: int) -> Work:
    model, x = Classifier(EncoderConfig(), 60).eval(), torch.randn(clips, *CLIP)

    def work() -> object:
        with torch.no_grad():
            return model(x)

    return work


def linear_step() -> Work:
    """As the official program runs it: features of the batch, then one step of the layer."""
    model, x, labels = Classifier(EncoderConfig(), 60).eval(), torch.randn(128, *CLIP), torch.arange(128) % 60
    optimizer = torch.optim.SGD(model.query.head.parameters(), lr=3.0, momentum=0.9)

    def step() -> None:
        with torch.no_grad():
            features = model.query.features(x)
        optimizer.zero_grad()
        F.cross_entropy(model.query.head(features), labels).backward()
        optimizer.step()

    return step


def linear_epoch(cached: bool) -> Work:
    model, x = Classifier(EncoderConfig(), 60).eval(), torch.randn(1000, *CLIP)
    labels = torch.arange(1000) % 60
    optimizer = torch.optim.SGD(model.query.head.parameters(), lr=3.0, momentum=0.9)
    with torch.no_grad():
        kept = torch.cat([model.query.features(part) for part in x.split(128)]) if cached else x

    def epoch() -> None:
        for first in range(0, 896, 128):
            rows = slice(first, first + 128)
            with torch.no_grad():
                features = kept[rows] if cached else model.query.features(kept[rows])
            optimizer.zero_grad()
            F.cross_entropy(model.query.head(features), labels[rows]).backward()
            optimizer.step()

    return epoch


def triple() -> Work:
    x, generator = torch.randn(128, *CLIP), np.random.default_rng(0)

    def work() -> None:
        for extreme in ("12345", "", ""):
            views = [draw_view(OneGenerator(generator), CLIP, extreme=extreme) for _ in range(128)]
            apply(x, views)

    return work


def downsampling() -> Work:
    raw = np.zeros((3, 300, 25, 2), np.float32)
    raw[:, :100] = np.random.default_rng(0).standard_normal((3, 100, 25, 2))
    return lambda: downsample(raw)


def parsing() -> Work:
    random = np.random.default_rng(0)
    lines = ["100"]
    for _ in range(100):
        lines += ["1", "72057594037 0 1 0 1 0 0 -0.166 0.4406 2", "25"]
        lines += [" ".join(f"{v:.7f}" for v in random.standard_normal(11)) + " 2" for _ in range(25)]
    path = Path(tempfile.mkdtemp()) / "S001C001P001R001A001.skeleton"
    path.write_text("\n".join(lines) + "\n")
    return lambda: read_skeleton(path)


def top5() -> Work:
    random = np.random.default_rng(0)
    scores, labels = random.standard_normal((16487, 60)).astype(np.float32), random.integers(0, 60, 16487)
    return lambda: top_k(scores, labels, 5)


OPERATIONS = {
    "pretrain_step_b128_stage1": lambda: pretrain(0),
    "pretrain_step_b128_nnm": lambda: pretrain(1),
    "inference_1_clip": lambda: inference(1),
    "inference_128_clips": lambda: inference(128),
    "linear_eval_step_b128": linear_step,
    "augment_triple_1_sample": triple,
    "downsample50_1_sample": downsampling,
    "parse_skeleton_100_frames": parsing,
    "top5_accuracy_16487x60": top5,
    "linear_eval_epoch_1000_uncached": lambda: linear_epoch(False),
    "linear_eval_epoch_1000_cached": lambda: linear_epoch(True),
}
PER_SAMPLE = {"augment_triple_1_sample": 128}


def run() -> None:
    """As the shared harness, with the operations that treat a batch told per sample."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(OPERATIONS, __doc__)
    result = json.loads(printed.getvalue())
    print(json.dumps({name: value / PER_SAMPLE.get(name, 1) for name, value in result.items()}))


if __name__ == "__main__":
    run()
