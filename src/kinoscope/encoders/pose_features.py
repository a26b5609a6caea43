"""`pose`: what a body does as features: aligned joints, their velocities and the body's (`media.pose_features`).

201 channels a frame, from mediapipe's BlazePose (extra `pose`). A step is the mean of its window.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.encoders.sampling import Sampling, slide
from kinoscope.encoders.whole import Rows
from kinoscope.errors import KinoscopeError

NAME = "pose"


class PoseEncoder:
    """Raises KinoscopeError where mediapipe is not installed."""

    name, channels = NAME, 6 * 33 + 3

    def __init__(self) -> None:
        from kinoscope.media import blazepose

        if not blazepose.installed():
            blazepose.Tracker()  # tells what is missing

    @property
    def identity(self) -> dict[str, Any]:
        return {"name": NAME, "weights": "mediapipe:0.10.14:pose_landmark_full"}

    def of_video(self, path: Path, sampling: Sampling) -> Rows:
        """The features of one video; its poses are taken in a process of its own."""
        from kinoscope.media.pose import Poses, as_file, in_own_process
        from kinoscope.media.pose_features import file_features

        poses = in_own_process(path, sampling.fps)
        if not isinstance(poses, Poses):
            raise poses
        if not poses.found:
            raise KinoscopeError("nobody is found in this video", file=path)
        frames = file_features(as_file({"video": poses}))["video"]
        chosen = [row for k, row in enumerate(frames) if k % sampling.stride < sampling.window]
        stride = min(sampling.stride, sampling.window)
        steps = np.stack([np.mean(rows, axis=0) for rows in slide(chosen, sampling.window, stride)])
        return Rows(steps, sampling.axis(poses.fps), len(frames), poses.problem)
