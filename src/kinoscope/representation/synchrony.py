"""Clips that show one moment from several sides: is a frame of one found again in another at its own instant?

Embeddings know how far through its clip a frame is, which alone would answer for whole clips of one length; so the
query is also cut to its middle half and embedded by itself (`cut`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from kinoscope.representation import evaluate
from kinoscope.representation.data import Source
from kinoscope.representation.inference import embed_clips

Arrays = list[np.ndarray]


def middle(length: int) -> slice:
    """The middle half of a clip."""
    return slice(length // 4, length // 4 + max(length // 2, 1))


def errors(queries: Arrays, keys: Arrays, starts: list[int], labels: list[int]) -> np.ndarray:
    """Distance in frames between every query frame and its nearest frame in every other clip of its class."""
    found = [
        np.abs(evaluate.nearest(queries[a], keys[b]) - starts[a] - np.arange(len(queries[a])))
        for a in range(len(queries))
        for b in range(len(keys))
        if a != b and labels[a] == labels[b]
    ]
    return np.concatenate(found) if found else np.zeros(0)


def synchrony(model: nn.Module, source: Source, test: Arrays, device: torch.device) -> dict[str, Any]:
    """{"synchrony": {what: median error in frames}} of the test clips, for embeddings and features, whole and cut."""
    labels = [clip.label for clip in source.test]
    parts = [middle(len(clip.features)) for clip in source.test]
    cut = embed_clips(model, [c.features[p] for c, p in zip(source.test, parts, strict=True)], device)
    starts = [part.start for part in parts]
    result = {"embeddings": (test, cut)}
    for name, (_, frozen) in source.baselines().items():
        result[name] = (frozen, [x[p] for x, p in zip(frozen, parts, strict=True)])
    table = {}
    for name, (whole, short) in result.items():
        for kind, queries, begin in (("", whole, [0] * len(whole)), ("_cut", short, starts)):
            found = errors(queries, whole, begin, labels)
            if len(found):
                table[name + kind] = float(np.median(found))
    return {"synchrony": table}
