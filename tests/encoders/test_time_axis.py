"""The time axis, end to end: a clock burned into a video is read back from its features, at the time they claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from media import video_corpus as corpus
from media.test_video import CASES, made
from torch import nn

from kinoscope.encoders import Encoder, Preparation, Sampling
from kinoscope.encoders.extract import features_of
from kinoscope.media.video import VideoReader

PREPARATION = Preparation(
    (corpus.HEIGHT, corpus.WIDTH), (corpus.HEIGHT, corpus.WIDTH), (0.5,) * 3, (0.5,) * 3
)


class FirstAndLast(nn.Module):
    """Of a clip (B, 3, T, H, W) the brightness of every block of the clock, in its first and in its last frame."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x[:, 0, [0, -1], 8:24].mean(2)  # (B, 2, W)
        return rows.unfold(2, corpus.BLOCK, corpus.BLOCK)[..., 5:-5].mean(3)


def number(blocks: np.ndarray) -> int:
    return sum(1 << bit for bit, value in enumerate(blocks) if value > 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("axis")


@pytest.mark.parametrize("fps", [None, 15.0])
@pytest.mark.parametrize("name", CASES)
def test_steps_lie_where_the_axis_says(folder: Path, name: str, fps: float | None) -> None:
    """The frames that a step saw begin and end within half a stride of where the axis puts the step."""
    path, times = made(folder, name)
    encoder = Encoder("clock", FirstAndLast(), PREPARATION, weights="none", clips=True, window=4)
    sampling = Sampling(window=4, stride=4, fps=fps)
    with VideoReader(path, **PREPARATION.reader_options()) as video:
        axis = sampling.axis(video.info.fps)
        steps = np.concatenate(list(features_of(video, encoder, sampling)))
        end = video.covered_s[1]
    half = 0.5 * axis.stride_frames / axis.fps
    ends = [*times[1:], end]
    assert len(steps) >= 1
    for step, blocks in enumerate(steps.reshape(len(steps), 2, -1)):
        first, last = (number(row) for row in blocks)
        middle = float(axis.seconds(step))
        if len(times) == 1:
            assert (first, last) == (0, 0)
            continue
        assert (
            times[first] - 0.026 <= middle - half < ends[first] + 0.001
        )  # on the screen when the step begins
        assert abs(0.5 * (times[first] + ends[last]) - middle) <= half + 0.5 * max(
            ends[first] - times[first], ends[last] - times[last]
        )
