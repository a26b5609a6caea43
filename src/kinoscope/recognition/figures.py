"""Videos whose place to look is known: motions from a skeleton file, drawn as small stick figures in clutter.

A figure takes a small part of a still frame full of lines, boxes and noise, none of which says anything about the
class. Shapes: T frames, N side of a frame in pixels, V joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from kinoscope.media.skeleton import Motion, SkeletonFile

HEIGHT_M = 1.7  # a standing person
FIGURE = (250, 236, 120)  # colour; clutter is darker and of all colours


@dataclass(frozen=True)
class Scene:
    """One motion. `render` draws it somewhere; `seed` fixes what `render` draws where no generator is given."""

    motion: Motion
    parents: np.ndarray
    up: int  # axis that points up
    seed: int

    def render(
        self, frames: list[int], size: int, height: int, generator: np.random.Generator | None = None
    ) -> tuple[list[Image.Image], np.ndarray]:
        """The chosen frames (from 0) as size x size images, a standing person `height` pixels tall, and the
        figure's boxes [T, 4]: top, left, bottom, right."""
        draws = np.random.default_rng(self.seed) if generator is None else generator
        points_TV2 = self._project(frames, draws) * (height / HEIGHT_M)
        low, high = points_TV2.min((0, 1)), points_TV2.max((0, 1))
        points_TV2 += draws.uniform(0, 1, 2) * np.maximum(size - (high - low), 0) - low
        points_TV2 = np.clip(points_TV2, 0, size - 1)
        background = clutter(size, draws)
        images = []
        for points_V2 in points_TV2:
            image = background.copy()
            pen = ImageDraw.Draw(image)
            for joint, parent in enumerate(self.parents):
                if parent >= 0:
                    pen.line([*map(tuple, points_V2[[parent, joint]])], FIGURE, 1)
            images.append(image)
        boxes = np.concatenate([points_TV2.min(1)[:, ::-1], points_TV2.max(1)[:, ::-1]], 1)
        return images, boxes

    def _project(self, frames: list[int], draws: np.random.Generator) -> np.ndarray:
        """Metres on the picture plane [T, V, 2] (right, down), seen level from a random side."""
        joints_TV3 = self.motion.joints[frames].astype(np.float64)
        flat = [axis for axis in range(3) if axis != self.up]
        yaw = draws.uniform(-0.5, 0.5)
        right = joints_TV3[..., flat[0]] * np.cos(yaw) + joints_TV3[..., flat[1]] * np.sin(yaw)
        return np.stack([right, -joints_TV3[..., self.up]], -1)


def close_ups(
    images: list[Image.Image],
    boxes_T4: np.ndarray,
    side: int,
    generator: np.random.Generator | None = None,
) -> tuple[list[Image.Image], np.ndarray]:
    """Cut-outs of side x side pixels with the figure inside, and its boxes there; in the middle without a generator."""
    edge = np.array(images[0].size[::-1]) - side
    middle_T2 = (boxes_T4[:, :2] + boxes_T4[:, 2:]) / 2
    if generator is not None:
        middle_T2 = middle_T2 + generator.uniform(-side / 4, side / 4, 2)
    corners_T2 = np.clip((middle_T2 - side / 2).round().astype(int), 0, edge)
    cut = [
        image.crop((x, y, x + side, y + side))
        for image, (y, x) in zip(images, corners_T2.tolist(), strict=True)
    ]
    return cut, boxes_T4 - np.tile(corners_T2, 2)


def clutter(size: int, draws: np.random.Generator) -> Image.Image:
    """A still background: coarse noise, boxes and lines in subdued colours."""
    coarse = draws.integers(0, 110, (size // 8, size // 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((size, size), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(image)
    for _ in range(int(draws.integers(15, 25))):
        x, y = draws.integers(0, size, 2).tolist()
        dx, dy = draws.integers(-size // 8, size // 8 + 1, 2).tolist()
        colour = tuple(draws.integers(30, 170, 3).tolist())
        if draws.random() < 0.25:
            pen.rectangle((min(x, x + dx), min(y, y + dy), max(x, x + dx), max(y, y + dy)), outline=colour)
        else:
            pen.line((x, y, x + dx, y + dy), colour, 1)
    return image


def scenes(file: SkeletonFile, copies: int = 1) -> list[Scene]:
    """Every motion of a file `copies` times, each with a seed of its own."""
    up = "xyz".index(file.up_axis)
    return [
        Scene(motion, file.parents, up, 1000 * copy + motion.index)
        for copy in range(copies)
        for motion in file
        if motion.label is not None
    ]
