"""Where to look: action grids, window corners, hard crops, and windows with a gradient.

AdaFocus sections 3.2-3.3 (specification 3.3), AdaFocus V2 section 3.2 (12.1), Uni-AdaFocus (12.2).
Positions are (row, column) in [0, 1]; corners are the window's top-left pixel, (row, column).

What differs from the official code:
1. Random windows draw from the generator that they are given. Their exclusive upper end, by which the last
   row and column are never drawn, is kept.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kinoscope.errors import KinoscopeError


def action_grid(actions: int) -> Tensor:
    """Positions of the discrete actions: [A, 2] float32, row-major on a square grid.

    Raises KinoscopeError where `actions` is no square of at least 2 x 2.

    >>> action_grid(9)[5]
    tensor([0.5000, 1.0000])
    """
    side = math.isqrt(max(actions, 0))
    if side * side != actions or side < 2:
        near = max(side, 2) ** 2
        raise KinoscopeError(
            "the action grid is a square",
            field="action_dim",
            value=actions,
            remedy=f"for example {near} or 49",
        )
    k = np.arange(actions)
    return torch.from_numpy(np.stack([k // side, k % side], 1).astype(np.float32) / np.float32(side - 1))


def check_patch(patch: int, height: int, width: int) -> None:
    """Raises KinoscopeError where a window does not fit into the frame."""
    if patch > min(height, width):
        raise KinoscopeError(
            f"a window cannot be larger than the frame ({height} x {width} pixels)",
            field="patch_size",
            value=patch,
            remedy=f"at most {min(height, width)}",
        )


def corners(positions: Tensor, frame: int | tuple[int, int], patch: int) -> Tensor:
    """Corners [..., 2] (int64) of positions [..., 2]: floor(position * (frame - patch)) in float32.

    frame: side of the frame, or (height, width), in pixels. The float32 product is part of the method:
    integer
    arithmetic on the grid gives other corners for some sizes (specification 13.18).
    """
    height, width = (frame, frame) if isinstance(frame, int) else frame
    room = torch.tensor([height - patch, width - patch], dtype=torch.float32, device=positions.device)
    return torch.floor(positions.float() * room).long()


def crop(images_NCHW: Tensor, corners_N2: Tensor, patch: int) -> Tensor:
    """Hard crops [N, C, patch, patch]; no gradient reaches the corners."""
    check_patch(patch, *images_NCHW.shape[-2:])
    if patch == images_NCHW.shape[-2] == images_NCHW.shape[-1]:
        return images_NCHW
    out = images_NCHW.new_empty(*images_NCHW.shape[:2], patch, patch)
    for i, (y, x) in enumerate(corners_N2.tolist()):
        out[i] = images_NCHW[i, :, y : y + patch, x : x + patch]
    return out


def random_corners(count: int, frame: int, patch: int, generator: np.random.Generator) -> Tensor:
    """Corners [count, 2] of random windows, row before column; the last position is never drawn.

    A window as large as the frame has the corner 0 and draws nothing.
    """
    check_patch(patch, frame, frame)
    if patch == frame:
        return torch.zeros(count, 2, dtype=torch.long)
    return torch.from_numpy(generator.integers(0, frame - patch, (count, 2)))


def soft_window(images_NCHW: Tensor, actions: Tensor, patch: int, smallest: int | None = None) -> Tensor:
    """Windows [N, C, patch, patch] by bilinear interpolation, differentiable in the actions.

    actions: [N, 2] (row, column) in [0, 1], the window being `patch` pixels wide (AdaFocus V2), or [N, 4]
    (row, column, height, width), whose sides lie between `smallest` (default: patch) and the frame and which
    is resampled to patch x patch (Uni-AdaFocus). At integer corners of a fixed window this is the hard crop.
    """
    count, channels, height, width = images_NCHW.shape
    check_patch(patch, height, width)
    frame = torch.tensor([height, width], dtype=actions.dtype, device=actions.device)
    if actions.shape[1] == 2:
        side = torch.full_like(actions, patch)
    else:
        least = patch if smallest is None else smallest
        side = actions[:, 2:] * (frame - least) + least
    corner = actions[:, :2] * (frame - side)
    scale = side / frame
    shift = -1 + (2 * corner + side) / frame
    theta = torch.zeros(count, 2, 3, dtype=actions.dtype, device=actions.device)
    theta[:, 0, 0], theta[:, 0, 2] = scale[:, 1], shift[:, 1]
    theta[:, 1, 1], theta[:, 1, 2] = scale[:, 0], shift[:, 0]
    grid = F.affine_grid(theta, [count, channels, patch, patch], align_corners=False)
    return F.grid_sample(images_NCHW, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
