"""Which frames make a step of features: rate, window, stride; the published presets."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeVar

from pydantic import Field

from kinoscope.recipe import Settings
from kinoscope.timeline import TimeAxis

T = TypeVar("T")


class Sampling(Settings):
    """Steps of features: step i covers the frames [i * stride, i * stride + window)."""

    window: int = Field(1, ge=1)  # frames
    stride: int = Field(1, ge=1)  # frames
    fps: float | None = Field(None, gt=0)  # frames a second; None: the video's own rate

    def axis(self, own_fps: float) -> TimeAxis:
        """Where the steps of a video of that rate lie."""
        return TimeAxis(self.fps or own_fps, self.stride, self.window)


# As published features were made: I3D of THUMOS14 and EPIC-Kitchens-100's SlowFast at the video's own rate, TSP at 15.
PRESETS = {
    "i3d": Sampling(window=16, stride=4),
    "tsp": Sampling(window=16, stride=16, fps=15),
    "slowfast": Sampling(window=32, stride=16),
}


def slide(items: Iterable[T], window: int, stride: int) -> Iterator[list[T]]:
    """Windows of `items`; whole ones only, but a sequence shorter than one window repeats its last item.

    >>> list(slide("abcdef", 3, 2)), list(slide("ab", 3, 2))
    ([['a', 'b', 'c'], ['c', 'd', 'e']], [['a', 'b', 'b']])
    """
    held: deque[T] = deque(maxlen=window)
    count = -1
    for count, item in enumerate(items):
        held.append(item)
        if count + 1 >= window and (count + 1 - window) % stride == 0:
            yield list(held)
    if 0 <= count < window - 1:
        yield [*held, *[held[-1]] * (window - len(held))]
