"""Small data sets in the official layout, for tests."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch


def write_video(path: Path, frames: int, shift: int = 0, size: tuple[int, int] = (32, 32)) -> Path:
    """A bright bar that moves through the picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = size
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for k in range(frames):
            image = np.full((height, width, 3), 30, np.uint8)
            left = (shift + k) % (width - 8)
            image[:, left : left + 8] = 200
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode())
    return path


def rows(
    folder: Path, split: str, count: int, frames: int, classes: int, **more: Any
) -> list[dict[str, Any]]:
    found = []
    for k in range(count):
        name = f"{split}_{k:04d}"
        length = frames + k
        write_video(folder / "videos" / f"{name}.mp4", length, 2 * k)
        labels = torch.arange(length) * classes // length
        found.append(
            {
                "id": k,
                "name": name,
                "video_file": f"videos/{name}.mp4",
                "seq_len": length,
                "frame_label": labels,
            }
            | {key: value[k] for key, value in more.items()}
        )
    return found


def pouring(root: Path, train: int = 4, val: int = 2, frames: int = 12) -> Path:
    """root/pouring with five phases."""
    folder = root / "pouring"
    for split, count in (("train", train), ("val", val)):
        content = rows(folder, split, count, frames, 5)
        (folder / f"{split}.pkl").write_bytes(pickle.dumps(content))
    return root


def penn_action(root: Path) -> Path:
    """root/penn_action with two actions (bowl, squat)."""
    folder = root / "penn_action"
    for split in ("train", "val"):
        actions = [3, 10, 3, 10]
        content = rows(folder, split, 4, 12, 2, action_label=actions)
        groups = [[k for k, a in enumerate(actions) if a == label] for label in range(13)]
        (folder / f"{split}.pkl").write_bytes(pickle.dumps((content, groups)))
    return root
