"""Reading by time: a burned-in clock is read back from every kind of file."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media import video_corpus as corpus

from kinoscope import builtin
from kinoscope.errors import KinoscopeError
from kinoscope.media.video import VideoReader, probe, read_frames
from kinoscope.media.video_decoder import Decoder

N = 60
NTSC_FILM, NTSC_FAST = Fraction(24000, 1001), Fraction(60000, 1001)
HOLDS = np.random.default_rng(0).choice([1, 1, 1, 2, 5], N)
VARIABLE = (np.cumsum(HOLDS) - HOLDS[0]) / 30
B_FRAMES = {"bf": "3", "g": "20"}


def at_rate(fps: float | Fraction) -> np.ndarray:
    return np.arange(N) / float(fps)


# name -> codec, times, options of the writer
CASES: dict[str, tuple[str, np.ndarray, dict[str, Any]]] = {
    "plain.mp4": ("libx264", at_rate(30), {"options": B_FRAMES}),
    "film.mp4": ("libx264", at_rate(NTSC_FILM), {"rate": NTSC_FILM}),
    "fast.mkv": ("libx264", at_rate(NTSC_FAST), {"rate": NTSC_FAST}),
    "variable.mp4": ("libx264", VARIABLE, {"options": B_FRAMES}),
    "variable.mkv": ("libx264", VARIABLE, {}),
    "broadcast.ts": ("libx264", at_rate(30), {"options": B_FRAMES}),
    "old.avi": ("mpeg4", at_rate(30), {"time_base": Fraction(1, 30)}),
    "old_b.avi": ("mpeg4", at_rate(30), {"time_base": Fraction(1, 30), "options": {"bf": "2"}}),
    "mpeg4.mp4": ("mpeg4", at_rate(25), {"rate": Fraction(25), "time_base": Fraction(1, 25)}),
    "new.mp4": ("libsvtav1", at_rate(30), {"options": {"preset": "12"}}),
    "new.mkv": ("libsvtav1", at_rate(30), {"options": {"preset": "12"}}),
    "web.webm": ("libvpx-vp9", at_rate(30), {"options": {"cpu-used": "8", "deadline": "realtime"}}),
    "ten_bit.mp4": (
        "libx265",
        at_rate(30),
        {"pix_fmt": "yuv420p10le", "options": {"x265-params": "log-level=none"}},
    ),
    "animated.gif": (
        "gif",
        at_rate(10),
        {"rate": Fraction(10), "time_base": Fraction(1, 100), "pix_fmt": "rgb8"},
    ),
    "odd.mov": ("mjpeg", at_rate(30), {"pix_fmt": "yuvj420p", "width": 161, "height": 49}),
    "odd_lossless.mkv": ("ffv1", at_rate(30), {"pix_fmt": "yuv444p", "width": 161, "height": 49}),
    "one.mp4": ("libx264", at_rate(30)[:1], {}),
    "late.mkv": ("libx264", at_rate(30) + 7.5, {}),
    "wîth söund.mp4": ("libx264", at_rate(30), {"audio": True}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


def made(folder: Path, name: str) -> tuple[Path, np.ndarray]:
    """The file of a case and the times of its frames, from the first one."""
    codec, times, options = CASES[name]
    try:
        av.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this build of FFmpeg has no encoder {codec}")
    path = folder / name
    if not path.exists():
        corpus.write_clock(path, codec, times, **options)
    return path, times - times[0]


@pytest.mark.parametrize("name", CASES)
def test_clock_reads_back(folder: Path, name: str) -> None:
    path, times = made(folder, name)
    with VideoReader(path) as video:
        seen = [(corpus.number_in(p.image), p.time_s) for p in video.all()]
        end, problem = video.covered_s[1], video.problem
    assert [number for number, _ in seen] == list(range(len(times)))
    np.testing.assert_allclose([time for _, time in seen], times, atol=0.001)
    assert end > times[-1]
    assert problem is None


@pytest.mark.parametrize("name", CASES)
def test_any_time_shows_the_frame_of_that_time(folder: Path, name: str) -> None:
    path, times = made(folder, name)
    wanted = np.random.default_rng(1).uniform(0, times[-1], 40)
    frames = read_frames(path, wanted)
    fps = probe(path).fps
    for time, image, begin in zip(wanted, frames.images, frames.times_s, strict=True):
        number = corpus.number_in(image)
        assert begin == pytest.approx(times[number], abs=0.001)
        follower = times[number + 1] if number + 1 < len(times) else np.inf
        assert times[number] - 0.5 / fps - 0.001 <= time <= follower + 0.001
    assert not frames.missing.any()


@pytest.mark.parametrize("name", ["film.mp4", "fast.mkv", "plain.mp4", "web.webm", "old_b.avi"])
def test_k_over_fps_is_frame_k(folder: Path, name: str) -> None:
    path, times = made(folder, name)
    with VideoReader(path) as video:
        numbers = [corpus.number_in(picture.image) for picture in video.grid(video.info.fps)]
    assert numbers == list(range(len(times)))


@pytest.mark.parametrize("every", [2, 3, 5, 10, 30])
def test_a_lower_rate_takes_every_nth_frame(folder: Path, every: int) -> None:
    path, _ = made(folder, "plain.mp4")
    with VideoReader(path) as video:
        assert [corpus.number_in(p.image) for p in video.grid(30 / every)] == list(range(0, N, every))


def test_a_higher_rate_repeats_frames(folder: Path) -> None:
    path, _ = made(folder, "plain.mp4")
    with VideoReader(path) as video:
        numbers = [corpus.number_in(p.image) for p in video.grid(90)]
    assert len(numbers) == 3 * N
    assert set(numbers) == set(range(N))
    assert numbers == sorted(numbers)


def test_one_frame_is_one_picture_at_any_rate(folder: Path) -> None:
    path, _ = made(folder, "one.mp4")
    with VideoReader(path) as video:
        assert len(list(video.grid(1))) == 1


def test_edit_list_begins_where_a_player_begins(folder: Path) -> None:
    path = folder / "cut.mp4"
    corpus.write_clock(path, "libx264", at_rate(30) - 0.5)
    with VideoReader(path) as video:
        seen = [(corpus.number_in(p.image), p.time_s) for p in video.all()]
    assert [number for number, _ in seen] == list(range(15, N))
    np.testing.assert_allclose([time for _, time in seen], at_rate(30)[: N - 15], atol=0.001)


def test_phone_video_stands_upright(folder: Path) -> None:
    if not hasattr(av.VideoStream, "set_display_rotation"):
        pytest.skip("this version of PyAV cannot write a rotation")
    path = folder / "phone.mp4"
    corpus.write_clock(path, "libx264", at_rate(30), rotation=-90)
    info = probe(path)
    assert (info.width, info.height) == (corpus.HEIGHT, corpus.WIDTH)
    image = read_frames(path, [0.5]).images[0]
    assert image.shape == (corpus.WIDTH, corpus.HEIGHT, 3)
    assert corpus.number_in(np.rot90(image)) == 15  # it was turned clockwise: back anticlockwise


def test_pictures_equal_those_of_a_plain_loop() -> None:
    path = builtin.path("sports2d_small")
    with av.open(str(path)) as container:
        plain = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with VideoReader(path) as video:
        ours = [picture.image for picture in video.all()]
    assert len(ours) == len(plain) == 230
    assert all(np.array_equal(a, b) for a, b in zip(ours, plain, strict=True))
    sparse = read_frames(path, [7.0, 0.0, 3.5, 3.5])
    for image, number in zip(sparse.images, (210, 0, 105, 105), strict=True):
        np.testing.assert_array_equal(image, plain[number])


def test_sparse_times_are_sought(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "long.mp4"
    corpus.write_clock(path, "libx264", np.arange(600) / 30, options={"g": "15"})
    decoded = []
    original = Decoder.next
    monkeypatch.setattr(Decoder, "next", lambda self: decoded.append(1) or original(self))
    frames = read_frames(path, [1.0, 10.0, 19.0])
    assert [corpus.number_in(image) for image in frames.images] == [30, 300, 570]
    assert len(decoded) < 150
    seeks = []
    monkeypatch.setattr(Decoder, "seek", lambda self, seconds: seeks.append(seconds))
    read_frames(path, np.arange(0, 20, 0.2))
    assert not seeks


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-1, 8), min_size=1, max_size=12))
def test_order_and_company_change_nothing(folder: Path, times: list[float]) -> None:
    path, _ = made(folder, "variable.mp4")
    together = read_frames(path, times)
    for k, time in enumerate(times):
        alone = read_frames(path, [time])
        np.testing.assert_array_equal(together.images[k], alone.images[0])
        assert together.times_s[k] == alone.times_s[0]
        assert together.missing[k] == alone.missing[0]


MEMORY = """
import resource, sys
from kinoscope.media.video import VideoReader, probe
peaks = []
for path in sys.argv[1:]:
    with VideoReader(path) as video:
        count = sum(1 for _ in video.grid(30))
    for _ in range(50):
        probe(path)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(count, peaks[1] - peaks[0])
"""


def test_memory_does_not_grow_with_the_video(folder: Path) -> None:
    paths = [folder / "short.mp4", folder / "very_long.mp4"]
    for path, frames in zip(paths, (60, 3000), strict=True):
        corpus.write_clock(path, "libx264", np.arange(frames) / 30, options={"preset": "ultrafast"})
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    count, grown_mb = done.stdout.split()
    assert int(count) == 3000
    assert float(grown_mb) < 25  # all pictures together are 69 MB


def test_scaling(folder: Path) -> None:
    path, _ = made(folder, "plain.mp4")
    assert read_frames(path, [0.0], short_side=24).images.shape == (1, 24, 80, 3)
    assert read_frames(path, [0.0], size=(30, 40)).images.shape == (1, 30, 40, 3)
    with pytest.raises(KinoscopeError, match="short_side or size"):
        read_frames(path, [0.0], size=(30, 40), short_side=3)


def test_past_the_end_is_marked(folder: Path) -> None:
    path, times = made(folder, "plain.mp4")
    frames = read_frames(path, [99.0, 0.0])
    assert frames.missing.tolist() == [True, False]
    assert corpus.number_in(frames.images[0]) == len(times) - 1


@pytest.mark.parametrize("times", [[np.nan], [0.0, np.inf]])
def test_times_are_numbers(folder: Path, times: list[float]) -> None:
    with pytest.raises(KinoscopeError, match="finite"):
        read_frames(made(folder, "plain.mp4")[0], times)


def test_what_is_no_video_is_said(folder: Path) -> None:
    (folder / "text.mp4").write_text("this is no video")
    (folder / "empty.mp4").write_bytes(b"")
    with pytest.raises(KinoscopeError, match="no such video"):
        probe(folder / "nothing.mp4")
    for name in ("text.mp4", "empty.mp4"):
        with pytest.raises(KinoscopeError, match="can be read"):
            probe(folder / name)
    with pytest.raises(KinoscopeError, match=r"no video in this file.*audio"):
        probe(corpus.write_sound(folder / "sound.m4a"))


def test_truncated_files_give_what_they_have(folder: Path) -> None:
    whole, times = made(folder, "variable.mkv")
    cut = folder / "truncated.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with VideoReader(cut) as video:
        numbers = [corpus.number_in(picture.image) for picture in video.all()]
        end, problem = video.covered_s[1], video.problem
    assert numbers == sorted(set(numbers))
    assert 10 < len(numbers) < N
    assert end < times[-1]
    assert problem is not None
    cut = folder / "truncated.mp4"
    cut.write_bytes(made(folder, "plain.mp4")[0].read_bytes()[:2000])
    with pytest.raises(KinoscopeError):
        probe(cut)


FLIPPED = """
import os, resource, sys
from pathlib import Path
import numpy as np
from kinoscope.errors import KinoscopeError
from kinoscope.media.video import VideoReader, read_frames
folder, random, read, refused, partly = Path(sys.argv[1]), np.random.default_rng(5), 0, 0, 0
sources = [(Path(name), Path(name).read_bytes()) for name in sys.argv[2:]]
for k in range(1000):
    if k == 300:  # by then every decoder has been in use
        files, memory = len(os.listdir("/proc/self/fd")), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source, whole = sources[k % len(sources)]
    data = bytearray(whole)
    for place in random.integers(0, len(data), 1 + k % 12):
        data[place] ^= 1 << int(random.integers(8))
    path = folder / f"flipped{source.suffix}"
    path.write_bytes(data)
    try:
        with VideoReader(path) as video:
            pictures = sum(1 for _ in video.grid(10))
            assert 0 <= video.covered_s[1] < 1e6 and pictures < 1e5
            partly += video.problem is not None
        read_frames(path, [0.1, 0.3, 0.6])
        read += 1
    except KinoscopeError:
        refused += 1
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
print(read, refused, partly, grown, len(os.listdir("/proc/self/fd")) - files)
"""


@pytest.mark.slow
def test_flipped_files_end_without_crash_hang_or_leak(folder: Path) -> None:
    """A thousand files with one to twelve flipped bits: each ends in an error or in what could be read."""
    sources = []
    for name in ("plain.mp4", "variable.mkv", "broadcast.ts", "old_b.avi", "web.webm"):
        codec, times, options = CASES[name]
        sources.append(str(corpus.write_clock(folder / f"short_{name}", codec, times[:20], **options)))
    done = subprocess.run(
        [sys.executable, "-c", FLIPPED, str(folder), *sources], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    read, refused, partly, grown_mb, files = map(float, done.stdout.split())
    assert read + refused == 1000
    assert read >= 200
    assert partly >= 20
    assert grown_mb < 60
    assert files == 0


def test_metadata_in_any_encoding(folder: Path) -> None:
    path = folder / "titled.mkv"
    with av.open(str(path), "w", options={"cluster_time_limit": "1000"}) as container:
        container.metadata["title"] = "caffe latte"
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        container.mux(
            stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24"))
        )
        container.mux(stream.encode(None))
    data = path.read_bytes()
    assert b"caffe latte" in data
    path.write_bytes(data.replace(b"caffe latte", b"caff\xe9 \xffatte"))
    with pytest.raises(UnicodeDecodeError):
        av.open(str(path)).close()
    assert read_frames(path, [0.0]).images.shape == (1, 16, 16, 3)
