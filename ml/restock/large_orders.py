"""Single customer orders too large to keep stock for.

Here belongs which order lines are left to a separate purchase. They stay demand; they stop shaping the stock level.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.schema import KEYS

COVER_PERIODS, FEWEST_UNITS = 28.0, 12.0


def split_large_orders(
    order_lines: pd.DataFrame,
    mean_demand: pd.DataFrame,
    *,
    cover_periods: float = COVER_PERIODS,
    fewest_units: float = FEWEST_UNITS,
) -> pd.DataFrame:
    """Mark the lines that alone take more than `cover_periods` of mean demand.

    Args:
        order_lines: sku, location_id, ordered_units and any other columns.
        mean_demand: sku, location_id, mean_units a period; an item without a row has no large orders.
        cover_periods: periods of mean demand above which a line is large.
        fewest_units: a line below this is never large, however slow the item.

    Returns:
        The lines with is_large (to be bought to order) and stocked_units (what stock should serve: 0 where large).

    Raises:
        ValueError: cover_periods is not above 0.
    """
    out = order_lines.merge(mean_demand[[*KEYS, "mean_units"]], on=KEYS, how="left")
    limit = largest_stocked(out["mean_units"], cover_periods, fewest_units=fewest_units)
    out["is_large"] = out["ordered_units"].astype(float) > limit
    out["stocked_units"] = out["ordered_units"].where(~out["is_large"], 0)
    return out.drop(columns="mean_units")


def largest_stocked(mean_units: pd.Series, cover_periods: float, *, fewest_units: float = FEWEST_UNITS) -> pd.Series:
    """Return the largest order that stock should serve: so many periods of mean demand, and never below a few units.

    Args:
        mean_units: mean demand of a period; missing = no limit.
        cover_periods: periods of it.
        fewest_units: an order up to this is never large, however slow the item.

    Raises:
        ValueError: cover_periods is not above 0.
    """
    if not cover_periods > 0:
        raise ValueError(f"cover_periods is {cover_periods}: give periods above 0")
    return (mean_units.astype(float) * cover_periods).clip(lower=fewest_units).fillna(np.inf)
