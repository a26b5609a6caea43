"""`.skeleton` text files (NTU RGB+D, and the shortened form of PKU-MMD clips) to arrays.

1. As in the official conversion, the first two bodies listed in a frame are taken, whatever they do. 2. A
   file that
   is cut off, empty or malformed raises with file and line.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kinoscope.errors import KinoscopeError

JOINTS, BODIES, MAX_FRAMES = 25, 2, 300


def read_skeleton(path: str | Path, *, shortened: bool = False) -> np.ndarray:
    """(3, frames, 25, 2) float64 of one file; `shortened`: no body line before the second body (PKU-MMD
    clips)."""
    try:
        lines = Path(path).read_text(encoding="ascii").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise KinoscopeError("the skeleton file cannot be read", file=path, value=str(error)) from error
    at = 0
    try:
        frames = int(lines[0])
        spots: list[tuple[int, int]] = []
        rows: list[list[str]] = []
        at = 1
        for frame in range(frames):
            bodies = int(float(lines[at]))
            at += 1
            joints = JOINTS
            for body in range(bodies):
                if body == 0 or not shortened:
                    joints = int(lines[at + 1])
                    at += 2
                if at + joints > len(lines):
                    raise IndexError
                if joints < JOINTS and body < BODIES:
                    raise KinoscopeError(
                        "a body has too few joints",
                        file=path,
                        field=f"line {at}",
                        value=joints,
                        remedy="NTU files list 25",
                    )
                if body < BODIES:
                    spots.append((frame, body))
                    rows += [line.split(None, 3)[:3] for line in lines[at : at + JOINTS]]
                at += joints
        values = np.array([float(v) for row in rows for v in row]).reshape(-1, JOINTS, 3)
    except (IndexError, ValueError) as error:
        what = "is empty" if not any(lines) else "is cut off or malformed"
        raise KinoscopeError(
            f"the skeleton file {what}",
            file=path,
            field=f"line {min(at + 1, len(lines))}",
            remedy="fetch it again",
        ) from error
    if not np.isfinite(values).all():
        raise KinoscopeError("a joint is not a finite number", file=path, remedy="leave this file out")
    out = np.zeros((3, frames, JOINTS, BODIES))
    if spots:
        frame_of, body_of = np.array(spots).T
        out.transpose(1, 3, 2, 0)[frame_of, body_of] = values
    return out


def centre_cropped(x_CTVM: np.ndarray, longest: int = MAX_FRAMES) -> np.ndarray:
    """The middle `longest` frames of a longer clip."""
    spare = x_CTVM.shape[1] - longest
    return x_CTVM if spare <= 0 else x_CTVM[:, spare // 2 : spare // 2 + longest]
