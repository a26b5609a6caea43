"""timm's image networks by name: pooled features, prepared as timm's own configuration says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from kinoscope.encoders.encoder import Encoder, Preparation
from kinoscope.encoders.weights import PUBLISHED, load_file_into, needed


def is_known(name: str) -> bool:
    import timm

    return timm.is_model(name.split(".")[0])


def create(name: str, weights: str | Path | None, *, device: str) -> Encoder:
    """The encoder of a timm name (`resnet50`, `vit_small_patch16_224.augreg_in1k`). Raises KinoscopeError."""
    import timm

    if weights is None:
        raise needed(name)
    published = str(weights) == PUBLISHED
    network: Any = timm.create_model(name, pretrained=published, num_classes=0)
    config = timm.data.resolve_model_data_config(network)
    if published:
        origin = f"timm:{name}:{network.pretrained_cfg.get('tag', '')}"
    else:
        origin = load_file_into(network, weights, heads(network))
    return Encoder(f"timm/{name}", network, preparation(config), weights=origin, device=device)


def heads(network: Any) -> tuple[str, ...]:
    """Beginnings of the names of the classifier, as timm declares them."""
    classifier = network.pretrained_cfg.get("classifier", ())
    places = (classifier,) if isinstance(classifier, str) else tuple(classifier or ())
    return tuple(f"{place}." for place in places)


def preparation(config: dict[str, Any]) -> Preparation:
    """The shorter side is the input divided by the share of the picture that timm cuts out."""
    _, height, width = config["input_size"]
    return Preparation(
        resize=math.floor(min(height, width) / config["crop_pct"]),
        crop=(height, width),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
