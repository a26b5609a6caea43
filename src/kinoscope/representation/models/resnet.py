"""ResNet-50 cut in two: a trunk that stays as it is, and a tail that is trained (CARL, section 3.1).

Differences from the official code:
1. Where the trunk has fixed statistics and no gradient, it is kept in evaluation mode by `train()` itself.
2. Frames run in channels-last memory, which is the fast layout of convolutions.
"""

from __future__ import annotations

from torch import nn

CHANNELS = {2: 512, 3: 1024, 4: 2048}


def split_resnet50(layer: int) -> tuple[nn.Sequential, nn.Module, int]:
    """(trunk, tail, channels that the tail gives) of a torchvision ResNet-50 with random weights.

    layer: the last residual stage of the trunk. 3: the tail is stage 4; 2: stages 3 and 4; anything else: the
    trunk is the whole network and the tail passes its input on.
    """
    from torchvision.models import resnet50

    children = list(resnet50(weights=None).children())
    if layer == 3:
        return nn.Sequential(*children[:7]), children[7], 2048
    if layer == 2:
        return nn.Sequential(*children[:6]), nn.Sequential(children[6], children[7]), 2048
    return nn.Sequential(*children[:8]), nn.Identity(), 2048
