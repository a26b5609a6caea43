"""Dynamic time warping: the classic recursion, one anti-diagonal at a time.

Moves (i-1, j-1), (i-1, j), (i, j-1); the path goes back from the end by the smallest of (diagonal, up, left), the
first on ties.
"""

from __future__ import annotations

import numpy as np


def accumulated_cost(cost: np.ndarray) -> np.ndarray:
    """(n, m) costs of at least one row and column -> (n, m) cost of the cheapest path to each cell.

    Anti-diagonal d is row d of a skewed table, so that all cells of one are computed at once.

    >>> accumulated_cost(np.array([[1.0, 2.0], [3.0, 1.0]]))
    array([[1., 3.],
           [4., 2.]])
    """
    cost = np.asarray(cost, np.float64)
    n, m = cost.shape
    row, column = np.indices((n, m))
    skew = np.full((n + m - 1, n), np.inf)
    skew[row + column, row] = cost
    before = np.full(n + 1, np.inf)  # the diagonal two back, one place to the right: entry i is row i - 1
    last = before.copy()
    last[1] = skew[0, 0]
    skew[0, 0] = last[1]
    for d in range(1, n + m - 1):
        best = np.minimum(np.minimum(last[:-1], last[1:]), before[:-1])
        before, now = last, np.full(n + 1, np.inf)
        now[1:] = skew[d] + best
        skew[d] = now[1:]
        last = now
    return skew[row + column, row]


def warping_path(accumulated: np.ndarray) -> np.ndarray:
    """(2, L) rows and columns of the cheapest path, from the first cell to the last."""
    table = np.full((accumulated.shape[0] + 1, accumulated.shape[1] + 1), np.inf)
    table[1:, 1:] = accumulated
    i, j = accumulated.shape
    path = [(i - 1, j - 1)]
    rows = table.tolist()
    while i > 1 or j > 1:
        choices = (rows[i - 1][j - 1], rows[i - 1][j], rows[i][j - 1])
        move = choices.index(min(choices))
        i, j = i - (move != 2), j - (move != 1)
        path.append((i - 1, j - 1))
    return np.array(path[::-1], np.int64).T


def dtw(cost: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """(total cost, accumulated costs (n, m), path (2, L)) of a cost matrix (n, m)."""
    accumulated = accumulated_cost(cost)
    return float(accumulated[-1, -1]), accumulated, warping_path(accumulated)


def first_matches(path: np.ndarray) -> np.ndarray:
    """(n,) the first column of the path in each row."""
    rows, columns = path
    return columns[np.searchsorted(rows, np.arange(rows[-1] + 1))]
