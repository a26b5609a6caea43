"""Which two networks look: the published pair, light ones with packaged weights, or small ones without any."""

from __future__ import annotations

from typing import Literal

from kinoscope.recognition.models.backbones import GlobalCNN, LocalCNN
from kinoscope.recognition.models.lite import LiteGlobalCNN, LiteLocalCNN
from kinoscope.recognition.models.small import SmallGlobalCNN, SmallLocalCNN

Networks = Literal["published", "lite0", "small"]
GlancerNet = GlobalCNN | LiteGlobalCNN | SmallGlobalCNN
FocuserNet = LocalCNN | LiteLocalCNN | SmallLocalCNN


def perception(networks: Networks, classes: int, dropout: float = 0.2) -> tuple[GlancerNet, FocuserNet]:
    """The glancer and the focuser: MobileNet-V2 and ResNet-50, EfficientNet-Lite0 twice, or the small ones."""
    if networks == "small":
        return SmallGlobalCNN(classes, dropout), SmallLocalCNN(classes)
    if networks == "lite0":
        return LiteGlobalCNN(classes, dropout), LiteLocalCNN(classes)
    return GlobalCNN(classes, dropout), LocalCNN(classes)
