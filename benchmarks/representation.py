"""Speed of the representation task at the sizes of the official figures (one core, quiet machine, medians).

Official: training step 16.0 s (2.6 GB), embedding 4.6 s, SCL 0.007 s and 0.11 s, TCC 0.029 s, augmentation of one
view 0.75 s, evaluation transform 0.17 s, Kendall's tau 2.6 s, retrieval 0.40 s, phase classification 0.1 to 0.2 s, DTW
0.08 s.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Work, main
from kinoscope.metrics.dtw import dtw
from kinoscope.representation import evaluate, loss, objectives
from kinoscope.representation.image_augment import ImageAugment, evaluation_stages
from kinoscope.representation.models import FrameEncoder, build_encoder
from kinoscope.representation.objectives import Batch
from kinoscope.representation.optimization import parameter_groups

FRAMES, CLASSES = 80, 4


def _encoder() -> FrameEncoder:
    return build_encoder(trained_frames=FRAMES, layers=3)


def train_step() -> Work:
    """One video, two views of 80 frames: forward, SCL, backward, clipping, Adam."""
    model = _encoder().train()
    groups = [{"params": group} for group in parameter_groups(model)]
    optimizer = torch.optim.Adam(groups, 1e-4, weight_decay=1e-5)
    steps = torch.arange(FRAMES).expand(1, 2, -1)
    clips = torch.randn(1, 2, FRAMES, 3, 224, 224)
    batch = Batch(clips, torch.full((1, 2), 100), steps, torch.ones(1, 2, FRAMES))
    objective = objectives.scl()

    def work() -> object:
        optimizer.zero_grad()
        objective(model, batch)["loss"].backward()
        torch.nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 10)
        return optimizer.step()

    return work


def embed_video() -> Work:
    model, clip = _encoder().eval(), torch.randn(1, FRAMES, 3, 224, 224)

    @torch.inference_mode()
    def work() -> object:
        return model(clip)

    return work


def _embeddings(videos: int, frames: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(videos, frames, 128), dim=-1)


def scl(videos: int) -> Work:
    """Loss and gradient of two views of 240 frames of each video."""
    z = _embeddings(2 * videos, 240).view(videos, 2, 240, 128).requires_grad_()
    steps = torch.arange(240).expand(videos, 2, -1)
    lengths, mask = torch.full((videos, 2), 300), torch.ones(videos, 2, 240)

    def work() -> object:
        return torch.autograd.grad(loss.scl_loss(z, steps, lengths, mask), z)

    return work


def tcc() -> Work:
    x = _embeddings(4, 240).requires_grad_()
    steps, lengths = torch.arange(240).expand(4, -1), torch.full((4,), 300)

    def work() -> object:
        return torch.autograd.grad(loss.tcc_loss(x, steps, lengths)["loss"], x)

    return work


def augment_view() -> Work:
    """A view with all changes but the blur or with it, as the seed of each call has it."""
    clip, change, seeds = torch.rand(FRAMES, 3, 224, 224), ImageAugment(), iter(range(10**6))
    return lambda: change(clip, np.random.default_rng(next(seeds)))


def augment_eval() -> Work:
    clip = torch.rand(200, 3, 360, 640)

    def work() -> object:
        out = clip
        for _, change in evaluation_stages(224):
            out = change(out)
        return out

    return work


Split = tuple[list[np.ndarray], list[np.ndarray]]


def _split(videos: int, seed: int) -> Split:
    """Videos of 40 to 120 frames and their phases, embeddings of 128 numbers of length one."""
    draws = np.random.default_rng(seed)
    lengths = draws.integers(40, 121, videos)
    labels = [np.arange(n) * CLASSES // n for n in lengths]
    embs = [np.linspace(0, 2, n)[:, None] + draws.standard_normal((n, 128)) for n in lengths]
    return [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in embs], labels


def tau() -> Work:
    """Both splits, stride 2, as the official evaluation of a Penn Action class."""
    splits = [_split(103, 0)[0], _split(63, 1)[0]]
    return lambda: [evaluate.kendalls_tau(videos, 2) for videos in splits]


def retrieval() -> Work:
    videos, labels = _split(63, 1)
    return lambda: evaluate.retrieval(videos, labels, stride=2)


def classification() -> Work:
    train, test = _split(103, 0), _split(63, 1)
    return lambda: evaluate.classification(*train, *test)


def event_completion() -> Work:
    train, test = _split(103, 0), _split(63, 1)
    return lambda: evaluate.event_completion(*train, *test, CLASSES)


def align_dtw() -> Work:
    query, key = (_embeddings(1, frames)[0].numpy() for frames in (300, 320))
    return lambda: dtw(evaluate.squared_distances(query, key))


OPERATIONS = {
    "train_step_1video_2views_80f_224px": train_step,
    "embed_video_80f_224px": embed_video,
    "scl_loss_B1_T240": lambda: scl(1),
    "scl_loss_B4_T240": lambda: scl(4),
    "tcc_loss_B4_T240": tcc,
    "augment_ssl_view_80f_224px": augment_view,
    "augment_eval_200f_640x360": augment_eval,
    "eval_kendalls_tau_103_63_videos": tau,
    "eval_retrieval_63_videos": retrieval,
    "eval_classification_103_63_videos": classification,
    "eval_event_completion_103_63_videos": event_completion,
    "align_dtw_300x320": align_dtw,
}

if __name__ == "__main__":
    main(OPERATIONS, __doc__)
