"""Small perception networks for small data: demos, quick tests, and videos without image weights to start from.

They stand in for MobileNet-V2 and ResNet-50 (`backbones.py`) and answer to the same calls; the policy, the windows
and the classifiers above them are the published ones.

Shapes: N images, C classes, M side of the last map. Nothing of this file is in the official code.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def _block(wide_in: int, wide_out: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(wide_in, wide_out, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(wide_out), nn.ReLU(inplace=True))


def _stack(widths: Sequence[int], strides: Sequence[int]) -> nn.Sequential:
    before = (3, *widths[:-1])
    return nn.Sequential(*(_block(*sizes) for sizes in zip(before, widths, strides, strict=True)))


class SmallGlobalCNN(nn.Module):
    """The glancer: three convolutions, map at an eighth of the image's side."""

    width, stride = 64, 8

    def __init__(self, classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.features = _stack((16, 32, self.width), (2, 2, 2))
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.width, classes))

    def forward(self, images_N3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Last map [N, 64, M, M] and its spatial mean [N, 64]."""
        maps = self.features(images_N3HW)
        return maps, maps.mean((2, 3))

    def predict(self, images_N3HW: Tensor) -> Tensor:
        """Logits of every image [N, C]."""
        return self.head(self(images_N3HW)[1])


class SmallLocalCNN(nn.Module):
    """The focuser: five convolutions, map at an eighth of the window's side."""

    width = 128

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = _stack((16, 32, 64, 64, self.width), (2, 2, 1, 2, 1))
        self.head = nn.Linear(self.width, classes)

    def forward(self, images_N3HW: Tensor) -> Tensor:
        """Largest value of every channel of the last map [N, 128]."""
        return self.features(images_N3HW).amax((2, 3))

    def predict(self, images_N3HW: Tensor) -> Tensor:
        """Logits of every image [N, C]."""
        return self.head(self(images_N3HW))
