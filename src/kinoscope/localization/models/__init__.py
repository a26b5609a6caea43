"""Networks of the localization task: `localizer(ModelConfig(...))` builds one."""

from kinoscope.localization.models.config import ModelConfig
from kinoscope.localization.models.localizer import Localizer, LocalizerOutput, localizer
from kinoscope.localization.models.points import PointGenerator, max_div_factor, padded_length
from kinoscope.localization.models.windowed import receptive_field, windowed_forward

__all__ = [
    "Localizer",
    "LocalizerOutput",
    "ModelConfig",
    "PointGenerator",
    "localizer",
    "max_div_factor",
    "padded_length",
    "receptive_field",
    "windowed_forward",
]
