"""Starting weights of the ResNet-50 from files of BYOL, SimCLR, MoCo v2 or torchvision (CARL, section 3.7).

Officially the function that reads them is never called (quirk 5); here `model.trunk.network` says what is loaded.
Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinoscope.errors import KinoscopeError
from kinoscope.representation.models import FrameEncoder
from kinoscope.representation.settings import Trunk

# network -> file below `pretrained_models`, entry that holds the tensors
FILES = {
    "byol": ("BYOL_1000.pth", "model"),
    "simclr": ("simclr_imagenet.ckpt", "state_dict"),
    "mocov2": ("moco_v2_200ep_pretrain.pth.tar", "state_dict"),
    "pretrained": ("resnet50-0676ba61.pth", None),
}


def resnet_state(network: str, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of a file under torchvision's names; those of other parts (momentum encoder, head) fall away.

    >>> list(resnet_state("mocov2", {"state_dict": {"module.encoder_q.conv1.weight": 1, "module.queue": 2}}))
    ['conv1.weight']
    """
    entry = FILES[network][1]
    tensors: Mapping[str, Any] = content.get(entry, content) if entry else content
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if network == "pretrained":
            found[name] = value
        elif network == "mocov2" and name.startswith("module.encoder_q."):
            found[name.removeprefix("module.encoder_q.")] = value
        elif network == "byol" and "encoder" in name and "encoder_k" not in name:
            found[name.split("module.encoder.")[-1]] = value
        elif network == "simclr" and "encoder" in name and "momentum_encoder" not in name:
            short = name.split("encoder.")[-1]
            found["conv1.weight" if short == "v1.weight" else short] = value
    return {name: value for name, value in found.items() if not name.startswith("fc.")}


def load_trunk(model: FrameEncoder, trunk: Trunk, root: Path) -> None:
    """Weights of trunk and tail. Raises KinoscopeError where the file is missing or is of another network."""
    if trunk.network == "random":
        return
    path = Path(trunk.weights) if trunk.weights else root / "pretrained_models" / FILES[trunk.network][0]
    if not path.is_file():
        raise KinoscopeError(
            "the starting weights are not there",
            file=path,
            field="model.trunk",
            value=trunk.network,
            remedy="model.trunk.weights=FILE, or model.trunk.network=random",
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or foreign file
        raise KinoscopeError(
            "these weights cannot be read", file=path, value=" ".join(str(error).split())[:160]
        ) from error
    given = resnet_state(trunk.network, content)
    own = {torchvision_name(name, trunk.layer): name for name in model.state_dict() if _of_resnet(name)}
    missing = sorted(name for name in own if name not in given and not name.endswith("num_batches_tracked"))
    if missing:
        raise KinoscopeError(
            f"these are no weights of {trunk.network}: missing {missing[:5]}",
            file=path,
            field="model.trunk.network",
            value=f"{len(missing)} tensors",
            remedy="name the kind of the file: byol, simclr, mocov2 or pretrained",
        )
    model.load_state_dict({own[name]: value for name, value in given.items() if name in own}, strict=False)


def _of_resnet(name: str) -> bool:
    return name.startswith(("trunk.", "tail."))


STEM = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def torchvision_name(ours: str, layer: int) -> str:
    """The torchvision name of an entry of trunk or tail; layer: the last stage of the trunk.

    >>> torchvision_name("trunk.4.0.conv1.weight", 3), torchvision_name("tail.1.bn2.bias", 3)
    ('layer1.0.conv1.weight', 'layer4.1.bn2.bias')
    >>> torchvision_name("tail.0.5.bn1.bias", 2)
    'layer3.5.bn1.bias'
    """
    part, _, rest = ours.partition(".")
    if part == "tail" and layer == 3:
        return f"layer4.{rest}"
    number, _, inside = rest.partition(".")
    return f"{STEM[int(number) + (6 if part == 'tail' else 0)]}.{inside}"
