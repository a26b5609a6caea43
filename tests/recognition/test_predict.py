"""Windows are told in pixels of the video, and drawn there; costs stand beside those of looking at everything."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from kinoscope.cli import main
from kinoscope.engine.folder import train_stages
from kinoscope.models import load
from kinoscope.recipe import to_yaml
from kinoscope.recognition.data import Clips
from kinoscope.recognition.predict import Placement
from kinoscope.recognition.stages import stages
from kinoscope.tasks import load_recipe

TINY = ("model.num_segments=4", "model.input_size=48", "model.patch_size=32", "model.glance_size=32")


def moving_square(file: Path, step: int, seed: int) -> None:
    """144 x 96 pixels; a bright square at row 60 crosses noise, to the right by `step` pixels a frame from x = 8."""
    file.parent.mkdir(parents=True, exist_ok=True)
    ground = np.random.default_rng(seed).integers(0, 90, (96, 144, 3), dtype=np.uint8)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 144, 96, "yuv420p", 2_000_000
        for t in range(12):
            pixels = ground.copy()
            pixels[60:84, 8 + step * t : 32 + step * t] = 240
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("predict")
    for name, step in (("slow", 3), ("quick", 9)):
        for seed in range(2):
            moving_square(root / "videos" / name / f"{seed}.avi", step, seed)
    where = (f"data.train={root / 'videos'}", f"data.test={root / 'videos'}")
    settings = load_recipe("recognition/adafocus_v2_folder", (*TINY, *where))
    train_stages(stages(settings), root / "run", to_yaml(settings), resume=False, quiet=True)
    return root


def test_windows_lie_on_what_moves(run: Path) -> None:
    answer = load(run / "run").predict(run / "videos" / "quick" / "0.avi")
    assert answer["gmacs"]["total"] < answer["gmacs_everything"]
    assert 1 <= answer["settled_at_step"] <= 4
    for window in answer["windows"]:
        left, top, width, height = window["box"]
        assert (width, height) == (64, 64)
        t = [1, 4, 7, 10][window["frame"]]  # the middle frame of each quarter
        assert top >= 20  # the square is in the lower half
        assert left - 8 <= 8 + 9 * t + 12 <= left + width + 8
        assert 0 <= left <= 144 - 64


def test_the_report_draws_the_windows(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = run / "videos" / "slow" / "1.avi"
    assert main(["predict", str(run / "run"), str(video), "--report", str(run / "page"), "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert len(out["predictions"][0]["windows"]) == 4
    (overlay,) = json.loads((run / "page" / "overlays.json").read_text(encoding="utf-8")).values()
    assert (overlay["width"], overlay["height"]) == (144, 96)
    starts = sorted(box[0] for box in overlay["boxes"])
    assert starts == pytest.approx([0, 0.3, 0.6, 0.9], abs=0.05)


def test_a_cut_out_lies_in_the_middle_of_the_picture() -> None:
    place = Placement.of((512, 256), Clips([], 1, 224))  # scaled 1:1, 144 pixels are cut away on either side
    assert place.box((10, 20), (96, 96)) == [144 + 20, 16 + 10, 96, 96]
