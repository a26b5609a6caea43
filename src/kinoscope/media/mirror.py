"""Left and right exchanged: the same motion seen in a mirror, its joints and labels renamed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np


def opposite(name: str, names: Sequence[str]) -> int | None:
    """Index in `names` of the name for the other side; None where there is none.

    >>> opposite("front left kick", ["jump", "front right kick"]), opposite("L_Hip", ["L_Hip", "R_Hip"])
    (1, 1)
    """
    lowered = [other.lower() for other in names]
    exchanged = {"left": "right", "right": "left", "l": "r", "r": "l"}
    for pattern in (r"left|right", r"^[lr](?=[a-z_ .])|(?<=[_ .])[lr]\b"):
        other = re.sub(pattern, lambda side: exchanged[side[0]], name.lower())
        if other != name.lower() and other in lowered:
            return lowered.index(other)
    return None


def mirror_order(names: Sequence[str]) -> np.ndarray:
    """(N,) which name stands where each stood, once left and right are exchanged; an involution.

    >>> mirror_order(["head", "left_hand", "right_hand"])
    array([0, 2, 1])
    """
    found = [opposite(name, names) for name in names]
    return np.array([i if j is None or found[j] != i else j for i, j in enumerate(found)], np.int64)


def mirror_channels(joint_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(order, sign), each (6 V + 3,): `features[..., order] * sign` are the pose features of the mirrored body.

    The pose features of `media/pose_features` are turned so that the shoulder line lies on x, so a mirror turns x.
    """
    joints = mirror_order(joint_names)
    body = (3 * joints[:, None] + np.arange(3)).ravel()
    count = len(body)
    order = np.concatenate([body, body + count, 2 * count + np.arange(3)])
    return order, np.tile(np.array([-1.0, 1.0, 1.0], np.float32), len(order) // 3)
