"""VideoMAE and V-JEPA 2 of the library transformers (extra `transformers`): the mean of the tokens of a clip.

Tong et al., "VideoMAE", NeurIPS 2022; Assran et al., "V-JEPA 2", 2025. `transformers/videomae` and
`transformers/vjepa2` take --weights FOLDER, as `save_pretrained` writes it or the hub gives it (config.json,
model.safetensors, preprocessor_config.json where there is one); `transformers/ORGANISATION/NAME` with
--weights published downloads it.
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kinoscope.encoders.encoder import Encoder, Preparation
from kinoscope.encoders.weights import FROM_FILE, PUBLISHED, needed
from kinoscope.errors import KinoscopeError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
KINDS = {
    "videomae": ("VideoMAEModel", 1.0),
    "vjepa2": ("VJEPA2Model", 292 / 256),
}  # class, shorter side / crop
LIBRARY = "transformers"


class TokenMean(nn.Module):
    """Clips (B, 3, T, H, W) to the mean of the network's tokens (B, D)."""

    def __init__(self, network: Any, kind: str) -> None:
        super().__init__()
        self.network, self.kind = network, kind

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        x_BTCHW = x_BCTHW.transpose(1, 2)
        if self.kind == "vjepa2":
            tokens: Tensor = self.network(pixel_values_videos=x_BTCHW, skip_predictor=True).last_hidden_state
        else:
            tokens = self.network(pixel_values=x_BTCHW).last_hidden_state
        return tokens.mean(1)


def create(name: str, weights: str | Path | None, *, window: int, device: str) -> Encoder:
    """The encoder of a kind with a folder of weights, or of a name on the hub. Raises KinoscopeError."""
    if find_spec(LIBRARY) is None:
        raise KinoscopeError(
            "the library transformers is not installed",
            field="encoder",
            value=name,
            remedy="pip install 'kinoscope[transformers]'",
        )
    if weights is None or (str(weights) == PUBLISHED and name in KINDS):
        raise needed(f"{LIBRARY}/{name}")
    import transformers

    place = name if str(weights) == PUBLISHED else _folder(Path(weights))
    try:
        config = transformers.AutoConfig.from_pretrained(place)
        kind = str(config.model_type)
        if kind not in KINDS or (name in KINDS and name != kind):
            raise KinoscopeError("this is another network", file=place, field="model_type", value=kind)
        network = getattr(transformers, KINDS[kind][0]).from_pretrained(place, config=config)
    except (OSError, ValueError) as error:
        raise KinoscopeError(
            "these weights cannot be loaded", file=place, value=" ".join(str(error).split())[:160]
        ) from error
    frames = int(getattr(config, "num_frames", 0) or getattr(config, "frames_per_clip", 0) or window)
    if kind == "videomae" and window != frames:  # its table of positions has one length
        raise KinoscopeError(
            f"{name} takes clips of {frames} frames",
            field="--window",
            value=window,
            remedy=f"--window {frames}",
        )
    return Encoder(
        f"{LIBRARY}/{kind if place is not name else name}",
        TokenMean(network, kind),
        preparation(config, kind, Path(place)),
        weights=f"{LIBRARY}:{name}" if place is name else _digest(Path(place)),
        clips=True,
        window=window,
        device=device,
    )


def preparation(config: Any, kind: str, folder: Path) -> Preparation:
    """From preprocessor_config.json (or video_preprocessor_config.json) of the folder, else as published."""
    size = config.image_size if kind == "videomae" else config.crop_size
    side = int(size if isinstance(size, int) else size[0])
    mean, std = IMAGENET
    for name in ("video_preprocessor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            values = json.loads((folder / name).read_text(encoding="utf-8"))
            mean, std = tuple(values.get("image_mean", mean)), tuple(values.get("image_std", std))
            break
    return Preparation(round(side * KINDS[kind][1]), (side, side), mean, std)


def _folder(path: Path) -> Path:
    if not (path / "config.json").is_file():
        raise KinoscopeError("a folder with config.json and weights is needed", file=path, field="--weights")
    return path


def _digest(folder: Path) -> str:
    """The first sixteen digits of the SHA-256 of all weights files."""
    total = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        total.update(file.read_bytes())
    return FROM_FILE + total.hexdigest()[:16]
