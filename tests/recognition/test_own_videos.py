"""V2 for few videos: EfficientNet-Lite0 is timm's, the policy finds what moves, statistics know the time."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import timm
import torch

from kinoscope.engine.folder import train_stages
from kinoscope.models import load
from kinoscope.recipe import to_yaml
from kinoscope.recognition.augment import MEAN, STD
from kinoscope.recognition.models import AdaFocusV2
from kinoscope.recognition.models.classifiers import StatisticsClassifier
from kinoscope.recognition.models.folding import folded
from kinoscope.recognition.models.lite import LiteBody, LiteLocalCNN
from kinoscope.recognition.models.policy import MotionPolicy
from kinoscope.recognition.stages import stages
from kinoscope.tasks import load_recipe


@torch.no_grad()
def test_lite_is_timms_network_on_its_own_normalisation() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    ours = LiteBody(7).eval()
    ours.load_state_dict({name: theirs.state_dict()[name] for name in ours.state_dict()})
    pixels = torch.rand(2, 3, 96, 64)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
    expected = theirs.blocks(theirs.bn1(theirs.conv_stem((pixels * 255 - 127) / 128)))
    torch.testing.assert_close(ours((pixels - mean) / std), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_folding_keeps_what_lite_answers() -> None:
    network = LiteLocalCNN(3).eval()
    x = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()(x)
    network.eval()
    ours = network(x)
    assert ours.std(0).max() > 0.01
    torch.testing.assert_close(folded(network)(x), ours, rtol=1e-3, atol=1e-4 * float(ours.abs().max()))


def test_the_policy_looks_where_something_moves() -> None:
    maps = torch.rand(1, 1, 4, 10, 20, generator=torch.Generator().manual_seed(0)).repeat(1, 5, 1, 1, 1)
    for t in range(5):
        maps[0, t, :, 7, 2 + 4 * t] += 5
    at = MotionPolicy(4)(maps)[0].detach()
    assert torch.allclose(at[:, 0], torch.full((5,), 0.75), atol=0.02)
    assert at[1:4, 1].tolist() == pytest.approx([0.325, 0.525, 0.725], abs=0.06)
    assert torch.allclose(
        MotionPolicy(4)(torch.ones(1, 3, 4, 6, 6)), torch.tensor(0.5)
    )  # nothing moves: the middle


def test_statistics_of_each_step_are_those_of_the_frames_seen() -> None:
    net = StatisticsClassifier(3, 2, [1, 0, 2])
    x = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    seen = net.statistics(x)
    two = x[:, :2]
    torch.testing.assert_close(seen[:, 0, :3], x[:, 1])
    torch.testing.assert_close(seen[:, 1, 6:], (two[:, 1] - two[:, 0]).abs())
    torch.testing.assert_close(seen[:, 2, 3:6], x.std(1, correction=0))
    net.standardize(x)
    ready = (seen - net.mean) / net.scale
    torch.testing.assert_close(ready[:, 2].mean(0), torch.zeros(9), atol=1e-6, rtol=0)


def test_windows_stay_inside_frames_that_are_not_square() -> None:
    model = AdaFocusV2(2, num_segments=3, patch_size=32, input_size=48, glance_size=32, networks="small",
                       policy="motion", classifier="statistics").eval()  # fmt: skip
    frames = torch.randn(1, 3, 3, 48, 90)
    positions = model(frames)["positions"]
    assert 0 <= positions.min() <= positions.max() <= 1


def moving_square(file: Path, step: int, seed: int) -> None:
    """A bright square crosses noise, to the right by `step` pixels a frame."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(seed)
    ground = draws.integers(0, 90, (48, 72, 3), dtype=np.uint8)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 72, 48, "yuv420p", 2_000_000
        for t in range(10):
            pixels = ground.copy()
            pixels[16:30, 4 + step * t : 18 + step * t] = 240
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def test_the_folder_recipe_learns_from_a_dozen_clips(tmp_path: Path) -> None:
    for part, seeds in (("train", range(5)), ("test", range(5, 8))):
        for name, step in (("still", 0), ("quick", 5)):
            for seed in seeds:
                moving_square(tmp_path / part / name / f"{seed}.avi", step, seed)
    small = ("model.num_segments=5", "model.input_size=48", "model.patch_size=32", "model.glance_size=32")
    folders = (f"data.train={tmp_path / 'train'}", f"data.test={tmp_path / 'test'}")
    settings = load_recipe("recognition/adafocus_v2_folder", (*small, *folders))
    final = train_stages(stages(settings), tmp_path / "run", to_yaml(settings), resume=False, quiet=True)
    assert final["top1"] == 100
    again = load(tmp_path / "run").evaluate(tmp_path / "evaluation")
    assert again["top1"] == 100
    assert set(again["gmacs"]) == {"global", "local", "policy", "classifier", "total"}


def test_fine_tuning_trains_networks_and_policy_first(tmp_path: Path) -> None:
    for name, step in (("still", 0), ("quick", 5)):
        for seed in range(2):
            moving_square(tmp_path / "train" / name / f"{seed}.avi", step, seed)
    settings = load_recipe(
        "recognition/adafocus_v2_folder",
        ("model.num_segments=3", "model.input_size=48", "model.patch_size=32", "model.glance_size=32",
         "model.networks=small", "train.heads.fine_tune=true", "train.single.epochs=1", "train.single.batch_size=2",
         "train.heads.epochs=5", f"data.train={tmp_path / 'train'}", f"data.test={tmp_path / 'train'}"),
    )  # fmt: skip
    assert [stage.name for stage in stages(settings)] == ["single", "heads"]
    final = train_stages(stages(settings), tmp_path / "run", to_yaml(settings), resume=False, quiet=True)
    assert 0 <= final["top1"] <= 100
