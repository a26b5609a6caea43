"""Long videos: windows over time with the right overlap, equal to the whole.

Memory of the network does not grow with the video: one window runs at a time, and of its outputs only the
points that see nothing beyond its borders are kept.

Shape suffixes: B batch, C channels, T time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kinoscope.localization.models.config import ModelConfig
from kinoscope.localization.models.localizer import Localizer, LocalizerOutput


def receptive_field(config: ModelConfig) -> int | None:
    """Steps at either side that a point of the output can depend on; None where attention is global.

    Every layer adds half of its kernel or window at its own stride.
    """
    embedding, stem, branch = config.backbone_arch
    conv = config.backbone_type == "conv"
    if not conv and any(window <= 1 for window in config.windows[1:] + config.windows[:1] * (stem > 0)):
        return None
    factor = config.scale_factor

    def block(level: int, stride: int) -> int:
        """Reach of a block, in steps, whose output lies on `level`."""
        unit_in, unit = factor**level // stride, factor**level
        if conv:
            return unit_in + unit
        entry = unit_in * (stride + 1)  # depth-wise convolution and pooling
        return entry + unit * (config.windows[level] // 2)

    reach = embedding * (config.embd_kernel_size // 2) + stem * block(0, 1)
    reach += sum(block(level, factor) for level in range(1, branch + 1))
    coarsest = factor**branch
    if config.fpn_type != "identity":  # top-down and bottom-up paths, and a convolution a level
        reach += 4 * factor * coarsest
    return reach + config.head_num_layers * (config.head_kernel_size // 2) * coarsest


@torch.no_grad()
def windowed_forward(
    model: Localizer, config: ModelConfig, x_BCT: Tensor, mask_B1T: Tensor, window: int = 4608
) -> LocalizerOutput:
    """`model(x, mask)` piece by piece: T as in `Localizer.forward`, `window` steps of output at a time.

    Equal to the whole up to rounding. Where attention is global, or a window would hold everything, it is the
    whole. Positions are those of the whole input.
    """
    length, coarsest = x_BCT.shape[-1], config.strides[-1]
    reach = receptive_field(config)
    overlap = 0 if reach is None else -(-reach // coarsest) * coarsest
    window = max(window // coarsest, 1) * coarsest
    if reach is None or length <= window + 2 * overlap:
        return model(x_BCT, mask_B1T)
    pieces = []
    for start in range(0, length, window):
        first, last = max(start - overlap, 0), min(start + window + overlap, length)
        x_BTC = x_BCT[..., first:last].transpose(1, 2).contiguous()
        features, masks = model.backbone(x_BTC, mask_B1T[:, 0, first:last], first, length)
        pieces.append(_cut(model.heads(features, masks), config.strides, start - first, window))
    return LocalizerOutput(
        *(
            [torch.cat(level, dim=1) for level in zip(*parts, strict=True)]
            for parts in zip(*pieces, strict=True)
        )
    )


def _cut(output: LocalizerOutput, strides: tuple[int, ...], start: int, window: int) -> LocalizerOutput:
    """The points of steps start..start + window, copied out of the window's memory."""
    return LocalizerOutput(
        *(
            [
                level[:, start // stride : (start + window) // stride].clone()
                for level, stride in zip(part, strides, strict=bool(part))
            ]
            for part in output
        )
    )
