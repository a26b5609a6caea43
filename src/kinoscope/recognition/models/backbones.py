"""The two perception networks: a light one for whole frames, a strong one for windows.

GlobalCNN is MobileNet-V2, LocalCNN is ResNet-50 (AdaFocus, ICCV 2021, section 3.2; specification 3.1, 3.2).
With `segments` both carry temporal shifts (TSM, ICCV 2019; specification 11.1-11.3).

Shapes: B clips, T frames, N = B*T images, C classes, M side of the last feature map.

What differs from the official code:
1. Module names are torchvision's in all variants; `official.py` maps the others.
2. The shift is part of the convolution that follows it (`ShiftedConv2d`), so parameters keep their names.
3. The classification layer of a frame is one `head` of each network, also where the official one drops it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet50
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import Bottleneck

GLOBAL_WIDTH = 1280  # channels of GlobalCNN's last map
LOCAL_WIDTH = 2048  # channels of LocalCNN's last map
CACHED_IMAGES = 4  # of 224 x 224 pixels, whose maps fit into a processor's cache


def temporal_shift(x_NCHW: Tensor, segments: int, shift_div: int = 8) -> Tensor:
    """Moves a part of the channels by one frame (TSM, section 3).

    Channels [0, C // shift_div) take the next frame's values, the same number after them the previous
    frame's; zeros enter at the ends. x: [B * segments, C, H, W], frames of a clip in order.
    """
    clips = x_NCHW.view(-1, segments, *x_NCHW.shape[1:])
    fold = x_NCHW.shape[1] // shift_div
    out = torch.zeros_like(clips)
    out[:, :-1, :fold] = clips[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = clips[:, :, 2 * fold :]
    return out.view_as(x_NCHW)


class ShiftedConv2d(nn.Conv2d):
    """A convolution whose input is shifted in time first; has the parameters of the one that it replaces."""

    def __init__(self, conv: nn.Conv2d, segments: int, shift_div: int) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
            conv.bias is not None,
        )
        self.load_state_dict(conv.state_dict())
        self.segments, self.shift_div = segments, shift_div

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(temporal_shift(x, self.segments, self.shift_div))


class GlobalCNN(nn.Module):
    """MobileNet-V2: the glancer.

    classes: width of the head; dropout: in front of the head (0.2 whatever the recipe says, as published);
    segments: frames of a clip where temporal shifts are wanted, else None.
    """

    width, stride = GLOBAL_WIDTH, 32  # channels of the last map, pixels of one of its cells

    def __init__(
        self, classes: int, dropout: float = 0.2, segments: int | None = None, shift_div: int = 8
    ) -> None:
        super().__init__()
        self.features = mobilenet_v2().features
        self.shifted = segments is not None
        if segments is not None:
            for block in self.features:
                if isinstance(block, InvertedResidual) and block.use_res_connect and len(block.conv) == 4:
                    expand = cast(nn.Sequential, block.conv[0])
                    expand[0] = ShiftedConv2d(cast(nn.Conv2d, expand[0]), segments, shift_div)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(GLOBAL_WIDTH, classes))

    def forward(self, images_N3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Last map [N, 1280, M, M] and its spatial mean [N, 1280]."""
        whole = self.shifted or self.training or torch.is_grad_enabled() or images_N3HW.device.type != "cpu"
        if whole:
            maps = self.features(images_N3HW)
        else:  # a few images at a time stay in the processor's cache
            maps = torch.cat([self.features(some) for some in images_N3HW.split(CACHED_IMAGES)])
        return maps, maps.mean((2, 3))

    def predict(self, images_N3HW: Tensor) -> Tensor:
        """Logits of every image [N, C]."""
        return self.head(self(images_N3HW)[1])


class LocalCNN(nn.Module):
    """ResNet-50: the focuser. `classes=None`: without a head (Something-Something)."""

    width = LOCAL_WIDTH

    def __init__(self, classes: int | None, segments: int | None = None, shift_div: int = 8) -> None:
        super().__init__()
        net = resnet50()
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        if segments is not None:
            for block in self.modules():
                if isinstance(block, Bottleneck):
                    block.conv1 = ShiftedConv2d(block.conv1, segments, shift_div)
        self.head = None if classes is None else nn.Linear(LOCAL_WIDTH, classes)

    def maps(self, images_N3HW: Tensor) -> Tensor:
        """Last map [N, 2048, M, M], M = P / 32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images_N3HW))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, images_N3HW: Tensor) -> Tensor:
        """Spatial mean of the last map [N, 2048]."""
        return self.maps(images_N3HW).mean((2, 3))

    def predict(self, images_N3HW: Tensor) -> Tensor:
        """Logits of every image [N, C]."""
        if self.head is None:
            raise TypeError("this LocalCNN was built without a head")
        return self.head(self(images_N3HW))
