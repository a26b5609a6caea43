"""Networks of the localization task: `localizer(ModelConfig(...))` builds one."""

from kinoscope.localization.models.config import ModelConfig
from kinoscope.localization.models.localizer import Localizer, LocalizerOutput, localizer
from kinoscope.localization.models.points import PointGenerator, max_div_factor, padded_length
from kinoscope.localization.models.windowed import (
    WINDOW,
    output_windows,
    receptive_field,
    window_overlap,
    windowed_forward,
)

__all__ = [
    "WINDOW",
    "Localizer",
    "LocalizerOutput",
    "ModelConfig",
    "PointGenerator",
    "localizer",
    "max_div_factor",
    "output_windows",
    "padded_length",
    "receptive_field",
    "window_overlap",
    "windowed_forward",
]
