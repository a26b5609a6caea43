"""Skeleton layouts, declared once as data: streams, flips, drops and graphs follow from them.

AimCLR (AAAI 2022), section 4; graphs of ST-GCN. Differences from the official code:
1. the bone list, the flip and the attention drop are derived per layout (there: NTU-25 only);
2. COCO-17, SMPL-24 and MediaPipe-33 are added, and layouts that a file declares by names and parents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kinoscope.errors import KinoscopeError

Pair = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """A skeleton: joint names, links of the graph (child, parent), mirror pairs, centre, shoulders (left,
    right)."""

    name: str
    joints: tuple[str, ...]
    links: tuple[Pair, ...]
    mirror: tuple[Pair, ...]
    centre: int
    shoulders: Pair
    bones: tuple[Pair, ...] = field(default=())

    @property
    def count(self) -> int:
        return len(self.joints)

    @property
    def bone_pairs(self) -> tuple[Pair, ...]:
        """(joint, joint that it is measured from); the links themselves unless declared."""
        return self.bones or self.links

    @property
    def flipped(self) -> list[int]:
        """Joint order after exchanging left and right."""
        order = list(range(self.count))
        for a, b in self.mirror:
            order[a], order[b] = b, a
        return order

    def bone_matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """(V, links): joints to bones, child minus parent; (links, V): one where a joint moves with a bone."""
        parent = dict(self.links)
        bones, moved = np.zeros((self.count, len(self.links))), np.zeros((len(self.links), self.count))
        for k, (child, root) in enumerate(self.links):
            bones[child, k], bones[root, k] = 1, -1
            for joint in range(self.count):
                at, steps = joint, 0
                while at != child and at in parent and steps <= self.count:
                    at, steps = parent[at], steps + 1
                moved[k, joint] = at == child
        return bones, moved


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _from_one(text: str) -> tuple[Pair, ...]:
    return tuple((int(a) - 1, int(b) - 1) for a, b in (pair.split(",") for pair in text.split()))


def _from_zero(text: str) -> tuple[Pair, ...]:
    return tuple((int(a), int(b)) for a, b in (pair.split(",") for pair in text.split()))


NTU_25 = Layout(
    "ntu-rgb+d",
    _names(
        "spine_base spine_mid neck head left_shoulder left_elbow left_wrist left_hand right_shoulder "
        "right_elbow right_wrist right_hand left_hip left_knee left_ankle left_foot right_hip right_knee "
        "right_ankle right_foot spine_shoulder left_hand_tip left_thumb right_hand_tip right_thumb"
    ),
    _from_one(
        "1,2 2,21 3,21 4,3 5,21 6,5 7,6 8,7 9,21 10,9 11,10 12,11 13,1 14,13 15,14 16,15 17,1 18,17 19,18 "
        "20,19 22,23 23,8 24,25 25,12"
    ),
    _from_zero("4,8 5,9 6,10 7,11 12,16 13,17 14,18 15,19 21,23 22,24"),
    20,
    (4, 8),
)
OPENPOSE_18 = Layout(
    "openpose",
    _names(
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip "
        "right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear"
    ),
    _from_zero("4,3 3,2 7,6 6,5 13,12 12,11 10,9 9,8 11,5 8,2 5,1 2,1 0,1 15,0 14,0 17,15 16,14"),
    _from_zero("2,5 3,6 4,7 8,11 9,12 10,13 14,15 16,17"),
    1,
    (5, 2),
)
KINECT_20 = Layout(
    "nw-ucla",
    _names(
        "hip_centre spine shoulder_centre head left_shoulder left_elbow left_wrist left_hand right_shoulder "
        "right_elbow right_wrist right_hand left_hip left_knee left_ankle left_foot right_hip right_knee "
        "right_ankle right_foot"
    ),
    _from_one(
        "1,2 2,3 4,3 5,3 6,5 7,6 8,7 9,3 10,9 11,10 12,11 13,1 14,13 15,14 16,15 17,1 18,17 19,18 20,19"
    ),
    _from_zero("4,8 5,9 6,10 7,11 12,16 13,17 14,18 15,19"),
    2,
    (4, 8),
)
COCO_17 = Layout(
    "coco",
    _names(
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
        "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
    ),
    _from_zero("1,0 2,0 3,1 4,2 5,0 6,0 7,5 8,6 9,7 10,8 11,5 12,6 13,11 14,12 15,13 16,14"),
    _from_zero("1,2 3,4 5,6 7,8 9,10 11,12 13,14 15,16"),
    0,
    (5, 6),
)
SMPL_24 = Layout(
    "smpl",
    _names(
        "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 "
        "left_foot right_foot neck left_collar right_collar head left_shoulder "
        "right_shoulder left_elbow right_elbow left_wrist right_wrist left_hand right_hand"
    ),
    _from_zero(
        "1,0 2,0 3,0 4,1 5,2 6,3 7,4 8,5 9,6 10,7 11,8 12,9 13,9 14,9 15,12 16,13 17,14 18,16 19,17 20,18 "
        "21,19 22,20 23,21"
    ),
    _from_zero("1,2 4,5 7,8 10,11 13,14 16,17 18,19 20,21 22,23"),
    9,
    (16, 17),
)
MEDIAPIPE_33 = Layout(
    "mediapipe",
    _names(
        "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear "
        "right_ear mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist "
        "right_wrist left_pinky right_pinky left_index right_index left_thumb right_thumb left_hip right_hip "
        "left_knee right_knee left_ankle right_ankle left_heel right_heel left_foot_index right_foot_index"
    ),
    _from_zero(
        "1,0 2,1 3,2 4,0 5,4 6,5 7,3 8,6 9,0 10,0 11,0 12,0 13,11 14,12 15,13 16,14 17,15 18,16 19,15 20,16 "
        "21,15 22,16 23,11 24,12 25,23 26,24 27,25 28,26 29,27 30,28 31,29 32,30"
    ),
    _from_zero("1,4 2,5 3,6 7,8 9,10 11,12 13,14 15,16 17,18 19,20 21,22 23,24 25,26 27,28 29,30 31,32"),
    0,
    (11, 12),
)
LAYOUTS = {layout.name: layout for layout in (NTU_25, OPENPOSE_18, KINECT_20, COCO_17, SMPL_24, MEDIAPIPE_33)}


def layout_named(name: str) -> Layout:
    """A declared layout; KinoscopeError with the list of names where there is none."""
    if name not in LAYOUTS:
        raise KinoscopeError(
            "there is no such skeleton layout",
            field="layout",
            value=name,
            remedy=f"one of {', '.join(LAYOUTS)}",
        )
    return LAYOUTS[name]


def layout_of(names: Sequence[str], parents: Sequence[int]) -> Layout:
    """The layout that a neutral skeleton file declares by its joint names and parents (-1: the root).

    Mirror pairs are names that differ in their side only; the centre is the joint that most arms hang from.
    """
    if len(names) != len(parents):
        raise KinoscopeError(
            "every joint needs a name and a parent", field="parents", value=(len(names), len(parents))
        )
    links = tuple((j, int(p)) for j, p in enumerate(parents) if 0 <= int(p) != j)
    if any(p >= len(names) for _, p in links):
        raise KinoscopeError(
            "a parent is no joint of the file", field="parents", value=list(map(int, parents))
        )
    mirror = tuple((i, j) for i, name in enumerate(names) if (j := _other_side(names, name)) is not None)
    shoulders = _shoulders(names, mirror)
    return Layout("file", tuple(names), links, mirror, _centre(shoulders, links, len(names)), shoulders)


def _other_side(names: Sequence[str], name: str) -> int | None:
    """Index of the right counterpart of a left joint."""
    lowered = [other.lower() for other in names]
    low = name.lower()
    for left, right in (("left", "right"), ("l", "r")):
        if low.startswith(left) and (other := right + low[len(left) :]) in lowered:
            return lowered.index(other)
        told = low.endswith(f"_{left}") or (left == "left" and low.endswith(left))  # ShoulderLeft
        if told and (other := low[: -len(left)] + right) in lowered:
            return lowered.index(other)
    return None


def _shoulders(names: Sequence[str], mirror: Sequence[Pair]) -> Pair:
    for word in ("shoulder", "humerus", "arm", "clavicle", "hip"):
        for left, right in mirror:
            if word in names[left].lower():
                return left, right
    return mirror[0] if mirror else (0, min(1, len(names) - 1))


def _centre(shoulders: Pair, links: Sequence[Pair], count: int) -> int:
    """The nearest common ancestor of the shoulders."""
    parent = dict(links)
    chains = []
    for joint in shoulders:
        chain = [joint]
        while chain[-1] in parent and len(chain) <= count:
            chain.append(parent[chain[-1]])
        chains.append(chain)
    return next((joint for joint in chains[0] if joint in chains[1]), 0)
