"""CrosSCLR (CVPR 2021), the three-stream baseline, as AimCLR's code base holds it.

1. The motion and bone projectors contain the joint stream's whole projector (the same tensors): kept for
   checkpoints. 2. In the second stage only the motion key encoder follows its query: `follow_all` repairs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.media.layouts import Layout
from kinoscope.skeleton.models.contrast import follow, nearest, write_queue
from kinoscope.skeleton.models.encoder import ClipEncoder
from kinoscope.skeleton.models.time_encoder import AnyConfig, build_encoder
from kinoscope.skeleton.streams import STREAMS, stream

PAIRS = tuple((a, b) for a in STREAMS for b in STREAMS if a != b)


@dataclass
class CrossContrast:
    """Per stream (first stage) or per pair "joint-motion" (second): logits and positives; keys per stream."""

    logits: dict[str, Tensor]
    positives: dict[str, Tensor]
    keys: dict[str, Tensor]


def _suffix(name: str) -> str:
    return "" if name == "joint" else f"_{name}"


class CrosSCLR(nn.Module):
    """Three query encoders, three key encoders, three queues; `classes` instead builds the downstream
    model."""

    def __init__(
        self,
        config: AnyConfig,
        feature_dim: int = 128,
        queue_size: int = 32768,
        momentum: float = 0.999,
        temperature: float = 0.07,
        mlp: bool = True,
        classes: int | None = None,
        follow_all: bool = False,
    ) -> None:
        super().__init__()
        self.momentum, self.temperature, self.follow_all = momentum, temperature, follow_all
        self.layout: Layout = config.layout
        self.downstream = classes is not None
        if classes is not None:
            for name in STREAMS:
                self.add_module(f"query{_suffix(name)}", build_encoder(config, classes))
            return
        for name in STREAMS:
            queue = F.normalize(torch.randn(feature_dim, queue_size), dim=0)
            self.register_buffer(f"queue{_suffix(name)}", queue)
            self.register_buffer(f"pointer{_suffix(name)}", torch.zeros(1, dtype=torch.long))
        for name in STREAMS:
            query, key = build_encoder(config, feature_dim, mlp), build_encoder(config, feature_dim, mlp)
            self.add_module(f"query{_suffix(name)}", query)
            self.add_module(f"key{_suffix(name)}", key)
            if name != "joint" and mlp:
                for side, encoder in (("query", query), ("key", key)):
                    shared = self.part(side, "joint").head
                    first = nn.Linear(config.hidden_dim, config.hidden_dim)
                    encoder.head = nn.Sequential(first, nn.ReLU(), shared)
            key.load_state_dict(query.state_dict())
            key.requires_grad_(False)

    def part(self, side: str, name: str) -> ClipEncoder:
        """The `query` or `key` encoder of a stream."""
        module = getattr(self, side + _suffix(name))
        assert isinstance(module, ClipEncoder)
        return module

    def forward(self, query: Tensor, key: Tensor, mine: int = 0, context: bool = True) -> CrossContrast:
        """`mine` 0: first stage; otherwise the neighbours taken from the other streams (second stage)."""
        z = {s: F.normalize(self.part("query", s)(stream(query, s, self.layout))) for s in STREAMS}
        keys = self._keys(key, STREAMS if not mine or self.follow_all else ("motion",))
        negative = {s: z[s] @ getattr(self, f"queue{_suffix(s)}").clone() for s in STREAMS}
        positive = {s: (z[s] * keys[s]).sum(1, keepdim=True) for s in STREAMS}
        logits: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        if not mine:
            logits = {s: torch.cat([positive[s], negative[s]], 1) / self.temperature for s in STREAMS}
            return CrossContrast(logits, {}, keys)
        for a, b in PAIRS:
            both = [positive[a], negative[a], *([negative[a] * negative[b]] if context else [])]
            chosen = nearest(negative[b].detach(), mine)
            marks = [torch.ones_like(chosen[:, :1]), chosen, *([chosen] if context else [])]
            logits[f"{a}-{b}"], masks[f"{a}-{b}"] = torch.cat(both, 1) / self.temperature, torch.cat(marks, 1)
        return CrossContrast(logits, masks, keys)

    @torch.no_grad()
    def _keys(self, x_NCTVM: Tensor, followed: tuple[str, ...]) -> dict[str, Tensor]:
        for s in followed:
            follow(self.part("key", s), self.part("query", s), self.momentum)
        return {s: F.normalize(self.part("key", s)(stream(x_NCTVM, s, self.layout))) for s in STREAMS}

    def enqueue(self, keys: dict[str, Tensor], gather: Callable[[Tensor], Tensor] | None = None) -> None:
        """Every stream's keys into its own queue."""
        for s, value in keys.items():
            queue, pointer = getattr(self, f"queue{_suffix(s)}"), getattr(self, f"pointer{_suffix(s)}")
            write_queue(queue, pointer, value if gather is None else gather(value))

    def classify(self, x_NCTVM: Tensor, view: str = "all") -> Tensor:
        """Downstream logits of one stream, or the mean of the three."""
        chosen = STREAMS if view == "all" else (view,)
        scores = [self.part("query", s)(stream(x_NCTVM, s, self.layout)) for s in chosen]
        return torch.stack(scores).mean(0)
