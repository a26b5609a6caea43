"""EfficientNet-Lite0 as glancer and focuser: light, and its ImageNet weights come as a package (extra `offline`).

Tan and Le, ICML 2019, in the Lite variant: no squeeze and excitation, ReLU6. Shapes: N images, C classes, M and W
rows and columns of the last map. Nothing of this file is in the official code of AdaFocus.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.recognition.augment import MEAN, STD

# channels, blocks, kernel, stride, expansion of every stage
STAGES = (
    (16, 1, 3, 1, 1),
    (24, 2, 3, 2, 6),
    (40, 2, 5, 2, 6),
    (80, 3, 3, 2, 6),
    (112, 3, 5, 1, 6),
    (192, 4, 5, 2, 6),
    (320, 1, 3, 1, 6),
)
STEM, EPS = 32, 1e-3


class Block(nn.Sequential):
    """Expansion, depthwise convolution, projection; the input is added where the shapes allow."""

    def __init__(self, wide_in: int, wide_out: int, kernel: int, stride: int, expansion: int) -> None:
        wide = wide_in * expansion
        layers: list[tuple[str, nn.Module]] = []
        if expansion > 1:
            layers += [("conv_pw", nn.Conv2d(wide_in, wide, 1, bias=False)), *_norm("bn1", wide)]
        depthwise, project = ("bn2", "bn3") if expansion > 1 else ("bn1", "bn2")
        layers += [*same("conv_dw", wide, wide, kernel, stride, wide), *_norm(depthwise, wide)]
        last = nn.Conv2d(wide, wide_out, 1, bias=False)
        layers += [("conv_pwl" if expansion > 1 else "conv_pw", last)]
        layers += [(project, nn.BatchNorm2d(wide_out, EPS))]
        super().__init__(OrderedDict(layers))
        self.skips = stride == 1 and wide_in == wide_out

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        return out + x if self.skips else out


def _norm(name: str, wide: int) -> list[tuple[str, nn.Module]]:
    return [(name, nn.BatchNorm2d(wide, EPS)), (f"act_{name}", nn.ReLU6(inplace=True))]


def same(
    name: str, wide_in: int, wide_out: int, kernel: int, stride: int, groups: int = 1
) -> list[tuple[str, nn.Module]]:
    """A convolution padded as TensorFlow does at even sizes: with stride 2 one pixel more below and on the right."""
    pad = kernel // 2
    if stride == 1:
        conv = nn.Conv2d(wide_in, wide_out, kernel, 1, pad, groups=groups, bias=False)
        return [(name, conv)]
    before, after = pad - 1, pad
    conv = nn.Conv2d(wide_in, wide_out, kernel, stride, groups=groups, bias=False)
    return [(f"pad_{name}", nn.ZeroPad2d((before, after, before, after))), (name, conv)]


class LiteBody(nn.Sequential):
    """The network up to and with stage `depth` (1 to 7). Names are timm's."""

    scale: Tensor
    shift: Tensor

    def __init__(self, depth: int) -> None:
        blocks, wide = [], STEM
        for wide_out, count, kernel, stride, expansion in STAGES[:depth]:
            stage = [
                Block(wide if i == 0 else wide_out, wide_out, kernel, stride if i == 0 else 1, expansion)
                for i in range(count)
            ]
            blocks.append(nn.Sequential(*stage))
            wide = wide_out
        super().__init__(
            OrderedDict(
                [*same("conv_stem", 3, STEM, 3, 2), *_norm("bn1", STEM), ("blocks", nn.Sequential(*blocks))]
            )
        )
        # our clips are (x - MEAN) / STD of [0, 1]; this network wants (x - 127) / 128 of bytes
        self.register_buffer("scale", torch.tensor(STD).view(3, 1, 1) * 255 / 128, persistent=False)
        shift = (torch.tensor(MEAN).view(3, 1, 1) * 255 - 127) / 128
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.scale + self.shift)


def lite_stride(depth: int) -> int:
    """Pixels of one cell of the last map."""
    out = 2
    for stage in STAGES[:depth]:
        out *= stage[3]
    return out


class LiteGlobalCNN(nn.Module):
    """The glancer: the first stages, whose map is fine enough to say where something moves."""

    def __init__(self, classes: int, dropout: float = 0.2, depth: int = 3) -> None:
        super().__init__()
        self.width, self.stride = STAGES[depth - 1][0], lite_stride(depth)
        self.features = LiteBody(depth)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.width, classes))

    def forward(self, images_N3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Last map [N, D, M, W] and its spatial mean [N, D]."""
        maps = self.features(images_N3HW)
        return maps, maps.mean((2, 3))

    def predict(self, images_N3HW: Tensor) -> Tensor:
        """Logits of every image [N, C]."""
        return self.head(self(images_N3HW)[1])


class LiteLocalCNN(nn.Module):
    """The focuser: all stages without the last 1 x 1 convolution, whose ImageNet features say less about posture.

    Its vector is a profile from top to bottom: where in the height something is tells postures apart, while left and
    right do not.
    """

    rows = 4
    width = STAGES[-1][0] * rows

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = LiteBody(len(STAGES))
        self.head = nn.Linear(self.width, classes)

    def forward(self, images_N3HW: Tensor) -> Tensor:
        """Means of the last map's four bands [N, 1280]."""
        return F.adaptive_avg_pool2d(self.features(images_N3HW), (self.rows, 1)).flatten(1)

    def predict(self, images_N3HW: Tensor) -> Tensor:
        """Logits of every image [N, C]."""
        return self.head(self(images_N3HW))
