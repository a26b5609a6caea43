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


def windows(found: Sequence[dict[str, Any]], parts: int, info: VideoInfo) -> dict[str, Any]:
    """The windows of a model that looks at one in some of `parts` equal parts of a video.

    found: {"frame": part, "box": [left, top, width, height] in pixels of the video} of every window.
    """
    length = (info.duration_s or 0.0) / max(parts, 1)
    boxes = [[w["frame"] * length, (w["frame"] + 1) * length, *w["box"]] for w in found]
    return {"width": info.width, "height": info.height, "boxes": boxes}
