"""From a video file to rows of features: decoded once, in a thread of its own, while the network computes.

Image networks see every frame once; a step is the mean of its window. Video networks see the window. Memory holds a
window and a few batches, whatever the length of the video.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

import numpy as np

from kinoscope.encoders.encoder import Encoder
from kinoscope.encoders.sampling import Sampling, slide
from kinoscope.media.video import VideoReader

T = TypeVar("T")
IMAGE_BATCH, CLIP_BATCH = 16, 2
AHEAD = 2  # batches that the decoder may be in front of the network


def features_of(
    video: VideoReader, encoder: Encoder, sampling: Sampling, batch: int | None = None
) -> Generator[np.ndarray]:
    """Blocks (T_i, C) of the features of a video, in order.

    video: opened with `encoder.preparation.reader_options()`. batch: pictures or clips at once.
    """
    size = batch or (CLIP_BATCH if encoder.clips else IMAGE_BATCH)
    window, stride = sampling.window, min(sampling.stride, sampling.window)
    pictures = (
        picture.image
        for k, picture in enumerate(video.grid(sampling.fps or video.info.fps))
        if k % sampling.stride < sampling.window  # frames between windows are not looked at
    )
    if encoder.clips:
        clips = (np.stack(clip) for clip in slide(pictures, window, stride))
        for group in ahead(batched(clips, size)):
            yield encoder(np.stack(group))
        return
    blocks = (encoder(np.stack(group)[:, None]) for group in ahead(batched(pictures, size)))
    if window == stride == 1:
        yield from blocks
        return
    rows = itertools.chain.from_iterable(blocks)
    for steps in batched((np.mean(rows_of, axis=0) for rows_of in slide(rows, window, stride)), size):
        yield np.stack(steps)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter.

    >>> list(batched("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while group := list(itertools.islice(iterator, size)):
        yield group


def ahead(items: Iterable[T], depth: int = AHEAD) -> Iterator[T]:
    """The same items, made in a thread that is up to `depth` items in front; its errors are raised here."""
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(kind: str, value: T | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:  # whatever it is, it belongs to the consumer
            put("error", error)

    thread = threading.Thread(target=produce, name="decode ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if isinstance(value, BaseException):
                raise value
            yield value  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
