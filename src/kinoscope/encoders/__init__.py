"""Frozen backbones that turn video into features, by name.

`lite0` (packaged weights), torchvision's video networks (`r2plus1d_18`, `s3d`, `mvit_v2_s`, `swin3d_t`, ...) and image
networks (`resnet50`, ...), any timm image network, VideoMAE and V-JEPA 2 of transformers. `torchvision/NAME`,
`timm/NAME` and `transformers/NAME` say which library is meant; a bare name is looked for in that order. Random weights
are refused. Encoders that take a video as a whole, poses and models trained here, are in `kinoscope.extractor`.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from kinoscope.encoders.encoder import Encoder, Preparation
from kinoscope.encoders.sampling import PRESETS, Sampling
from kinoscope.encoders.weights import FROM_FILE, PUBLISHED
from kinoscope.errors import KinoscopeError

__all__ = [
    "PRESETS",
    "Encoder",
    "Preparation",
    "Sampling",
    "create",
    "from_identity",
    "takes_clips",
]


def create(name: str, weights: str | Path | None = None, *, window: int = 16, device: str = "cpu") -> Encoder:
    """The encoder of a name, ready to use.

    weights: a file, or "published" for what the library downloads; `lite0` needs none. window: frames of a clip.
    Raises KinoscopeError for an unknown name, without weights, and where the weights or the window do not fit.
    """
    from kinoscope.encoders import lite0, timm_models, torchvision_models, transformers_models

    library, bare = _library(name)
    if library == "packaged":
        return lite0.create(device=device)
    if library == transformers_models.LIBRARY:
        return transformers_models.create(bare, weights, window=window, device=device)
    if library == "torchvision":
        return torchvision_models.create(bare, weights, window=window, device=device)
    return timm_models.create(bare, weights, device=device)


def from_identity(
    identity: dict[str, Any], weights: str | Path | None = None, *, device: str = "cpu"
) -> tuple[Encoder, Sampling]:
    """The encoder and the sampling that made features, from what a store or a model says of them.

    weights: the file of its weights, needed where they came from a file. Raises KinoscopeError where it cannot be made
    here, or the weights are others.
    """
    sampling = Sampling.model_validate(identity["sampling"])
    made = str(identity["weights"])
    if weights is None and made.startswith(FROM_FILE):
        raise KinoscopeError(
            f"the features are of {identity['name']} with weights from a file",
            field="encoder",
            value=made,
            remedy="name that file with --encoder-weights FILE",
        )
    source = PUBLISHED if weights is None else weights
    encoder = create(identity["name"], source, window=sampling.window, device=device)
    wanted = {key: value for key, value in identity.items() if key != "sampling"}
    if encoder.identity != wanted:
        raise KinoscopeError(
            f"the features are of {wanted}",
            field="encoder",
            value=encoder.identity,
            remedy="give the same weights",
        )
    return encoder, sampling


def takes_clips(name: str) -> bool:
    """Whether the encoder sees several frames at once. Raises KinoscopeError for an unknown name."""
    from kinoscope.encoders import torchvision_models, transformers_models

    library, bare = _library(name)
    if library == transformers_models.LIBRARY:
        return True
    return library == "torchvision" and bare in torchvision_models.video_names()


def _library(name: str) -> tuple[str, str]:
    """(library, name there)."""
    from kinoscope.encoders import lite0, timm_models, torchvision_models, transformers_models

    if name == lite0.NAME:
        return "packaged", name
    if name.startswith(f"{transformers_models.LIBRARY}/"):
        return transformers_models.LIBRARY, name.partition("/")[2]
    library, _, bare = name.rpartition("/")
    known = torchvision_models.video_names() + torchvision_models.image_names()
    if library in ("", "torchvision") and bare in known:
        return "torchvision", bare
    if library in ("", "timm") and timm_models.is_known(bare):
        return "timm", bare
    import timm

    names = dict.fromkeys([lite0.NAME, *known, *timm.list_models()])  # both libraries have a resnet18
    near = difflib.get_close_matches(bare, names, n=3)
    raise KinoscopeError(
        "there is no such encoder",
        field="encoder",
        value=name,
        remedy=f"did you mean {' or '.join(near)}?"
        if near
        else "take lite0, or a name of torchvision or timm",
    )
