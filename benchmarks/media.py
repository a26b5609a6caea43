"""Speed of video reading and feature extraction, each beside a plain PyAV loop over the same file.

decode_dense: every picture of a 60 s video (h264, 640 x 360, 30 fps) as RGB. decode_sparse_16: 16 pictures spread over
it. extract_lite0: EfficientNet-Lite0 features of every frame of a real clip (47 frames, 640 x 480), decoding included;
beside it the bare network over the same pictures in memory, already normalised. pose: skeletons of the same clip as
`kinoscope pose` takes them, decoding and the file's arrays included; beside it mediapipe's own graph in a plain loop;
both set it up anew, and are left out where mediapipe is not installed. `..._plain_pyav` are the plain loops. The speed
of the network does not depend on its weights, so these are random and no package is needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import av
import numpy as np
import torch

from benchmarks.harness import Work, main
from kinoscope import builtin
from kinoscope.encoders import Encoder, Sampling, lite0
from kinoscope.encoders.extract import features_of
from kinoscope.media import blazepose
from kinoscope.media.pose import pose_file
from kinoscope.media.video import VideoReader, read_frames

SECONDS, FPS = 60, 30
BATCH = 16


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="kinoscope-benchmark-")


@cache
def long_video() -> Path:
    """A built-in clip forwards and backwards until it is 60 s long."""
    path = Path(_folder().name) / "long.mp4"
    with VideoReader(builtin.path("sports2d_small")) as video:
        images = [picture.image for picture in video.all()]
    turns = images + images[::-1]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "g": "60"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for k in range(SECONDS * FPS):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(turns[k % len(turns)], format="rgb24")))
        container.mux(stream.encode(None))
    return path


def plain(path: Path) -> Iterator[np.ndarray]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            yield frame.to_ndarray(format="rgb24")


def decode_dense() -> Work:
    path = long_video()

    def work() -> int:
        with VideoReader(path) as video:
            return sum(1 for _ in video.grid(FPS))

    return work


def decode_dense_plain_pyav() -> Work:
    path = long_video()
    return lambda: sum(1 for _ in plain(path))


def _sparse_times() -> np.ndarray:
    return (np.arange(16) + 0.5) * SECONDS / 16


def decode_sparse_16() -> Work:
    path = long_video()
    return lambda: read_frames(path, _sparse_times())


def decode_sparse_16_plain_pyav() -> Work:
    """A seek before every time, then decoding up to it, as most loaders do."""
    path = long_video()

    def work() -> list[np.ndarray]:
        images = []
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for time in _sparse_times():
                container.seek(int(time / stream.time_base), stream=stream)
                for frame in container.decode(stream):
                    if frame.time + 1 / FPS > time:
                        images.append(frame.to_ndarray(format="rgb24"))
                        break
        return images

    return work


def network() -> torch.nn.Module:
    """A new one each time: an encoder changes the memory layout of its own."""
    import timm

    return timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()


def clip() -> Path:
    return builtin.path("asl") / "eat.mkv"


def extract_lite0() -> Work:
    encoder = Encoder("lite0", network(), lite0.PREPARATION, weights="random, for timing only")

    def work() -> int:
        with VideoReader(clip(), **encoder.preparation.reader_options()) as video:
            return sum(len(block) for block in features_of(video, encoder, Sampling(), BATCH))

    return work


def extract_lite0_plain_pyav() -> Work:
    """Decode, scale, normalise and run the network in turn."""
    model = network()

    def work() -> None:
        images = []
        with av.open(str(clip())) as container:
            for frame in container.decode(video=0):
                rgb = frame.reformat(width=341, height=256, format="rgb24").to_ndarray()
                images.append(rgb[16:240, 58:282])
        for k in range(0, len(images), BATCH):
            batch = np.stack(images[k : k + BATCH]).transpose(0, 3, 1, 2).astype(np.float32)
            with torch.inference_mode():
                model(torch.from_numpy((batch - 127) / 128))

    return work


def extract_lite0_bare_network() -> Work:
    model, batches = network(), torch.randn(47, 3, 224, 224).split(BATCH)

    def work() -> None:
        with torch.inference_mode():
            for batch in batches:
                model(batch)

    return work


def pose() -> Work:
    return lambda: pose_file({"clip": clip()})


def pose_plain_pyav() -> Work:
    """Decode and track in turn, with the times that mediapipe's own loop assumes: 30 frames a second."""

    def work() -> None:
        tracker = blazepose.Tracker()
        for number, image in enumerate(plain(clip()), 1):
            tracker(image, number / 30)
        tracker.close()

    return work


OPERATIONS = {
    "decode_dense": decode_dense,
    "decode_dense_plain_pyav": decode_dense_plain_pyav,
    "decode_sparse_16": decode_sparse_16,
    "decode_sparse_16_plain_pyav": decode_sparse_16_plain_pyav,
    "extract_lite0": extract_lite0,
    "extract_lite0_plain_pyav": extract_lite0_plain_pyav,
    "extract_lite0_bare_network": extract_lite0_bare_network,
}
if blazepose.installed():
    OPERATIONS |= {"pose": pose, "pose_plain_pyav": pose_plain_pyav}

if __name__ == "__main__":
    main(OPERATIONS, __doc__)
