"""Points of the pyramid and the length of a padded input (specification 4.3, 6.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kinoscope.errors import KinoscopeError
from kinoscope.localization.models.config import ModelConfig


class PointGenerator(nn.Module):
    """Rows (time, shortest range, longest range, stride) of every point, in steps; fine levels first."""

    def __init__(
        self, strides: Sequence[int], ranges: Sequence[Sequence[float]], max_length: int | float
    ) -> None:
        super().__init__()
        self.strides, self.ranges = tuple(strides), tuple((float(lo), float(hi)) for lo, hi in ranges)
        self.max_length = int(max_length)

    def forward(self, lengths: Sequence[int], device: torch.device | str = "cpu") -> list[Tensor]:
        """Points [T_l, 4] of levels that are `lengths` long; KinoscopeError beyond the longest input."""
        levels = []
        for stride, (lo, hi), length in zip(self.strides, self.ranges, lengths, strict=True):
            if length * stride > self.max_length:
                raise KinoscopeError(
                    f"the input is longer than {self.max_length} steps",
                    field="max_buffer_len_factor",
                    value=length * stride,
                    remedy="raise max_buffer_len_factor, or cut the video",
                )
            time = torch.arange(length, device=device, dtype=torch.float32) * stride
            rest = torch.tensor([lo, hi, float(stride)], device=device).expand(length, 3)
            levels.append(torch.cat([time[:, None], rest], dim=1))
        return levels


def max_div_factor(config: ModelConfig) -> int:
    """What an official input length is a multiple of: the largest stride * 2 * (window // 2) of a level.

    KinoscopeError where max_seq_len is not divisible by the unit of a level.
    """
    largest = 1
    for level in range(config.fpn_start_level, config.backbone_arch[2] + 1):
        window, stride = config.windows[level], config.scale_factor**level
        unit = stride * (window // 2) * 2 if window > 1 else stride
        if config.max_seq_len % unit:
            fitting = math.ceil(config.max_seq_len / unit) * unit
            raise KinoscopeError(
                f"level {level} with window {window} needs a multiple of {unit} steps",
                field="max_seq_len",
                value=config.max_seq_len,
                remedy=f"set max_seq_len to {fitting}, or change the window",
            )
        largest = max(largest, unit)
    return largest


def padded_length(length: int, config: ModelConfig, training: bool = False, exact: bool = True) -> int:
    """Steps to which a sequence of `length` steps is padded.

    exact: the official length: max_seq_len in training (KinoscopeError for longer sequences) and for short
    test videos, else the next multiple of `max_div_factor`. Not exact: the shortest length with the same
    outputs at unmasked points. Norms follow the masks, so convolutions at the last real step see the padding
    beside it: where the official length leaves as many padded steps on every level, those are kept and the
    rest is dropped; else, or where positions are stretched to the length, it is official.
    """
    if training and length > config.max_seq_len:
        raise KinoscopeError(
            "a training sequence is longer than max_seq_len",
            field="max_seq_len",
            value=length,
            remedy="crop it, or raise max_seq_len",
        )
    unit = max_div_factor(config)
    official = config.max_seq_len if length <= config.max_seq_len else math.ceil(length / unit) * unit
    if exact or (config.use_abs_pe and length > config.max_seq_len):
        return official
    seen = max(1, config.embd_kernel_size // 2, config.head_kernel_size // 2)
    strides = [config.scale_factor**level for level in range(config.backbone_arch[2] + 1)]
    if any(official // stride - math.ceil(length / stride) < seen for stride in strides):
        return official
    coarsest = strides[-1]
    # `seen` padded steps at the coarsest level are at least as many at every finer one
    return min(official, (math.ceil(length / coarsest) + seen) * coarsest)
