"""Demand behind a stock-out: what was sold is a lower bound, and the model says what was likely above it.

Here: the expected demand and a draw of it, given that it was at least the bound. Not here: the model itself.
"""

from __future__ import annotations

import numpy as np

from ml.features import Doubles, Floats


def expected_above(grid: Floats, bound: Doubles) -> Doubles:
    """Return E[Y | Y >= bound] under a quantile function; the bound itself where all of it lies below.

    Args:
        grid: equally likely values, rising along each row, units [rows, n].
        bound: least demand, units [rows].
    """
    above = grid >= bound[:, None]
    count = above.sum(axis=1)
    total = np.where(above, grid, 0.0).sum(axis=1, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), bound)


def draw_above(grid: Floats, bound: Doubles, uniform: Doubles) -> Doubles:
    """Return one draw of Y given Y >= bound for each row; arguments as `expected_above`, uniform in [0, 1) [rows]."""
    n = grid.shape[1]
    first = (grid < bound[:, None]).sum(axis=1)
    place = np.minimum(first + (uniform * (n - first)).astype(np.int64), n - 1)
    drawn = grid[np.arange(len(grid)), place].astype(np.float64)
    return np.asarray(np.maximum(drawn, bound), dtype=np.float64)
