"""Encoders beside those of pictures: transformers' video networks, poses, and models that were trained here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from kinoscope import builtin, encoders, extractor, load
from kinoscope.cli import main
from kinoscope.encoders import Sampling
from kinoscope.encoders.extract import features_of
from kinoscope.errors import KinoscopeError
from kinoscope.from_video import VideoModel
from kinoscope.media import blazepose
from kinoscope.media.pose import poses_of
from kinoscope.media.skeleton import SkeletonFile
from kinoscope.media.store import FeatureStore
from kinoscope.media.video import VideoReader
from kinoscope.timeline import TimeAxis

CLIP = builtin.path("asl") / "eat.mkv"
needs_mediapipe = pytest.mark.skipif(
    not blazepose.installed(), reason="the package mediapipe 0.10.14 (extra `pose`) is not installed"
)


def tiny(kind: str, folder: Path) -> Any:
    """A small network of transformers with random weights, saved as a release would be."""
    transformers = pytest.importorskip("transformers", reason="the library transformers is not installed")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    if kind == "videomae":
        config = transformers.VideoMAEConfig(image_size=32, intermediate_size=64, num_frames=8, **shape)
        network = transformers.VideoMAEModel(config)
    else:
        config = transformers.VJEPA2Config(
            crop_size=32, frames_per_clip=8, pred_hidden_size=24, pred_num_attention_heads=2,
            pred_num_hidden_layers=1, **shape,
        )  # fmt: skip
        network = transformers.VJEPA2Model(config)
    network.save_pretrained(folder)
    return network.eval()


@pytest.mark.parametrize("kind", ["videomae", "vjepa2"])
def test_transformers_see_the_clip_and_their_tokens_are_averaged(tmp_path: Path, kind: str) -> None:
    network = tiny(kind, tmp_path / "net")
    encoder = encoders.create(f"transformers/{kind}", tmp_path / "net", window=8)
    assert encoder.clips
    assert encoder.channels == 32
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8, 40, 40, 3), np.uint8)
    with torch.inference_mode():
        x_BTCHW = encoder.preparation(pictures, torch.device("cpu"))
        name = "pixel_values_videos" if kind == "vjepa2" else "pixel_values"
        expected = network(**{name: x_BTCHW}).last_hidden_state.mean(1)
    np.testing.assert_allclose(encoder(pictures), expected, atol=1e-5)
    again, sampling = encoders.from_identity(
        {**encoder.identity, "sampling": Sampling(window=8, stride=8).model_dump()}, tmp_path / "net"
    )
    assert again.identity == encoder.identity
    with VideoReader(CLIP, **again.preparation.reader_options()) as video:
        assert np.concatenate(list(features_of(video, again, sampling))).shape == (5, 32)


def test_transformers_say_what_is_wrong(tmp_path: Path) -> None:
    tiny("videomae", tmp_path / "net")
    for name, weights, window, message in (
        ("transformers/videomae", None, 8, "random weights"),
        ("transformers/videomae", tmp_path, 8, "config.json"),
        ("transformers/videomae", tmp_path / "net", 16, "takes clips of 8 frames"),
        ("transformers/vjepa2", tmp_path / "net", 8, "another network"),
    ):
        with pytest.raises(KinoscopeError, match=message):
            encoders.create(name, weights, window=window)


@needs_mediapipe
def test_poses_are_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "extract",
        "pose",
        str(CLIP),
        "--output",
        str(tmp_path / "store"),
        "--fps",
        "10",
        "--window",
        "2",
    ]
    assert main(command) == 0
    store = FeatureStore(tmp_path / "store")
    frames = len(poses_of(CLIP, 10).joints)
    assert store.features("eat").shape == (frames // 2, 201)
    encoder, sampling = extractor.of_identity(store.encoder)
    rows = encoder.of_video(CLIP, sampling)  # type: ignore[union-attr]
    np.testing.assert_allclose(rows.values, store.features("eat"), atol=1e-5)
    assert rows.axis == store.axis("eat")


@pytest.fixture(scope="module")
def poses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small made-up sequences of two labels and two subjects, in BlazePose's joints."""
    random = np.random.default_rng(0)
    joints, count = np.cumsum(random.normal(size=(8 * 30, 33, 3)), axis=0).astype(np.float32) * 0.01, 8
    file = SkeletonFile.from_arrays(
        {
            "joints": joints,
            "offset": np.arange(count + 1) * 30,
            "joint_names": np.array(blazepose.JOINTS),
            "parents": np.array(blazepose.PARENTS),
            "fps": np.array(30.0),
            "label": np.arange(count) % 2,
            "label_names": np.array(["a", "b"]),
            "subject": np.arange(count) // 4,
        }
    )
    return file.save(tmp_path_factory.mktemp("poses") / "poses.npz")


@needs_mediapipe
def test_a_model_of_motion_takes_videos_and_is_an_encoder(poses: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [
        "train",
        "representation/carl_motions",
        f"data.train={poses}",
        f"data.test={poses}",
        "train.epochs=1",
    ]
    assert main([*command, "--output", str(run), "--quiet"]) == 0
    answer = load(run).to_json([load(run).predict(CLIP, name="mine")])
    assert list(answer["embeddings"]) == ["mine"]
    assert main(["extract", str(run), str(CLIP), "--output", str(tmp_path / "store")]) == 0
    store = FeatureStore(tmp_path / "store")
    assert store.encoder["name"] == "trained/representation"
    expected = answer["embeddings"]["mine"]["embeddings"]
    np.testing.assert_allclose(store.features("eat"), expected, atol=1e-3)
    with pytest.raises(KinoscopeError, match="encoder-weights FOLDER"):
        extractor.of_identity(store.encoder)
    again, _ = extractor.of_identity(store.encoder, run)
    assert again.channels == store.channels


class Clips:
    """Stands for a model of trimmed clips of a skeleton: the embedding of a clip is its length and its middle."""

    layout = SimpleNamespace(joints=blazepose.JOINTS)
    settings = SimpleNamespace(task="skeleton")

    def predict(self, path: Path, everything: bool = False) -> Any:
        file = SkeletonFile.load(path)
        rows = [[len(motion.joints), *motion.joints.mean((0, 1))] for motion in file]
        return SimpleNamespace(
            names=file.names[1:], embeddings=np.array(rows, np.float32)[1:]
        )  # one is left out


@needs_mediapipe
def test_a_model_of_clips_gives_one_embedding_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr("kinoscope.models.load", lambda folder: VideoModel(Clips()))
    monkeypatch.setattr(extractor.TrainedEncoder, "_try", lambda self: 4)
    encoder = extractor.TrainedEncoder(tmp_path)
    rows = encoder.of_video(CLIP, Sampling(window=10, stride=5, fps=15))
    joints = poses_of(CLIP, 15).joints
    assert rows.values.shape == ((len(joints) - 10) // 5 + 1, 4)
    assert not rows.values[0].any()
    assert rows.values[1:, 0].tolist() == [10] * (len(rows.values) - 1)
    np.testing.assert_allclose(rows.values[2, 1:], joints[10:20].mean((0, 1)), atol=1e-4)
    assert rows.axis == TimeAxis(15, 5, 10)
