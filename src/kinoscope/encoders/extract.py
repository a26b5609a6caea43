"""From a video file to rows of features: decoded once, in a thread of its own, while the network computes.

Image networks see every frame once; a step is the mean of its window. Video networks see the window. Memory holds a
window and a few batches, whatever the length of the video.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator

import numpy as np

from kinoscope.encoders.encoder import Encoder
from kinoscope.encoders.sampling import Sampling, slide
from kinoscope.media.ahead import ahead, batched
from kinoscope.media.video import VideoReader

IMAGE_BATCH, CLIP_BATCH = 16, 2


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
