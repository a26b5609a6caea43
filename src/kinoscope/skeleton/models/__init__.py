"""Networks of the skeleton room: the ST-GCN encoder and the contrastive models around it."""

from kinoscope.skeleton.models.attention_drop import attention_drop
from kinoscope.skeleton.models.contrast import AimCLR, Contrast, SkeletonCLR
from kinoscope.skeleton.models.crossclr import CrosSCLR
from kinoscope.skeleton.models.encoder import ClipEncoder, Encoder, EncoderConfig, initialise
from kinoscope.skeleton.models.side_by_side import SideBySide
from kinoscope.skeleton.models.time_encoder import (
    AnyConfig,
    Classifier,
    TimeEncoder,
    TimeEncoderConfig,
    build_encoder,
)

__all__ = [
    "AimCLR",
    "AnyConfig",
    "Classifier",
    "ClipEncoder",
    "Contrast",
    "CrosSCLR",
    "Encoder",
    "EncoderConfig",
    "SideBySide",
    "SkeletonCLR",
    "TimeEncoder",
    "TimeEncoderConfig",
    "attention_drop",
    "build_encoder",
    "initialise",
]
