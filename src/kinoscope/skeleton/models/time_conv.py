"""A convolution over time through the Fourier domain: what the wide last block of the encoder spends its time on.

Shapes: V joints, T frames, B bodies, C channels, F products. A kernel of 9 frames over T = 13 costs 13 x 9 channel
products (256 x 256 each) directly. On L >= T + 4 frames (L odd) a real discrete Fourier transform turns it into one
product per frequency; a complex one takes three real ones (Gauss): 1 + 3 (L - 1) / 2 = 25 in all. Equal to the direct
sum up to rounding (3e-6 of the largest value in float32).
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_CHANNELS = 128  # narrower layers are bound by memory: the direct convolution wins


def conv_1x1(x_RSBC: Tensor, weight_OI: Tensor) -> Tensor:
    """(R, S, B, O): a linear layer over the last axis, as the convolution that vector units run fastest."""
    x = x_RSBC.permute(0, 3, 1, 2)
    return F.conv2d(x, weight_OI[:, :, None, None]).permute(0, 2, 3, 1)


@functools.lru_cache(maxsize=32)
def _transforms(frames: int, kernel: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Matrices (F, T) of the input, (F, kernel) of the weights and (T, F) back."""
    half = kernel // 2
    length = frames + half + (frames + half + 1) % 2  # odd: no frequency without an imaginary part but zero
    steps = torch.arange(1, (length - 1) // 2 + 1, dtype=torch.float64)[:, None] * (2 * math.pi / length)
    at = steps * torch.arange(frames)
    cos, sin = torch.cos(at), torch.sin(at)
    shift = steps * (half - torch.arange(kernel))
    real, imaginary = torch.cos(shift), -torch.sin(shift)
    into = torch.cat([torch.ones(1, frames), cos - sin, cos, -sin])  # a + b, a, b of a + ib
    weights = torch.cat([torch.ones(1, kernel), real, imaginary - real, real + imaginary])
    back = torch.cat([torch.ones(frames, 1), 2 * (cos - sin).T, -2 * sin.T, -2 * cos.T], 1) / length
    return tuple(m.to(device, dtype) for m in (into, weights, back))


def fourier_conv(x_VTBC: Tensor, weight_OIK: Tensor) -> Tensor:
    """(V, T, B, O): stride 1, zero padding of K // 2 frames at either end, without bias; K odd."""
    V, T, B, C = x_VTBC.shape
    into, weights, back = _transforms(T, weight_OIK.shape[2], x_VTBC.device, x_VTBC.dtype)
    x_FVBC = (into @ x_VTBC.transpose(0, 1).reshape(T, -1)).view(-1, V, B, C)
    w_FOI = (weights @ weight_OIK.permute(2, 0, 1).reshape(weight_OIK.shape[2], -1)).view(
        -1, *weight_OIK.shape[:2]
    )
    y = [conv_1x1(x[:, None], w) for x, w in zip(x_FVBC.unbind(), w_FOI.unbind(), strict=True)]
    flat = torch.stack(y).view(len(y), -1)
    return (back @ flat).view(T, V, B, -1).transpose(0, 1)
