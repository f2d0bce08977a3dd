"""Which class a series belongs to: by how its demand comes, and by its share of value.

Here: pure functions of arrays. Not here: what is done differently for a class.
"""

from __future__ import annotations

import numpy as np

from ml.schema import Doubles


def demand_class(history: Doubles) -> list[str]:
    """Return smooth, erratic, intermittent, lumpy or none for each series, by ADI (1.32) and CV squared (0.49).

    ADI = observed periods from the first sale on over periods with demand; CV squared = that of the demand sizes.
    Syntetos, Boylan and Croston 2005, J. Operational Research Society 56, p. 500.
    """
    sold = np.nan_to_num(history) > 0
    count = sold.sum(axis=1)
    first = np.where(count > 0, sold.argmax(axis=1), history.shape[1])
    active = np.isfinite(history) & (np.arange(history.shape[1])[None, :] >= first[:, None])
    interval = active.sum(axis=1) / np.maximum(count, 1)
    sizes = np.where(sold, history, 0.0)
    mean = sizes.sum(axis=1) / np.maximum(count, 1)
    variance = np.square(sizes).sum(axis=1) / np.maximum(count, 1) - mean**2
    erratic = variance / np.maximum(mean, 1e-12) ** 2 >= 0.49
    rare = interval >= 1.32
    names = np.where(rare, np.where(erratic, "lumpy", "intermittent"), np.where(erratic, "erratic", "smooth"))
    return [str(name) for name in np.where(count > 0, names, "none")]


def abc_class(value: Doubles) -> list[str]:
    """Return A for the series that make the first 80 % of value, B to 95 %, C for the rest."""
    order = np.argsort(-value, kind="stable")
    before = np.concatenate([[0.0], np.cumsum(value[order])[:-1]]) / max(float(value.sum()), 1e-12)
    result = np.empty(len(value), dtype=object)
    result[order] = np.where(before < 0.8, "A", np.where(before < 0.95, "B", "C"))
    return [str(name) for name in result]
