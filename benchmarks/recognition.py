"""Speed of AdaFocus: one clip of 16 frames, patch 128, 200 classes (the setting of the official figures)."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.harness import Work, main
from kinoscope.recognition.augment import train_clip, val_clip
from kinoscope.recognition.data import Entry, read_images
from kinoscope.recognition.metrics import mean_average_precision
from kinoscope.recognition.models import AdaFocus
from kinoscope.recognition.models.adafocus import rollout
from kinoscope.recognition.models.folding import folded, with_folded_perception
from kinoscope.recognition.models.policy import DiscretePolicy
from kinoscope.recognition.models.windows import random_corners
from kinoscope.recognition.ppo import Memory, policy_optimizer, ppo_update, reward
from kinoscope.recognition.steps import set_stage_mode, stage_groups, stage_loss

FRAMES, PATCH, CLASSES = 16, 128, 200


def model() -> AdaFocus:
    torch.manual_seed(0)
    return AdaFocus(CLASSES, patch_size=PATCH, dropout=0.8).eval()


def clip() -> torch.Tensor:
    return torch.randn(1, FRAMES, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def step(stage: int) -> Work:
    net, frames, label = model(), clip(), torch.tensor([3])
    set_stage_mode(net, stage)
    eyes = with_folded_perception(net)
    net.local_cnn.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    groups = [p for group in stage_groups(net, stage) for p in group]
    optimizer = torch.optim.SGD(groups, lr=1e-4, momentum=0.9, weight_decay=1e-4)
    draws = np.random.default_rng(0)

    def work() -> None:
        corners = random_corners(FRAMES, 224, PATCH, draws).view(1, FRAMES, 2) if stage == 1 else None
        loss = stage_loss(net, stage, frames, label, corners, eyes=eyes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return work


def stage2() -> Work:
    net, frames, label = model(), clip(), torch.tensor([3])
    set_stage_mode(net, 2)
    eyes = with_folded_perception(net)
    adam, draws = policy_optimizer(net.policy), np.random.default_rng(0)

    def work() -> None:
        baseline = random_corners(FRAMES, 224, PATCH, draws).view(FRAMES, 1, 2)
        seen = rollout(eyes, frames, label, baseline)
        rewards = reward("random", seen.confidence, seen.baseline_confidence)
        memory = Memory(seen.states, seen.choice.actions, seen.choice.log_probabilities, rewards)
        ppo_update(net.policy, net.acting, adam, memory)

    return work


def inference() -> Work:
    net, frames = with_folded_perception(model()), clip()

    def work() -> torch.Tensor:
        with torch.inference_mode():
            return net(frames)

    return work


def global_cnn() -> Work:
    net, images = folded(model().global_cnn), clip()[0]

    def work() -> object:
        with torch.inference_mode():
            return net(images)

    return work


def ppo64() -> Work:
    torch.manual_seed(0)
    policy, acting = (DiscretePolicy(1280, 7, 1024, 49) for _ in range(2))
    acting.load_state_dict(policy.state_dict())
    states = torch.randn(FRAMES, 64, 1280, 7, 7)
    with torch.no_grad():
        actions, old = acting.act(states, explore=True)
    memory = Memory(states, actions, old, torch.randn(FRAMES, 64))
    adam = policy_optimizer(policy)
    return lambda: ppo_update(policy, acting, adam, memory)


def images() -> list[Image.Image]:
    draws = np.random.default_rng(0)
    small = [Image.fromarray(draws.integers(0, 256, (45, 60, 3), dtype=np.uint8)) for _ in range(FRAMES)]
    return [image.resize((480, 360)) for image in small]


def train_transform() -> Work:
    frames, draws = images(), random.Random(0)
    return lambda: train_clip(frames, 224, draws)


def val_transform() -> Work:
    frames = images()
    return lambda: val_clip(frames, 224)


def jpegs() -> Work:
    folder = tempfile.TemporaryDirectory()
    for i, image in enumerate(images(), 1):
        image.save(Path(folder.name) / f"image_{i:05d}.jpg")
    entry = Entry(Path(folder.name), (0,), FRAMES, "image_{:05d}.jpg")

    def work() -> torch.Tensor:
        assert folder.name
        return val_clip(read_images(entry, range(1, FRAMES + 1)), 224)

    return work


def evaluation() -> Work:
    draws = np.random.default_rng(0)
    scores = draws.standard_normal((4926, CLASSES)).astype(np.float32)
    labels = draws.integers(0, CLASSES, (4926, 1))
    return lambda: mean_average_precision(scores, labels)


OPERATIONS = {
    "stage1_train_step": lambda: step(1),
    "stage2_rollout_and_ppo_update": stage2,
    "stage3_train_step": lambda: step(3),
    "inference": inference,
    "global_cnn_16_frames": global_cnn,
    "ppo_update_batch64": ppo64,
    "train_transform_16_frames": train_transform,
    "val_transform_16_frames": val_transform,
    "load_and_transform_16_jpegs": jpegs,
    "map_evaluation_4926x200": evaluation,
}

if __name__ == "__main__":
    main(OPERATIONS, __doc__)
