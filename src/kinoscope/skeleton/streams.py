"""Joint, motion and bone streams of a batch of clips, x_NCTVM.

AimCLR section 3; computed on the device from the augmented joints. Bones follow from the layout
(official: NTU).
"""

from __future__ import annotations

import torch
from torch import Tensor

from kinoscope.errors import KinoscopeError
from kinoscope.media.layouts import NTU_25, Layout

STREAMS = ("joint", "motion", "bone")
ALL = "all"  # the three streams as channels of one encoder (ours)


def stream(x_NCTVM: Tensor, name: str, layout: Layout = NTU_25) -> Tensor:
    """One stream of (N, C, T, V, M) clips, same shape ("all": 3 C channels).

    motion: next frame minus this one, zero at the end; bone: joint minus the joint it hangs from.
    """
    if name == "joint":
        return x_NCTVM
    if name == ALL:
        return torch.cat([stream(x_NCTVM, each, layout) for each in STREAMS], 1)
    if name not in STREAMS:
        raise KinoscopeError(
            "there is no such stream", field="stream", value=name, remedy=f"one of {', '.join(STREAMS)}"
        )
    out = torch.zeros_like(x_NCTVM)
    if name == "motion":
        torch.sub(x_NCTVM[:, :, 1:], x_NCTVM[:, :, :-1], out=out[:, :, :-1])
        return out
    children, parents = map(list, zip(*layout.bone_pairs, strict=True))
    out[..., children, :] = x_NCTVM[..., children, :] - x_NCTVM[..., parents, :]
    return out
