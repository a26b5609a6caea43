"""The videos of a report in a browser: a click seeks to the frame of the event, the playing position moves."""

from __future__ import annotations

import io
import json
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import video_corpus as corpus
from report.browser import browser, needs_browser

from kinoscope.cli import main
from kinoscope.media.annotate import colour
from kinoscope.media.video import probe
from kinoscope.report import write

N = 60
VARIABLE = np.cumsum(np.random.default_rng(0).choice([1, 1, 2, 5], N)) / 30
# What browsers play as it is, and what needs a copy: its container, its codec, its clock.
CASES: dict[str, tuple[str, np.ndarray, dict[str, Any]]] = {
    "b frames.mp4": ("libx264", np.arange(N) / 30, {"options": {"bf": "3", "g": "20"}}),
    "variable.mp4": ("libx264", VARIABLE, {}),
    "late.mp4": ("libx264", np.arange(N) / 30 + 0.3, {}),
    "web.webm": ("libvpx-vp9", np.arange(N) / 30, {"options": {"cpu-used": "8", "deadline": "realtime"}}),
    "old.avi": ("mpeg4", np.arange(N) / 25, {"rate": Fraction(25), "time_base": Fraction(1, 25)}),
    "late.mkv": ("libx264", np.arange(N) / 30 + 7.5, {}),
}
LOADED = "const [v, done] = arguments; v.readyState > 1 ? done() : v.addEventListener('loadeddata', done)"
ARRIVED = "return arguments[0].currentTime > 0.5 && !arguments[0].seeking"
BARE = """const v = arguments[0]; v.controls = false; v.style.width = "640px"; v.style.height = "192px";
v.scrollIntoView({block: "center"})"""  # nothing lies over the picture
EVENT = 40  # the frame at which the event of each video starts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    captions, truth, videos = {}, {}, {}
    for name, (codec, times, options) in CASES.items():
        path = corpus.write_clock(tmp_path / name, codec, times, **options)
        start = float(times[EVENT] - times[0])
        captions[name] = [[0.0, 0.2, "first", 0.2], [start, start + 0.3, "jump <b>", 0.9]]
        truth[name] = {"duration_s": None, "events": [[start - 0.1, start + 0.3, "jump <b>"]]}
        videos[name] = str(path)
    overlay = {"width": 160, "height": 48, "boxes": [[0, 99, 10, 34, 30, 10]]}
    files = {
        "captions.json": captions,
        "annotations.json": {"videos": truth},
        "videos.json": {**videos, "gone": str(tmp_path / "gone.mp4")},
        "overlays.json": {"web.webm": overlay},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def test_page_stands_beside_what_it_plays(run: Path) -> None:
    text = write(run).read_text()
    assert text.count("<video") == len(CASES)
    assert "there is no such video" in text
    assert "jump &lt;b&gt;" in text
    played = sorted(path.name for path in (run / "videos").iterdir())
    assert played == [
        "b frames.mp4.mp4",
        "late.mkv.mp4",
        "late.mp4.mp4",
        "old.avi.mp4",
        "variable.mp4.mp4",
        "web.webm.webm",
    ]
    assert all(probe(path).start_s == 0 for path in (run / "videos").iterdir())
    assert "://" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


@needs_browser
def test_a_click_on_an_event_shows_its_first_frame(run: Path, tmp_path: Path) -> None:
    from PIL import Image

    page = write(run)
    with browser(tmp_path / "profile") as driver:
        driver.set_script_timeout(20)
        driver.get(page.as_uri())
        players = driver.find_elements("css selector", ".player")
        assert len(players) == len(CASES)
        for player, (name, (_, times, _)) in zip(players, CASES.items(), strict=True):
            video = player.find_element("css selector", "video")
            driver.execute_async_script(LOADED, video)
            event = player.find_elements("css selector", ".event.found")[-1]
            driver.execute_script(BARE, video)
            event.click()
            wait_for(lambda video=video: driver.execute_script(ARRIVED, video))
            time.sleep(0.2)
            now = driver.execute_script("return arguments[0].currentTime", video)
            assert now == pytest.approx(times[EVENT] - times[0], abs=0.01), name
            shot = Image.open(io.BytesIO(video.screenshot_as_png)).convert("RGB").resize((160, 48))
            assert corpus.number_in(np.asarray(shot)) == EVENT, name
            line = player.find_element("css selector", ".now")
            assert float(line.get_attribute("x1")) == pytest.approx(float(event.get_attribute("x")), abs=2)
            assert player.find_element("css selector", ".holding").text == "jump <b>"
        first = players[0].find_element("css selector", "video")
        driver.execute_script("arguments[0].currentTime = 0; arguments[0].play()", first)
        wait_for(lambda: driver.execute_script("return arguments[0].currentTime > 0.3", first))
        line = players[0].find_element("css selector", ".now")
        assert float(line.get_attribute("x1")) > 62


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "nothing happened in the browser"
        time.sleep(0.05)


def test_videos_of_a_run_are_found_by_name(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "videos.json").unlink()
    (run / "captions.json").unlink()
    events = {"variable": [[0.1, 0.5, 0, 0.75]], "absent": []}
    (run / "predictions.json").write_text(json.dumps({"label_names": ["dive"], "events": events}))
    assert main(["report", str(run), "--videos", str(tmp_path / "variable.mp4")]) == 0
    text = (run / "report.html").read_text()
    assert 'data-label="dive" data-score="0.75"' in text
    assert main(["report", str(run), "--videos", str(tmp_path / "old.avi")]) == 1
    assert "none of these videos is in the run" in capsys.readouterr().err


def test_a_label_has_one_colour() -> None:
    assert colour("jump") == colour("jump") != colour("walk")
