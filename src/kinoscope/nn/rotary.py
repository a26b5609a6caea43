"""Rotary position embedding (RoFormer, arXiv 2104.09864), in the half-split form.

The angle of position t and channel pair i is t * 10000^(-2i / d); channel i is turned together with channel
i + d/2 (not with its neighbour).
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary(x_BHTd: Tensor, start: int = 0, base: float = 10000.0) -> Tensor:
    """x turned by its position: [B, H, T, d], d even; the first step stands at position `start`."""
    half = x_BHTd.shape[-1] // 2
    device = x_BHTd.device
    rate_d = base ** (-torch.arange(half, device=device, dtype=torch.float32) / half)
    position_T = torch.arange(start, start + x_BHTd.shape[-2], device=device, dtype=torch.float32)
    angle_Td = position_T[:, None] * rate_d
    cos_Td, sin_Td = angle_Td.cos().to(x_BHTd.dtype), angle_Td.sin().to(x_BHTd.dtype)
    a, b = x_BHTd[..., :half], x_BHTd[..., half:]
    return torch.cat([a * cos_Td - b * sin_Td, b * cos_Td + a * sin_Td], dim=-1)
