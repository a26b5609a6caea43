"""Adjacency stacks of a skeleton graph (ST-GCN; AimCLR's encoder, section 4.1 of its code's description).

1. The spatial partition compares *truncated* hop distances, so nearly every link falls in the second matrix.
   True distances would break parity with every published checkpoint.
"""

from __future__ import annotations

import numpy as np

from kinoscope.errors import KinoscopeError
from kinoscope.media.layouts import Layout

STRATEGIES = ("uniform", "distance", "spatial")


def hop_distances(layout: Layout, max_hop: int = 1) -> np.ndarray:
    """(V, V) links between two joints, infinity beyond `max_hop`."""
    links = np.eye(layout.count)
    for a, b in layout.links:
        links[a, b] = links[b, a] = 1
    hops = np.full(links.shape, np.inf)
    for distance in range(max_hop, -1, -1):
        hops[np.linalg.matrix_power(links, distance) > 0] = distance
    return hops


def adjacency(layout: Layout, strategy: str = "spatial", max_hop: int = 1, dilation: int = 1) -> np.ndarray:
    """(K, V, V) float64, columns normalised; K follows from strategy and number of hops."""
    if strategy not in STRATEGIES:
        raise KinoscopeError(
            "there is no such partition",
            field="strategy",
            value=strategy,
            remedy=f"one of {', '.join(STRATEGIES)}",
        )
    hops = hop_distances(layout, max_hop)
    valid = range(0, max_hop + 1, dilation)
    linked = np.isin(hops, list(valid)).astype(float)
    total = linked.sum(0)
    normal = linked / np.where(total > 0, total, 1)
    if strategy == "uniform":
        return normal[None]
    if strategy == "distance":
        return np.stack([np.where(hops == hop, normal, 0) for hop in valid])
    to_centre = hops[:, layout.centre]
    rows, columns = to_centre[:, None], to_centre[None, :]
    stack = []
    for hop in valid:
        here = np.where(hops == hop, normal, 0)
        root, close = np.where(rows == columns, here, 0), np.where(rows > columns, here, 0)
        further = np.where(rows < columns, here, 0)
        stack += [root] if hop == 0 else [root + close, further]
    return np.stack(stack)
