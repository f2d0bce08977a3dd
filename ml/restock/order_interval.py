"""How long an order is to last, so that what it costs whatever its size is paid less often.

Here belongs the number of reviews that an order covers. Whether a supplier's order is worth its fixed cost today is
decided in `ml.restock.allocation`, the level of an item in `ml.restock.targets`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.restock.inputs import STOCKED_TARGETS, column
from ml.schema import KEYS

# A fixed cost alone makes no order last longer: beyond four weeks the forecast, not the cost, is what is uncertain.
MOST_PERIODS = 28


def reviews_per_order(lines: pd.DataFrame, terms: pd.DataFrame, policy: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return how many reviews the orders to each supplier are to cover, with all of its items ordered together.

    The fixed cost K of an order that covers n reviews of R periods is K / n a review; it holds n R / 2 periods' demand
    more than needed. With h d the holding cost of a period's demand, summed over the supplier's items, the n with the
    least sum is the first with n (n + 1) ≥ 2 K / (R² Σ h d) (the economic order interval of a family of items in whole
    reviews: Silver, Pyke and Thomas, Inventory and Production Management in Supply Chains, 4th ed., section 10.3).

    Args:
        lines: as of `ml.restock.recommend`: what items ask for decides how long an order lasts.
        terms: likewise, with fixed_order_cost; 0 or missing = none.
        policy: likewise.

    Returns:
        Whole reviews, one per row of the terms: 1 where the supplier has no fixed cost, and at most as many as
        `MOST_PERIODS` hold.
    """
    fixed = column(terms, "fixed_order_cost", 0.0)
    if not (fixed > 0).any():
        return np.ones(len(terms), np.int64)
    known = terms[[*KEYS, "supplier_id", "review_periods"]].assign(fixed=fixed).merge(
        lines[[*KEYS, "target_type", "expected_demand_units", "protection_periods", "status"]], on=KEYS, how="left"
    )  # fmt: skip
    known = known.merge(policy[[*KEYS, "holding_cost"]].drop_duplicates(KEYS), on=KEYS, how="left")
    is_stocked = known["target_type"].isin(STOCKED_TARGETS) & (known["status"] != "exception")
    rate = known["expected_demand_units"] / known["protection_periods"].astype(float)
    known["held"] = (rate * known["holding_cost"]).where(is_stocked, 0.0).fillna(0.0)
    by_supplier = known.groupby("supplier_id").agg(
        fixed=("fixed", "max"), review=("review_periods", "max"), held=("held", "sum")
    )
    cost, review, held = (by_supplier[name].to_numpy(dtype=np.float64) for name in ("fixed", "review", "held"))
    with np.errstate(divide="ignore", invalid="ignore"):
        # Nothing is asked for where nothing is held.
        ratio = np.where((cost > 0) & (held > 0), 2 * cost / (review**2 * held), 0.0)
    lasting = np.ceil((np.sqrt(1 + 4 * ratio) - 1) / 2 - 1e-9)
    lasting = np.clip(lasting, 1, np.maximum(MOST_PERIODS // np.maximum(review, 1), 1))
    found = terms["supplier_id"].map(pd.Series(lasting, index=by_supplier.index))
    return found.fillna(1).to_numpy(dtype=np.int64)
