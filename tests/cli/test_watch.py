"""Watching: what is written is never taken back, does not depend on how the video came, and is soon there."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media import video_corpus as corpus

from kinoscope import Events
from kinoscope.cli import main
from kinoscope.errors import KinoscopeError
from kinoscope.from_video import VideoModel
from kinoscope.media import live
from kinoscope.media.live import LiveDecoder
from kinoscope.media.store import FeatureStore
from kinoscope.media.video import VideoReader
from kinoscope.watch import Decider, Pace, watch

PACE = Pace(hop_s=0.5, delay_s=1.0, lookback_s=6.0)
LENGTH_S = 20
TRUTH = [(1.0, 2.5), (4.0, 4.8), (9.0, 12.0), (14.0, 14.5), (18.5, 19.9)]


class Bright:
    """Stands for a localizer of features: an event is where the first channel is high."""

    about: dict[str, Any]

    def __init__(self, identity: dict[str, Any]) -> None:
        self.about = {"encoders": [identity]}
        self.longest = 0

    def predict(self, path: Path, everything: bool = False) -> Events:
        store = FeatureStore(path)
        high = np.asarray(store.features("live")[:, 0]) > 0
        self.longest = max(self.longest, len(high))
        edges = np.flatnonzero(np.diff(np.concatenate([[0], high.astype(int), [0]])))
        return Events.of(
            "live",
            edges.reshape(-1, 2) / store.axis("live").fps,
            np.zeros(len(edges) // 2, int),
            None,
            ("on",),
        )


@pytest.fixture(scope="module")
def model() -> VideoModel:
    from torch import nn

    from kinoscope.encoders import Encoder, Preparation, Sampling

    class Means(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.flatten(2).mean(2)

    encoder = Encoder("toy", Means(), Preparation(32, (32, 32), (0.5,) * 3, (0.25,) * 3), weights="none")
    sampling = Sampling(fps=10)
    made = VideoModel(Bright({**encoder.identity, "sampling": sampling.model_dump(mode="json")}))
    made._encoder = (encoder, sampling)
    return made


@pytest.fixture(scope="module")
def blinking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that is bright where TRUTH says."""
    import av

    path = tmp_path_factory.mktemp("watch") / "blinking.ts"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10, options={"preset": "ultrafast", "g": "10"})
        stream.width = stream.height = 32
        for k in range(LENGTH_S * 10):
            on = any(start <= k / 10 + 0.01 < end for start, end in TRUTH)
            image = np.full((32, 32, 3), 220 if on else 20, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def told(source: str, model: VideoModel, idle_s: float = 0.3) -> tuple[list[dict[str, Any]], Any]:
    lines: list[dict[str, Any]] = []
    return lines, watch(source, model, lines.append, pace=PACE, idle_s=idle_s)


def test_every_event_is_told_once_and_soon(blinking: Path, model: VideoModel) -> None:
    lines, measured = told(str(blinking), model)
    spans = np.array([(line["start_s"], line["end_s"]) for line in lines])
    np.testing.assert_allclose(spans, TRUTH, atol=0.11)
    assert all(line["decided_at_s"] - line["end_s"] <= PACE.delay_s + PACE.hop_s + 0.11 for line in lines)
    assert measured.to_dict()["latency_max_s"] <= PACE.delay_s + PACE.hop_s + 0.11
    assert model.longest <= PACE.lookback_s * 10  # memory is bounded


def test_a_growing_file_is_told_like_a_finished_one(
    blinking: Path, model: VideoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "POLL_S", 0.01)
    grown, data = tmp_path / "grown.ts", blinking.read_bytes()
    when: list[tuple[float, int]] = []

    def grow() -> None:
        with open(grown, "wb") as file:
            for k in range(0, len(data), len(data) // 40):
                file.write(data[k : k + len(data) // 40])
                file.flush()
                when.append((time.monotonic(), k))
                time.sleep(0.02)

    thread = threading.Thread(target=grow)
    thread.start()
    first: list[float] = []
    lines: list[dict[str, Any]] = []

    def write(line: dict[str, Any]) -> None:
        first.append(time.monotonic())
        lines.append(line)

    watch(str(grown), model, write, pace=PACE, idle_s=1.0)
    thread.join()
    assert lines == told(str(blinking), model)[0]
    assert first[0] < when[-1][0]  # before the file was finished


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(2, 50)), max_size=12), st.integers(0, 5))
def test_wavering_looks_tell_an_event_once(spans: list[tuple[int, int]], seed: int) -> None:
    """Whatever each look says of an event's bounds (here: up to 0.05 s off), it is told once and in time."""
    random, decider, lines = np.random.default_rng(seed), Decider(PACE), []
    apart: list[tuple[float, float]] = []
    for start, length in ((a / 10, b / 10) for a, b in sorted(spans)):
        if not apart or start > apart[-1][1] + 0.5:
            apart.append((start, start + length))
    for now in np.arange(0.5, 62, 0.5):
        seen = [(a, b) for a, b in apart if a < now and b > now - PACE.lookback_s]
        bounds = np.array([(a, min(b, now)) for a, b in seen]).reshape(-1, 2)
        bounds += random.uniform(-0.05, 0.05, bounds.shape)
        bounds[:, 1] = np.maximum(bounds[:, 1], bounds[:, 0])
        events = Events.of("live", bounds, np.zeros(len(bounds), int), None, ("on",))
        lines += list(decider.decide(events, float(now)))
    assert [line["start_s"] for line in lines] == pytest.approx([a for a, _ in apart], abs=0.06)
    for line, (_, end) in zip(lines, apart, strict=True):
        assert line["decided_at_s"] <= end + PACE.delay_s + PACE.hop_s + 0.06


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "libx264"), ("a.ts", "libx264"), ("a.webm", "libvpx-vp9")]
)
def test_a_live_decoder_shows_what_a_file_shows(tmp_path: Path, name: str, codec: str) -> None:
    times = np.arange(30) / 30
    path = corpus.write_clock(
        tmp_path / name, codec, times, options={"deadline": "realtime"} if "vp9" in codec else {}
    )
    with VideoReader(LiveDecoder(str(path), idle_s=0.1)) as video:
        assert [corpus.number_in(picture.image) for picture in video.grid(30)] == list(range(30))


def test_a_finished_mp4_is_told_like_a_growing_file(
    blinking: Path, model: VideoModel, tmp_path: Path
) -> None:
    """Its index lies at the end, so it cannot be read from the front."""
    import av

    path = tmp_path / "finished.mp4"
    with av.open(str(blinking)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert told(str(path), model, 0.1)[0] == told(str(blinking), model)[0]


def test_what_cannot_be_watched_is_said(
    tmp_path: Path, model: VideoModel, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KinoscopeError, match="no such video"):
        LiveDecoder(str(tmp_path / "absent.mkv"), idle_s=0.0)
    (tmp_path / "text.mkv").write_text("nothing")
    with pytest.raises(KinoscopeError, match="while it is made"):
        LiveDecoder(str(tmp_path / "text.mkv"), idle_s=0.0)
    with pytest.raises(KinoscopeError, match="further back"):
        Pace(1.0, 5.0, 6.0)
    assert main(["watch", "x.mkv", str(tmp_path / "nothing")]) == 1
    assert "no such file or folder" in capsys.readouterr().err
