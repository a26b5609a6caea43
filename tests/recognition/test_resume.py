"""PPO that was stopped and resumed ends with the same weights as PPO in one go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kinoscope.engine.trainer import Trainer
from kinoscope.engine.weights import find_weights, load_weights, save_weights
from kinoscope.recipe import to_yaml, validate
from kinoscope.recognition.data import Clip
from kinoscope.recognition.settings import RecognitionSettings
from kinoscope.recognition.stages import PolicyStage, build


class Made:
    """Three noise clips."""

    def __len__(self) -> int:
        return 3

    def draw(self, index: int, generator: np.random.Generator) -> Clip:
        frames = torch.from_numpy(generator.standard_normal((2, 3, 64, 64)).astype(np.float32))
        return Clip(frames, (index,), str(index))


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in "abc":
        (tmp_path / "videos" / name).mkdir(parents=True)
        (tmp_path / "videos" / name / "0.mp4").touch()
    return tmp_path / "videos"


def test_stage2_resumes_to_the_same_weights(videos: Path, tmp_path: Path) -> None:
    model = {
        "kind": "adafocus",
        "num_segments": 2,
        "input_size": 64,
        "patch_size": 32,
        "glance_size": 64,
        "hidden_dim": 8,
    }
    model |= {"hidden_state_dim": 8, "action_dim": 9}

    def run(folder: Path, resume: bool, stop: float | None) -> dict[str, torch.Tensor]:
        train = {"epochs": 2, "batch_size": 3, "validate_every": 1, "checkpoint_every": 1}
        settings = validate(
            RecognitionSettings,
            {
                "data": {"kind": "videos", "train": str(videos)},
                "model": model,
                "train": {"stage2": {**train, "stop_after_epochs": stop}},
            },
        )
        if not resume:
            torch.manual_seed(0)
            save_weights(
                folder / "weights" / "stage1", build(settings, 3).state_dict(), to_yaml(settings), {}
            )
        stage = PolicyStage(settings, "stage2", settings.train.stage2)
        stage.samples = Made  # type: ignore[method-assign, assignment]
        stage.headline = None
        Trainer(stage, folder, to_yaml(settings), resume=resume, quiet=True).train()
        return load_weights(find_weights(folder / "weights" / "stage2")).state

    whole = run(tmp_path / "whole", False, None)
    half = run(tmp_path / "parts", False, 1)
    parts = run(tmp_path / "parts", True, None)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert not torch.equal(half["policy.actor.weight"], parts["policy.actor.weight"])
