"""What is drawn on the pictures of a player, as plain values in pixels of the upright video.

{"width", "height"} and one of {"fps", "points": a flat [x, y, x, y, ...] or null a frame, "links": [[joint, joint]]}
for a moving skeleton, {"boxes": [[from_s, to_s, x, y, w, h]]} for where a model looked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kinoscope.media.video import VideoInfo


def skeleton(pixels: np.ndarray, parents: Sequence[int], fps: float, info: VideoInfo) -> dict[str, Any]:
    """A skeleton that moves; pixels (T, V, 2), NaN where nobody was found."""
    points = [
        [round(value) for value in frame.reshape(-1).tolist()] if np.isfinite(frame).all() else None
        for frame in pixels
    ]
    links = [[joint, parent] for joint, parent in enumerate(parents) if parent >= 0]
    return {"width": info.width, "height": info.height, "fps": fps, "points": points, "links": links}


def windows(
    order: Sequence[int],
    corners: Sequence[Sequence[int]],
    size: int,
    side: int,
    resized: int,
    info: VideoInfo,
) -> dict[str, Any]:
    """The windows of a model that looks at one in each of K equal parts of a video.

    order: part of each window; corners: (x, y) of each in the middle cut-out of size x size pixels, from the picture
    whose shorter side was scaled to `resized`; side: of the windows, in the same pixels.
    """
    scale = min(info.width, info.height) / resized
    left, top = (info.width - size * scale) / 2, (info.height - size * scale) / 2
    length = (info.duration_s or 0.0) / max(len(order), 1)
    boxes = []
    for part, (x, y) in zip(order, corners, strict=True):
        place = [round(left + x * scale), round(top + y * scale)]
        boxes.append([part * length, (part + 1) * length, *place, *[round(side * scale)] * 2])
    return {"width": info.width, "height": info.height, "boxes": boxes}
