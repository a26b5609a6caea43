"""Contrast of a query with a momentum-encoded key and a queue: SkeletonCLR and AimCLR.

Shapes: N clips, D embedding, K queue length. AimCLR sections 3.2 to 3.4, MoCo. Differences from the
official code:
1. several processes: all keys are gathered and written as one block (there, most slots went stale);
2. the queue is written, and its pointer moved, by `enqueue`, after the losses;
3. the key is encoded first, while no activation is kept (the same numbers: its encoder is independent of the pass).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.errors import KinoscopeError
from kinoscope.skeleton.models.time_encoder import AnyConfig, build_encoder


@dataclass
class Contrast:
    """What the losses need. logits (N, 1+K) are over the temperature, column 0 the key; `keys` go to the
    queue.

    `extreme` and `dropped` are the logits of the extreme view without and with the drop (AimCLR only),
    `positives`
    (N, 1+K) marks key and mined neighbours (second stage only).
    """

    logits: Tensor
    keys: Tensor
    extreme: Tensor | None = None
    dropped: Tensor | None = None
    positives: Tensor | None = None


def nearest(similarity_NK: Tensor, count: int) -> Tensor:
    """(N, K) one at the `count` largest similarities of a row."""
    return torch.zeros_like(similarity_NK).scatter_(1, similarity_NK.topk(count, 1).indices, 1.0)


@torch.no_grad()
def follow(key: nn.Module, query: nn.Module, momentum: float) -> None:
    """key <- momentum * key + (1 - momentum) * query, parameters only (norm statistics are each one's
    own)."""
    keys: list[Tensor] = list(key.parameters())
    queries: list[Tensor] = list(query.parameters())
    torch._foreach_mul_(keys, momentum)
    torch._foreach_add_(keys, queries, alpha=1.0 - momentum)


@torch.no_grad()
def write_queue(queue_DK: Tensor, pointer: Tensor, keys_ND: Tensor) -> None:
    """Writes the keys over the oldest block and moves the pointer on."""
    size, count = queue_DK.shape[1], len(keys_ND)
    if size % count:
        raise KinoscopeError(
            "the queue must hold a whole number of batches", field="queue_size", value=(size, count)
        )
    start = int(pointer)
    queue_DK[:, start : start + count] = keys_ND.T
    pointer[0] = (start + count) % size


class SkeletonCLR(nn.Module):
    """Query and key encoders, and the queue of earlier keys."""

    def __init__(
        self,
        config: AnyConfig,
        feature_dim: int = 128,
        queue_size: int = 32768,
        momentum: float = 0.999,
        temperature: float = 0.07,
        mlp: bool = True,
    ) -> None:
        super().__init__()
        self.momentum, self.temperature = momentum, temperature
        self.queue: Tensor
        self.pointer: Tensor
        self.register_buffer("queue", F.normalize(torch.randn(feature_dim, queue_size), dim=0))
        self.register_buffer("pointer", torch.zeros(1, dtype=torch.long))
        self.query = build_encoder(config, feature_dim, mlp)
        self.key = build_encoder(config, feature_dim, mlp)
        self.key.load_state_dict(self.query.state_dict())
        self.key.requires_grad_(False)

    @torch.no_grad()
    def encode_key(self, x_NCTVM: Tensor) -> Tensor:
        """Moves the key encoder towards the query encoder, then encodes."""
        follow(self.key, self.query, self.momentum)
        return F.normalize(self.key(x_NCTVM))

    def logits(self, z_ND: Tensor, similarity_NK: Tensor, keys_ND: Tensor) -> Tensor:
        """(N, 1+K) over the temperature."""
        return torch.cat([(z_ND * keys_ND).sum(1, keepdim=True), similarity_NK], 1) / self.temperature

    def enqueue(self, keys_ND: Tensor, gather: Callable[[Tensor], Tensor] | None = None) -> None:
        """Keys of all processes (`gather`) become the newest block of the queue."""
        write_queue(self.queue, self.pointer, keys_ND if gather is None else gather(keys_ND))

    def forward(self, query: Tensor, key: Tensor) -> Contrast:
        keys = self.encode_key(key)
        z = F.normalize(self.query(query))
        return Contrast(self.logits(z, z @ self.queue.clone(), keys), keys)


class AimCLR(SkeletonCLR):
    """SkeletonCLR with an extreme view, the attention-guided drop and mined neighbours."""

    def forward(self, extreme: Tensor, query: Tensor, key: Tensor, mine: int = 0) -> Contrast:  # type: ignore[override]
        """`mine`: neighbours per view that count as positives (second stage); 0: the key alone."""
        keys = self.encode_key(key)
        z = F.normalize(self.query(query))
        views = [z, *(F.normalize(v) for v in self.query.forward_dropped(extreme))]
        negatives = self.queue.clone()  # the backward pass needs the queue as it was
        similarities = [v @ negatives for v in views]
        logits = [self.logits(v, s, keys) for v, s in zip(views, similarities, strict=True)]
        positives = None
        if mine:
            mined = torch.stack([nearest(s.detach(), mine) for s in similarities]).amax(0)
            positives = torch.cat([torch.ones_like(mined[:, :1]), mined], 1)
        return Contrast(logits[0], keys, logits[1], logits[2], positives)
