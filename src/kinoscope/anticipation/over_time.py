"""How the ranking changes while a stream is watched: `rankings.json`, which the report draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kinoscope.anticipation.evaluate import softmax
from kinoscope.anticipation.streams import NOTHING, Sample, StreamSource, by_time
from kinoscope.engine.files import write_json

STREAMS = 3  # shown in the report
EVERY_S = 0.25
POSE_EVERY_S = 0.5


def write_rankings(
    folder: Path, source: StreamSource, logits: Callable[[Sequence[Sample]], np.ndarray]
) -> None:
    """Writes `rankings.json` for the first test streams: probabilities every quarter of a second, truth, poses."""
    streams = []
    for motion in source.test[:STREAMS]:
        times = np.arange(EVERY_S, motion.duration_s, EVERY_S)
        ahead = times + source.data.tau_a
        samples = [
            source.reader.at(motion, source.up_axis, t, NOTHING, s, s)
            for t, s in zip(times.tolist(), ahead.tolist(), strict=True)
        ]
        shown = np.arange(0, len(motion.joints), max(round(POSE_EVERY_S * motion.fps), 1))
        height = {"x": 0, "y": 1, "z": 2}[source.up_axis]
        axes = [0 if height else 1, height]
        joints = motion.joints[shown][:, :, axes]
        joints = joints - np.nanmean(joints, axis=(0, 1))
        streams.append(
            {
                "video": motion.name,
                "duration_s": motion.duration_s,
                "times": np.round(times, 3).tolist(),
                "probability": np.round(softmax(logits(samples)), 3).tolist(),
                "truth": [
                    [round(first / motion.fps, 3), round(end / motion.fps, 3), label]
                    for first, end, label in by_time(motion.segments).tolist()
                ],
                "pose_times": np.round(shown / motion.fps, 3).tolist(),
                "poses": np.round(np.nan_to_num(joints), 3).tolist(),
            }
        )
    write_json(
        folder / "rankings.json",
        {
            "label_names": list(source.label_names),
            "tau_a_s": source.data.tau_a,
            "links": [list(link) for link in source.links],
            "streams": streams,
        },
    )
