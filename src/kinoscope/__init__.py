"""kinoscope tells what people do in video: five published methods in one toolkit."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinoscope import metrics as metrics
    from kinoscope.models import load as load
    from kinoscope.timeline import Events as Events
    from kinoscope.timeline import TimeAxis as TimeAxis

__version__ = "0.1.0"
__all__ = ["Events", "TimeAxis", "__version__", "load", "metrics"]
_HOME = {"Events": "kinoscope.timeline", "TimeAxis": "kinoscope.timeline", "load": "kinoscope.models"}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used: `import kinoscope` costs milliseconds."""
    if name == "metrics":
        return import_module("kinoscope.metrics")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'kinoscope' has no attribute {name!r}")
