"""Single customer orders too large to keep stock for.

Here belongs which order lines are left to a separate purchase. They stay demand; they stop shaping the stock level.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

KEYS = ["sku", "location_id"]
COVER_PERIODS = 28.0


def split_large_orders(
    order_lines: pd.DataFrame,
    mean_demand: pd.DataFrame,
    *,
    cover_periods: float = COVER_PERIODS,
    fewest_units: float = 12,
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
    if not cover_periods > 0:
        raise ValueError(f"cover_periods is {cover_periods}: give periods above 0")
    out = order_lines.merge(mean_demand[[*KEYS, "mean_units"]], on=KEYS, how="left")
    limit = (out["mean_units"].astype(float) * cover_periods).clip(lower=fewest_units).fillna(np.inf)
    out["is_large"] = out["ordered_units"].astype(float) > limit
    out["stocked_units"] = out["ordered_units"].where(~out["is_large"], 0)
    return out.drop(columns="mean_units")
