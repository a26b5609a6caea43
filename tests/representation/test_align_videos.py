"""Videos in step: the grid, the sheet, the page, and what bad input is told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from kinoscope.errors import KinoscopeError
from kinoscope.media.video import VideoReader, probe
from kinoscope.representation.align_videos import align_videos, tiled
from kinoscope.timeline import TimeAxis


def write(path: Path, levels: list[int], size: tuple[int, int] = (48, 64)) -> Path:
    """Plain grey frames, each of its own level."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for level in levels:
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), level, np.uint8), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def brightness(path: Path) -> tuple[np.ndarray, TimeAxis]:
    """An angle that grows with the brightness of a frame: embeddings without a network."""
    with VideoReader(path) as video:
        angle = np.array([picture.image.mean() / 200 for picture in video.all()])
    return np.stack([np.cos(angle), np.sin(angle)], 1), TimeAxis(10, 1, 1)


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    slow, fast, other = list(range(20, 220, 10)), list(range(20, 220, 20)), list(range(10, 210, 10))
    sizes = ((48, 64), (64, 48), (48, 64))
    return [
        write(tmp_path / f"{name}.mp4", levels, size)
        for name, levels, size in zip("abc", (slow, fast, other), sizes, strict=True)
    ]


@pytest.mark.parametrize("warp", [True, False])
def test_a_video_of_twice_the_speed_is_brought_into_step(
    three: list[Path], tmp_path: Path, warp: bool
) -> None:
    result = align_videos(three[:2], brightness, tmp_path / "out", warp)
    assert result["kendalls_tau"] > 0.9
    assert set(result["kendalls_tau_of_pairs"]) == {"a.mp4 -> b.mp4", "b.mp4 -> a.mp4"}
    told = json.loads((tmp_path / "out" / "alignment.json").read_text())
    (matched,) = told["matches_s"].values()
    assert np.abs(2 * np.array(matched) - np.array(told["reference_s"])).max() <= 0.2
    info = probe(tmp_path / "out" / "aligned.mp4")
    assert info.fps == pytest.approx(10)
    with VideoReader(tmp_path / "out" / "aligned.mp4") as video:
        assert sum(1 for _ in video.all()) == 20


def test_many_videos_make_a_grid_a_sheet_and_a_page(three: list[Path], tmp_path: Path) -> None:
    result = align_videos(three, brightness, tmp_path)
    assert len(result["kendalls_tau_of_pairs"]) == 6
    assert probe(tmp_path / "aligned.mp4").width > 3 * 240
    with Image.open(tmp_path / "retrieval.png") as sheet:
        assert sheet.height >= 8 * 96
    text = (tmp_path / "report.html").read_text()
    found = re.search(r'id="data">(.*?)</script>', text, re.S)
    assert found is not None
    data = json.loads(found[1])
    assert [len(video["pictures"]) for video in data["videos"]] == [20, 10, 20]
    assert np.array(data["pairs"][0]["values"]).shape == (20, 10)
    assert np.array(data["pairs"][0]["path"]).shape == (20,)
    assert "http://" not in text
    assert "https://" not in text


def test_one_video_or_one_frame_is_refused(three: list[Path], tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match="two videos are needed"):
        align_videos(three[:1], brightness, tmp_path)
    with pytest.raises(KinoscopeError, match="one frame"):
        align_videos([three[0], write(tmp_path / "one.mp4", [30])], brightness, tmp_path)


def test_tiles_have_even_sides_and_keep_their_pictures() -> None:
    images = [Image.new("RGB", (width, 5), (width, 0, 0)) for width in (3, 6, 4)]
    out = tiled(images, 2, gap=1)
    assert out.shape == (12, 14, 3)
    assert (out[..., 0] == 6).sum() == 30
