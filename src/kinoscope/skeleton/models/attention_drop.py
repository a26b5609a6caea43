"""Energy-based attention-guided drop (AimCLR, "EADM"): drops what the features attend to most.

1. The normalisers run over the whole batch, and the second mask comes from the same attention map as the
   first:
   reproduced. 2. Where everything would be dropped the original divides by zero; here nothing is kept, as
   zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Dropped:
    """features (B,C,T,V) after both drops; attention in (0.62, 1); joints_BV and elements_BCTV: 1 where
    kept."""

    features: Tensor
    attention: Tensor
    joints: Tensor
    elements: Tensor


def attention_drop(x_BCTV: Tensor, keep: float = 0.7, smoothing: float = 1e-4) -> Dropped:
    """Zeroes joints and elements whose attention reaches `keep`, rescaled by the kept share of the batch."""
    with torch.no_grad():
        squares = (x_BCTV - x_BCTV.mean((2, 3), keepdim=True)).square_()
        variance = squares.sum((2, 3), keepdim=True) / (x_BCTV.shape[2] * x_BCTV.shape[3] - 1)
        attention = (squares / (4 * (variance + smoothing)) + 0.5).sigmoid_()
        joints = (attention.mean((1, 2)) < keep).to(x_BCTV.dtype)
        elements = (attention < keep).to(x_BCTV.dtype)
        joint_scale = joints.numel() / joints.sum().clamp(min=1)
        element_scale = elements.numel() / elements.sum().clamp(min=1)
        mask = elements * (joints * (joint_scale * element_scale))[:, None, None, :]
    return Dropped(x_BCTV * mask, attention, joints, elements)
