"""All stages on tiny videos, PPO included; resume; bad input."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from kinoscope.engine.folder import train_stages
from kinoscope.errors import KinoscopeError
from kinoscope.models import load
from kinoscope.recipe import published, to_yaml, validate
from kinoscope.recognition.data import Clips, open_source
from kinoscope.recognition.settings import RecognitionSettings
from kinoscope.recognition.stages import stages
from kinoscope.tasks import load_recipe


def write_video(file: Path, frames: int, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(seed)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(frames):
            pixels = draws.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for k, name in enumerate(("jump", "run")):
        for i in range(2):
            write_video(tmp_path / "videos" / name / f"{i}.avi", 1 if i else 5, 2 * k + i)
    return tmp_path / "videos"


TINY = {"num_segments": 2, "input_size": 64, "patch_size": 32, "glance_size": 64}
QUICK = {"epochs": 1, "batch_size": 2, "validate_every": 1, "checkpoint_every": 1}


def recipe(videos: Path, kind: str) -> RecognitionSettings:
    more = {"hidden_dim": 16, "hidden_state_dim": 16, "action_dim": 9} if kind == "adafocus" else {}
    more = {"stn_hidden_dim": 16, "classifier_dim": 16} if kind == "adafocus_v2" else more
    values = {
        "task": "recognition",
        "data": {"kind": "videos", "train": str(videos), "test": str(videos)},
        "model": {"kind": kind, **TINY, **more},
        "train": dict.fromkeys(
            ("prepare_global", "prepare_local", "stage1", "stage2", "stage3", "single"), QUICK
        ),
    }
    return validate(RecognitionSettings, values)


@pytest.mark.parametrize("kind", ["adafocus", "adafocus_v2"])
def test_every_stage_runs(videos: Path, tmp_path: Path, kind: str) -> None:
    settings = recipe(videos, kind)
    final = train_stages(stages(settings), tmp_path / "run", to_yaml(settings), resume=False, quiet=True)
    assert 0 <= final["top1"] <= 100
    model = load(tmp_path / "run", overrides=("conditional_exit=true",))
    again = model.evaluate(tmp_path / "evaluation")
    assert again["top1"] == final["top1"]
    assert again["mAP"] == pytest.approx(final["mAP"])
    curve = again["exit_curve"]
    total = again["gmacs"]["total"]
    assert all(total / 2 * 0.999 <= point["cost"] <= total * 1.001 for point in curve)
    seen = model.predict(videos / "run" / "0.avi")
    assert sum(c["score"] for c in seen["classes"]) == pytest.approx(1)
    assert len(seen["windows"]) == 2


def test_a_stage_without_its_predecessor_says_so(videos: Path, tmp_path: Path) -> None:
    settings = recipe(videos, "adafocus")
    with pytest.raises(KinoscopeError, match="goes on from stage1"):
        train_stages(
            stages(settings), tmp_path / "run", to_yaml(settings), resume=False, only="stage2", quiet=True
        )


def test_an_unreadable_video_costs_that_video(videos: Path) -> None:
    (videos / "jump" / "0.avi").write_bytes(b"no video")
    source = open_source(recipe(videos, "adafocus"))
    clips = Clips(source.train, 2, 64)
    with pytest.raises(KinoscopeError, match="cannot be read"):
        clips.exact(0)
    assert clips.exact(1).frames.shape == (2, 3, 64, 64)


def test_one_frame_videos_are_padded(videos: Path) -> None:
    clip = Clips(open_source(recipe(videos, "adafocus")).train, 4, 64).exact(1)
    assert all(torch.equal(clip.frames[0], frame) for frame in clip.frames)


@pytest.mark.parametrize("name", [n for n in published() if n.startswith("recognition/")])
def test_published_recipes_resolve(name: str) -> None:
    assert isinstance(load_recipe(name), RecognitionSettings)


def test_a_patch_larger_than_the_frame_is_refused() -> None:
    with pytest.raises(KinoscopeError, match="larger than the frame"):
        load_recipe("recognition/adafocus_activitynet_128", ("model.patch_size=256",))
