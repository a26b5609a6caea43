"""torchvision's image and video networks by name, without their classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from kinoscope.encoders.encoder import Encoder, Preparation
from kinoscope.encoders.weights import PUBLISHED, load_file_into, needed
from kinoscope.errors import KinoscopeError


def video_names() -> list[str]:
    from torchvision import models

    return list(models.list_models(module=models.video))


def image_names() -> list[str]:
    from torchvision import models

    return list(models.list_models(module=models))


def create(name: str, weights: str | Path | None, *, window: int, device: str) -> Encoder:
    """The encoder of a torchvision name. Raises KinoscopeError without weights, or where they do not fit."""
    from torchvision import models

    if weights is None:
        raise needed(name)
    published = models.get_model_weights(name).DEFAULT
    clips = name in video_names()
    if str(weights) == PUBLISHED:
        network = models.get_model(name, weights=published)
        behead(network, name)
        origin = str(published)
    else:
        network = models.get_model(name, weights=None)
        origin = load_file_into(network, weights, (behead(network, name) + ".", "aux", "AuxLogits"))
    return Encoder(
        f"torchvision/{name}",
        network,
        preparation(published.transforms()),
        weights=origin,
        clips=clips,
        window=window,
        device=device,
    )


def preparation(transforms: Any) -> Preparation:
    """From the transforms that torchvision publishes with its weights."""
    resize, crop = list(transforms.resize_size), list(transforms.crop_size)
    return Preparation(
        resize=resize[0] if len(resize) == 1 else (resize[0], resize[1]),
        crop=(crop[0], crop[-1]),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )


def behead(network: nn.Module, name: str) -> str:
    """Takes the last linear layer (S3D: the classifier of 1 x 1 x 1 convolutions) off; its name."""
    linear = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if name == "s3d":
        place = "classifier"
    elif linear:
        place = linear[-1]
    else:
        raise KinoscopeError("this network has no linear classifier to take off", field="encoder", value=name)
    parent, _, child = place.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    return place
