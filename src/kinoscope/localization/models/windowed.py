"""Long videos: windows over time with the right overlap, equal to the whole.

Memory of the network does not grow with the video: one window runs at a time, and of its outputs only the
points that see nothing beyond its borders are kept.

Shape suffixes: B batch, C channels, T time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from kinoscope.localization.models.config import ModelConfig
from kinoscope.localization.models.localizer import Localizer, LocalizerOutput

WINDOW = 2304  # steps of output of one window: memory against the share of the overlap
Take = Callable[[int, int], tuple[Tensor, Tensor]]


def receptive_field(config: ModelConfig) -> int | None:
    """Steps at either side that a point of the output can depend on; None where that is everything.

    Every layer adds half of its kernel or window at its own stride. Global attention sees everything, and so do
    the means over time of SGP layers.
    """
    if config.backbone_type == "sgp":
        return None
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
    bins = config.reg_max if config.model_name == "TriDet" else 0  # boundaries are looked up so far away
    return reach + (config.head_num_layers * (config.head_kernel_size // 2) + bins) * coarsest


def window_overlap(config: ModelConfig, length: int, window: int = WINDOW) -> int | None:
    """Steps at either side that windows over `length` steps need; None where the network takes it whole.

    That is where attention is global, or where one window would hold everything.
    """
    reach = receptive_field(config)
    if reach is None:
        return None
    overlap = -(-reach // config.strides[-1]) * config.strides[-1]
    return overlap if length > window + 2 * overlap else None


@torch.no_grad()
def output_windows(
    model: Localizer, config: ModelConfig, take: Take, length: int, window: int = WINDOW
) -> Iterator[tuple[int, LocalizerOutput]]:
    """(first step, output) of successive pieces of an input of `length` steps, `window` steps of output each.

    take(first, last): the input between two steps as x_BTC and mask_BT. Together the pieces equal the whole up to
    rounding; positions are those of the whole input.
    """
    coarsest = config.strides[-1]
    window = max(window // coarsest, 1) * coarsest
    overlap = window_overlap(config, length, window)
    if overlap is None:
        yield 0, model.heads(*model.backbone(*take(0, length)))
        return
    for start in range(0, length, window):
        first, last = max(start - overlap, 0), min(start + window + overlap, length)
        output = model.heads(*model.backbone(*take(first, last), first, length))
        yield start, _cut(output, config.strides, start - first, window)


@torch.no_grad()
def windowed_forward(
    model: Localizer, config: ModelConfig, x_BCT: Tensor, mask_B1T: Tensor, window: int = WINDOW
) -> LocalizerOutput:
    """`model(x, mask)` piece by piece: T as in `Localizer.forward`."""

    def take(first: int, last: int) -> tuple[Tensor, Tensor]:
        return x_BCT[..., first:last].transpose(1, 2).contiguous(), mask_B1T[:, 0, first:last]

    pieces = [piece for _, piece in output_windows(model, config, take, x_BCT.shape[-1], window)]
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
