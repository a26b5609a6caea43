"""Networks of the skeleton room: the ST-GCN encoder and the contrastive models around it."""

from kinoscope.skeleton.models.attention_drop import attention_drop
from kinoscope.skeleton.models.contrast import AimCLR, Contrast, SkeletonCLR
from kinoscope.skeleton.models.crossclr import CrosSCLR
from kinoscope.skeleton.models.encoder import Classifier, Encoder, EncoderConfig, initialise

__all__ = [
    "AimCLR",
    "Classifier",
    "Contrast",
    "CrosSCLR",
    "Encoder",
    "EncoderConfig",
    "SkeletonCLR",
    "attention_drop",
    "initialise",
]
