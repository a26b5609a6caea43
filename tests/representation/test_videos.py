"""CARL on a folder of videos: cached frozen features, two views, prediction, and what bad input is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from kinoscope import encoders
from kinoscope.engine.folder import train_stages
from kinoscope.errors import KinoscopeError
from kinoscope.models import load
from kinoscope.recipe import to_yaml
from kinoscope.representation import check, videos
from kinoscope.representation.augment import PoseAugment
from kinoscope.representation.data import Clip, TwoViews, batch_views
from kinoscope.representation.models.encoder import standardised
from kinoscope.representation.sampling import Sampler
from kinoscope.representation.settings import VideosData
from kinoscope.representation.stages import stages
from kinoscope.representation.synchrony import errors, middle
from kinoscope.tasks import load_recipe
from kinoscope.timeline import TimeAxis

SMALL = [
    *("model.embedder.hidden_size=16", "model.embedder.d_ff=16", "model.embedder.fc_layers=[8]"),
    *("train.epochs=1", "train.schedule.warmup_epochs=0", "train.batch_size=4"),
]


def write_video(path: Path, frames: int = 20, start: int = 0) -> Path:
    """A square that crosses the picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(frames):
            image = np.full((48, 64, 3), 40, np.uint8)
            image[10:30, (start + 2 * k) % 50 : (start + 2 * k) % 50 + 10] = 220
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode())
    return path


class Network(torch.nn.Module):
    """Sixteen brightnesses of a picture: features without weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x.mean(1, keepdim=True), (2, 8)).flatten(1)


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every encoder is the small one; the names that were asked for."""
    asked: list[str] = []

    def create(name: str, *_: Any, **__: Any) -> encoders.Encoder:
        asked.append(name)
        preparation = encoders.Preparation(32, (32, 32), (0.5,) * 3, (0.5,) * 3)
        return encoders.Encoder(name, Network(), preparation, weights="none")

    monkeypatch.setattr(encoders, "create", create)
    return asked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k in range(3):
        write_video(tmp_path / "train" / "cross" / f"a{k}.mp4", 20 + k, k)
        write_video(tmp_path / "test" / "cross" / f"b{k}.mp4", 18 + k, 3 * k)
    (tmp_path / "train" / "cross" / "broken.mp4").write_bytes(b"no video")
    return tmp_path


def settings_of(folder: Path, *more: str) -> Any:
    places = [f"data.{part}={folder / part}" for part in ("train", "test")]
    return load_recipe(
        "representation/carl_videos", [*places, f"data.cache={folder / 'cache'}", *SMALL, *more]
    )


def test_a_folder_trains_without_labels_and_predicts_on_its_time_axis(
    folder: Path, encoder: list[str]
) -> None:
    settings = settings_of(folder)
    result = train_stages(stages(settings), folder / "run", to_yaml(settings), resume=False, quiet=True)
    assert set(result["baselines"]) == {"frozen_features"}
    assert set(result["kendalls_tau_per_class"]) == {"cross"}
    assert [entry["video"] for entry in result["skipped"]] == ["broken.mp4"]
    model = load(folder / "run")
    assert not model.network.trunk.mean.any()  # a video that is standardised by itself is not shifted again
    (found,) = model.predict(folder / "test" / "cross" / "b0.mp4")
    assert found.axis == TimeAxis(10, 1, 1)
    assert found.values.shape == (18, settings.model.embedder.embedding_size)
    rows, axis = model.features(folder / "test" / "cross" / "b0.mp4")
    np.testing.assert_array_equal(rows, found.values)
    assert axis == found.axis
    again = model.evaluate(folder / "again")
    assert again["kendalls_tau"] == pytest.approx(result["kendalls_tau"])
    assert encoder


def test_features_are_computed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = settings_of(folder).data
    first = videos.VideoSource(data)

    def refuse(*_: Any) -> np.ndarray:
        raise AssertionError

    network = encoders.Encoder.__call__
    monkeypatch.setattr(
        encoders.Encoder, "__call__", lambda self, x: network(self, x) if len(x) < 2 else refuse()
    )
    second = videos.VideoSource(data)
    np.testing.assert_array_equal(first.train[0].features, second.train[0].features)


def test_phases_come_from_an_annotation_file(folder: Path) -> None:
    labels = folder / "labels.json"
    entries = {
        name: {
            "annotations": [
                {"label": "in", "segment": [0, 1.0]},
                {"label": "out", "segment": [1.0, 1.5]},
            ]
        }
        for name in ("a0", "a1", "b0", "b1")
    }
    labels.write_text(json.dumps({"database": entries}))
    source = videos.VideoSource(settings_of(folder, f"data.labels={labels}").data)
    phases = source.test[0].phases
    assert phases is not None
    assert phases.tolist() == [0] * 10 + [1] * 5 + [-1] * 3
    assert source.test[2].phases is None


def test_labels_longer_than_their_video_are_refused(folder: Path) -> None:
    labels = folder / "labels.json"
    labels.write_text('{"database": {"a0": {"annotations": [{"label": "x", "segment": [0, 99]}]}}}')
    with pytest.raises(KinoscopeError, match=r"labels reach to 99.00 s, the video to 2.00 s"):
        videos.VideoSource(settings_of(folder, f"data.labels={labels}").data)


def test_places_of_videos(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text("path,class\ntrain/cross/a0.mp4,walk\ntrain/cross/a1.mp4\n")
    assert list(videos.listed(str(table), "data.train").values()) == ["walk", ""]
    assert set(videos.listed(str(folder / "train"), "data.train").values()) == {"cross"}
    assert list(videos.listed([str(folder / "train/cross/a0.mp4")], "data.train").values()) == [""]
    for bad, told in (("", "which videos"), (str(folder / "nowhere"), "no such video")):
        with pytest.raises(KinoscopeError, match=told):
            videos.listed(bad, "data.train")


def test_a_folder_of_broken_videos_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    data = VideosData(train=str(tmp_path), cache=str(tmp_path / "cache"))
    with pytest.raises(KinoscopeError, match="not one video can be read"):
        videos.VideoSource(data)


def test_one_video_trains_and_the_check_says_what_it_lacks(tmp_path: Path) -> None:
    write_video(tmp_path / "train" / "a.mp4")
    settings = load_recipe(
        "representation/carl_videos",
        [f"data.train={tmp_path / 'train'}", f"data.cache={tmp_path / 'c'}", *SMALL],
    )
    told = check.check(settings)
    assert any("one training clip" in sentence for sentence in told["warnings"])
    assert any("no test clips" in sentence for sentence in told["warnings"])
    assert train_stages(stages(settings), tmp_path / "run", to_yaml(settings), resume=False, quiet=True) == {}


def test_the_other_view_is_of_the_same_moment() -> None:
    rows = [np.arange(40, dtype=np.float32)[:, None] * np.ones(9, np.float32) + 1000 * k for k in range(2)]
    clips = [Clip(str(k), x) for k, x in enumerate(rows)]
    standardise = type("Same", (), {"std": 1.0, "mean": 0.0, "__call__": lambda self, x: x})()
    views = TwoViews(clips, standardise, Sampler(8), PoseAugment(0, 0, 0, 0), synchronous=True)  # type: ignore[arg-type]
    draws = [views.draw(0, np.random.default_rng(seed)) for seed in range(12)]
    assert {round(float(views[1].min()) // 1000) for views, *_ in draws} == {0, 1}
    batch = batch_views(draws)
    assert batch.clips.shape == (12, 2, 8, 9)


def test_standardising_a_clip_takes_a_camera_away_and_ignores_padding() -> None:
    x = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(standardised(5 + 3 * x, None), standardised(x, None), atol=1e-2, rtol=1e-2)
    padded = torch.cat([x, torch.full((1, 2, 3), 99.0)], 1)
    mask = torch.tensor([[1.0] * 6 + [0.0] * 2])
    torch.testing.assert_close(standardised(padded, mask)[:, :6], standardised(x, None))


def test_error_in_frames_between_synchronous_clips() -> None:
    line = np.arange(20, dtype=float)[:, None]
    shifted = line + 2
    assert errors([line, shifted], [line, shifted], [0, 0], [-1, -1]).max() == 2
    part = middle(20)
    assert errors([line[part], line[part]], [line, line], [part.start] * 2, [0, 0]).max() == 0
    assert not len(errors([line, line], [line, line], [0, 0], [0, 1]))
