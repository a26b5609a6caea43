"""Poses that other programs found: their JSON, with several persons a frame, as a neutral skeleton file.

Read are lists of detections (AlphaPose, COCO results, MMPose: `image_id` or `frame_id`, `keypoints` as x, y, score) and
folders of one file a frame (OpenPose: `people`, `pose_keypoints_2d`). Layouts by the number of joints: COCO-17,
OpenPose-18, MediaPipe-33. Persons are tracked from frame to frame by the distance of their joints; of all tracks the
one that moves most, for the longest time, is kept. Pixels become heights of the person: y up, no depth.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.media.layouts import COCO_17, MEDIAPIPE_33, OPENPOSE_18, Layout
from kinoscope.media.skeleton import SkeletonFile

LAYOUTS = {layout.count: layout for layout in (COCO_17, OPENPOSE_18, MEDIAPIPE_33)}
SURE = 0.3  # joints below are no evidence in tracking
REACH = 0.5  # of a person's size: farther from one frame to the next is somebody else
PATIENCE = 15  # frames that a person may be unseen
FPS = 30.0  # these files do not tell theirs


@dataclass
class Track:
    """One person: frame -> (V, 3) x, y in pixels and score."""

    poses: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return max(self.poses)

    def motion(self) -> float:
        """Sum over frames of the mean path of the sure joints, in sizes of the person."""
        frames, total = sorted(self.poses), 0.0
        for before, after in itertools.pairwise(frames):
            total += _distance(self.poses[before], self.poses[after]) if after == before + 1 else 0.0
        return total


def open_poses(path: str | Path, fps: float = FPS) -> SkeletonFile:
    """The person who moves most in a JSON file, or in a folder of one JSON file a frame.

    Raises KinoscopeError where the file is no such list, holds nobody, or joints of no known layout.
    """
    place = Path(path)
    frames = _folder(place) if place.is_dir() else _detections(place)
    people = [pose for poses in frames.values() for pose in poses]
    if not people:
        raise KinoscopeError(
            "nobody is found in these poses", file=path, remedy="lower the detector's threshold"
        )
    counts = {len(pose) for pose in people}
    if len(counts) > 1 or next(iter(counts)) not in LAYOUTS:
        raise KinoscopeError(
            "the joints belong to no known layout",
            file=path,
            field="keypoints",
            value=sorted(counts),
            remedy=f"one of {', '.join(f'{layout.name} ({count})' for count, layout in LAYOUTS.items())}",
        )
    best = max(tracked(frames), key=Track.motion)
    return _file(best, LAYOUTS[counts.pop()], fps, place)


def tracked(frames: dict[int, list[np.ndarray]]) -> list[Track]:
    """Tracks over all frames: the nearest pairs of track and pose first, each once."""
    tracks: list[Track] = []
    for frame in sorted(frames):
        open_tracks = [track for track in tracks if frame - track.last <= PATIENCE]
        poses = frames[frame]
        pairs = sorted(
            (_distance(track.poses[track.last], pose), i, j)
            for i, track in enumerate(open_tracks)
            for j, pose in enumerate(poses)
        )
        taken: set[int] = set()
        busy: set[int] = set()
        for distance, i, j in pairs:
            if distance <= REACH * (frame - open_tracks[i].last) and i not in busy and j not in taken:
                open_tracks[i].poses[frame] = poses[j]
                busy.add(i)
                taken.add(j)
        tracks += [Track({frame: pose}) for j, pose in enumerate(poses) if j not in taken]
    return tracks


def _distance(one_VC: np.ndarray, other_VC: np.ndarray) -> float:
    """Mean distance of the joints that both are sure of, in sizes of the person; infinite where there is none."""
    sure = (one_VC[:, 2] >= SURE) & (other_VC[:, 2] >= SURE)
    if not sure.any():
        return float("inf")
    size = max(_size(one_VC), _size(other_VC))
    return float(np.linalg.norm(one_VC[sure, :2] - other_VC[sure, :2], axis=1).mean() / size)


def _size(pose_VC: np.ndarray) -> float:
    sure = pose_VC[pose_VC[:, 2] >= SURE, :2]
    return max(float(np.ptp(sure, axis=0).max()) if len(sure) else 0.0, 1.0)


def _file(track: Track, layout: Layout, fps: float, place: Path) -> SkeletonFile:
    first, last = min(track.poses), track.last
    joints = np.full((last - first + 1, layout.count, 3), np.nan, np.float32)
    confidence = np.zeros(joints.shape[:2], np.float32)
    height = float(np.median([_size(pose) for pose in track.poses.values()]))
    for frame, pose in track.poses.items():
        joints[frame - first, :, 0] = pose[:, 0] / height
        joints[frame - first, :, 1] = -pose[:, 1] / height
        joints[frame - first, :, 2] = 0
        confidence[frame - first] = pose[:, 2]
    parent = dict(layout.links)
    return SkeletonFile.from_arrays(
        {
            "joints": joints,
            "offset": np.array([0, len(joints)]),
            "joint_names": np.array(layout.joints),
            "parents": np.array([parent.get(j, -1) for j in range(layout.count)]),
            "fps": np.array(fps),
            "confidence": confidence,
            "source": np.array([place.stem]),
        },
        str(place),
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KinoscopeError("this is no JSON file", file=path, value=str(error)) from error


def _detections(path: Path) -> dict[int, list[np.ndarray]]:
    rows = _json(path)
    if not isinstance(rows, list):
        raise KinoscopeError(
            "poses are a list of detections",
            file=path,
            value=type(rows).__name__,
            remedy="COCO results or AlphaPose",
        )
    names = sorted({str(row.get("image_id", row.get("frame_id"))) for row in rows}, key=_natural)
    order = {name: _number(name, i) for i, name in enumerate(names)}
    frames: dict[int, list[np.ndarray]] = {}
    for row in rows:
        frame = order[str(row.get("image_id", row.get("frame_id")))]
        frames.setdefault(frame, []).append(_pose(row.get("keypoints"), path))
    return frames


def _folder(folder: Path) -> dict[int, list[np.ndarray]]:
    files = sorted(folder.glob("*.json"), key=lambda p: _natural(p.stem))
    if not files:
        raise KinoscopeError("there is no JSON file in this folder", file=folder)
    return {
        i: [_pose(person.get("pose_keypoints_2d"), path) for person in _json(path).get("people", [])]
        for i, path in enumerate(files)
    }


def _pose(values: Any, path: Path) -> np.ndarray:
    flat = np.asarray(values if isinstance(values, list) else [], np.float64).reshape(-1)
    if not len(flat) or len(flat) % 3 or not np.isfinite(flat).all():
        raise KinoscopeError(
            "keypoints are finite numbers: x, y, score of every joint",
            file=path,
            field="keypoints",
            value=len(flat),
        )
    return flat.reshape(-1, 3)


def _digits(name: str) -> str:
    return "".join(c if c.isdigit() else " " for c in Path(name).stem)


def _natural(name: str) -> tuple[list[int], str]:
    return [int(part) for part in _digits(name).split()], name


def _number(name: str, place: int) -> int:
    """The frame number that a name ends with, or its place among the names."""
    found = _digits(name).split()
    return int(found[-1]) if found else place
