"""A frozen network that turns pictures or clips into features, with the preparation that it was trained with.

Legend: B batch, T frames of a clip, H and W pixels, C channels of the features.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinoscope.errors import KinoscopeError


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes an input: scaled while it is decoded, cut out of the middle, normalised."""

    resize: int | tuple[int, int]  # shorter side, or (height, width)
    crop: tuple[int, int]  # (height, width)
    mean: tuple[float, ...]  # of channels in 0..1
    std: tuple[float, ...]

    def reader_options(self) -> dict[str, Any]:
        """For `VideoReader`: the scaling, done by the decoder's own scaler."""
        return {"short_side": self.resize} if isinstance(self.resize, int) else {"size": self.resize}

    def __call__(self, pictures_BTHWC: np.ndarray, device: torch.device) -> Tensor:
        """uint8 pictures to normalised float (B, T, 3, H, W), channels last in memory."""
        height, width = self.crop
        top, left = (
            round((have - want) / 2) for have, want in zip(pictures_BTHWC.shape[2:4], self.crop, strict=True)
        )
        if top < 0 or left < 0:
            raise KinoscopeError("a picture is smaller than the cut-out", field="crop", value=self.crop)
        cut = np.ascontiguousarray(pictures_BTHWC[:, :, top : top + height, left : left + width])
        x = torch.from_numpy(cut).to(device).float()
        mean = torch.tensor(self.mean, device=device) * 255
        std = torch.tensor(self.std, device=device) * 255
        return x.sub_(mean).div_(std).permute(0, 1, 4, 2, 3)


class Encoder:
    """A network without its classifier. Call it with uint8 (B, T, H, W, 3); the features are float32 (B, C).

    clips: whether the network sees T frames at once; otherwise T must be 1. weights: where the numbers are from, as
    part of the identity. Raises KinoscopeError where the network cannot take clips of `window` frames.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        preparation: Preparation,
        *,
        weights: str,
        clips: bool = False,
        window: int = 16,
        device: str | torch.device = "cpu",
    ) -> None:
        self.name, self.preparation, self.weights, self.clips = name, preparation, weights, clips
        self.device = torch.device(device)
        self._network = network.eval().requires_grad_(False).to(self.device)
        if not clips:  # depthwise convolutions on a CPU run half as fast again in this layout
            self._network = self._network.to(memory_format=torch.channels_last)
        self.channels = self._try(window if clips else 1)

    @property
    def identity(self) -> dict[str, Any]:
        """Name, weights and preparation as plain values: two encoders are the same if these are."""
        values = {"name": self.name, "weights": self.weights, **asdict(self.preparation)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @torch.inference_mode()
    def __call__(self, pictures_BTHWC: np.ndarray) -> np.ndarray:
        x_BTCHW = self.preparation(pictures_BTHWC, self.device)
        x = x_BTCHW.transpose(1, 2) if self.clips else x_BTCHW[:, 0]
        features: np.ndarray = self._network(x).flatten(1).float().cpu().numpy()
        return features

    def _try(self, frames: int) -> int:
        """One pass over a black clip: the number of channels."""
        height, width = self.preparation.crop
        try:
            return int(self(np.zeros((1, frames, height, width, 3), np.uint8)).shape[1])
        except (RuntimeError, ValueError, IndexError, AssertionError) as error:
            raise KinoscopeError(
                f"{self.name} cannot take clips of {frames} frames: {str(error).splitlines()[0][:120]}",
                field="window",
                value=frames,
                remedy="give the window that the network was trained with; most take 16",
            ) from error
