"""The currency between rooms: events in seconds, and the axis that ties feature steps to seconds."""

from kinoscope.timeline.axis import TimeAxis
from kinoscope.timeline.events import Events

__all__ = ["Events", "TimeAxis"]
