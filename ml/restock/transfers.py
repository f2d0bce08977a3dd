"""Moving stock between locations before buying more.

Here belongs what one location can spare for another. What to buy after that is in `ml.restock`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.restock.simulation import sample_quantile
from ml.schema import KEYS

SERVICE_LEVEL = 0.95


def transfer(
    position: pd.DataFrame,
    paths: npt.NDArray[np.float32],
    terms: pd.DataFrame,
    lanes: pd.DataFrame,
    rejected: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Move excess to shortage, cheapest lane first, never making a shortage.

    A location's level is the one it orders up to, or the quantile of its demand over lead time and review period. It
    can spare what its inventory position has beyond that level, of what is at hand, free of promises, beyond its own
    demand until what is on order is there, and what would lie there longer than the move costs; it is short of what its
    inventory position lacks to its level. What would come after an order of the next review moves nowhere.

    Args:
        position: sku, location_id, on_hand_units, reserved_units, backordered_units and optionally on_order_units and
            own_demand_units (what it keeps of what is at hand, as `own_demand` says; without it the quantile of its
            demand over lead time and review period, as if nothing on order came before).
        paths: demand draws, units [rows of position, n, horizon].
        terms: sku, location_id, lead_time_periods, review_periods and optionally order_up_to_units (the level),
            target_value (cycle service level of the quantile, default 0.95), order_multiple_units (transfers are whole
            packs, default 1) and holding_cost (money per unit and period; without it a move need not pay). A location
            without terms neither gives nor takes.
        lanes: from_location_id, to_location_id, lead_time_periods, unit_cost (money per unit moved).
        rejected: sku, from_location_id, to_location_id, rejected_up_to_units: moves of up to so many units that a
            person rejected; None = nothing is rejected.

    Returns:
        sku, from_location_id, to_location_id, units, arrival_period (first period they can be sold), transfer_cost,
        short_units (what the destination lacked before), from_free_units (what lay at the origin before, free of
        promises), from_kept_units (what the origin keeps of it for its own demand), from_cover_periods (how many
        periods of its mean demand what is left there lasts; NaN without demand) and is_rejected (true = the move is
        not made, as a person rejected it, and neither end counts it). Empty where nothing is worth moving.

    Raises:
        ValueError: position and paths differ in length, or a lane leads to itself.
    """
    if len(position) != paths.shape[0]:
        raise ValueError(f"position has {len(position)} rows and paths {paths.shape[0]}: give one path set per row")
    loop = lanes["from_location_id"] == lanes["to_location_id"]
    if loop.any():
        raise ValueError(f"a lane leads from {lanes.loc[loop, 'to_location_id'].iloc[0]} to itself: remove it")
    stock = position.reset_index(drop=True).merge(
        terms.drop_duplicates(KEYS), on=KEYS, how="left", suffixes=("", "_terms")
    )
    known = stock["lead_time_periods"].notna() & stock["review_periods"].notna()
    level = stock["order_up_to_units"] if "order_up_to_units" in stock else _levels(stock, paths, known)
    free = stock["on_hand_units"] - stock["reserved_units"] - stock["backordered_units"]
    on_order = stock.get("on_order_units", 0.0)
    gap = (free + on_order - level).where(known, 0.0)
    pack = stock["order_multiple_units"].fillna(1.0) if "order_multiple_units" in stock else pd.Series(1.0, stock.index)
    kept = stock["own_demand_units"] if "own_demand_units" in stock else _levels(stock, paths, known)
    rate = paths.mean(axis=(1, 2), dtype=np.float64)
    holding = stock["holding_cost"] if "holding_cost" in stock else pd.Series(np.inf, stock.index)
    places = _Places(
        free=free.to_numpy(dtype=np.float64),
        kept=np.asarray(kept, dtype=np.float64),
        beyond=gap.to_numpy(dtype=np.float64),
        short=(-gap).clip(lower=0).to_numpy(dtype=np.float64),
        pack=pack.to_numpy(dtype=np.float64),
        rate=rate,
        kept_until_paid=(rate / holding.where(holding > 0)).fillna(0.0).to_numpy(),
    )
    place = pd.MultiIndex.from_frame(stock[KEYS])
    ways = _possible_moves(stock, lanes, places.short)
    giver = place.get_indexer(pd.MultiIndex.from_arrays([ways["sku"], ways["from_location_id"]]))
    taker = place.get_indexer(pd.MultiIndex.from_arrays([ways["sku"], ways["to_location_id"]]))
    limits = _rejected_up_to(ways, rejected)
    costs = ways["unit_cost"].to_numpy(dtype=np.float64)
    moved = pd.DataFrame(
        [
            places.move(int(source), int(goal), cost, limit)
            for source, goal, cost, limit in zip(giver, taker, costs, limits, strict=True)
        ],
        columns=_MOVED,
    )
    moves = pd.concat([ways, moved], axis=1)
    moves["arrival_period"] = moves["lead_time_periods"].astype(int) + 1
    moves["transfer_cost"] = (moves["units"].astype(float) * costs).round(4)
    columns = [*("sku", "from_location_id", "to_location_id", "units", "arrival_period", "transfer_cost"), *_MOVED[1:]]
    return moves.loc[moves["units"] > 0, columns].astype(_KINDS).reset_index(drop=True)


_MOVED = ["units", "short_units", "from_free_units", "from_kept_units", "from_cover_periods", "is_rejected"]
_KINDS = dict.fromkeys(("units", "transfer_cost", *_MOVED[1:5]), "float64") | {"is_rejected": "bool"}
NO_MOVES = pd.DataFrame(
    columns=[*("sku", "from_location_id", "to_location_id", "units", "arrival_period", "transfer_cost"), *_MOVED[1:]]
).astype({"arrival_period": "int64"} | _KINDS)


@dataclass(frozen=True)
class _Places:
    """What each location has to give and lacks while moves are made, units [rows].

    Attributes:
        free: at hand and free of promises.
        kept: of it for its own demand.
        beyond: inventory position beyond its level.
        short: what its position lacks to its level.
        pack: units of a pack.
        rate: mean demand of a period.
        kept_until_paid: what is sold while holding a unit costs as much as moving it for one unit of money.
    """

    free: npt.NDArray[np.float64]
    kept: npt.NDArray[np.float64]
    beyond: npt.NDArray[np.float64]
    short: npt.NDArray[np.float64]
    pack: npt.NDArray[np.float64]
    rate: npt.NDArray[np.float64]
    kept_until_paid: npt.NDArray[np.float64]

    def move(self, source: int, goal: int, unit_cost: float, rejected_up_to: float) -> tuple[float | bool, ...]:
        """Move what the source can spare of what the goal lacks, in packs of the goal; return `_MOVED`."""
        short = self.short[goal]
        if source < 0 or short <= 0:
            return 0.0, short, np.nan, np.nan, np.nan, False
        free, size = self.free[source], self.pack[goal]
        excess = min(self.beyond[source], free - self.kept[source])
        spare = min(excess, self.beyond[source] - self.kept_until_paid[source] * unit_cost)
        units = np.floor(max(min(spare, np.ceil(short / size) * size), 0.0) / size + 1e-9) * size
        is_rejected = 0 < units <= rejected_up_to
        cover = (free - units) / self.rate[source] if self.rate[source] > 0 else np.nan
        if not is_rejected:
            self.free[source] -= units
            self.beyond[source] -= units
            self.short[goal] = max(short - units, 0.0)
        told = (round(value, 3) for value in (units, short, free, self.kept[source], cover))
        return *told, is_rejected


def _rejected_up_to(ways: pd.DataFrame, rejected: pd.DataFrame | None) -> npt.NDArray[np.float64]:
    """Return up to how many units each way is rejected; 0 = it is not."""
    if rejected is None or rejected.empty:
        return np.zeros(len(ways))
    keys = ["sku", "from_location_id", "to_location_id"]
    limits = ways[keys].merge(rejected, on=keys, how="left")["rejected_up_to_units"]
    return limits.fillna(0.0).to_numpy(dtype=np.float64)


def own_demand(
    keys: pd.DataFrame,
    paths: npt.NDArray[np.float32],
    periods: npt.NDArray[np.int64],
    supply: pd.DataFrame,
    service_level: float = SERVICE_LEVEL,
) -> npt.NDArray[np.float64]:
    """Return what each location must have at hand now to serve its own demand until its supply is there, units.

    It is the quantile of the largest gap, at the end of any period, between the demand so far and what has come by
    then: stock of so many units runs out with at most the probability that the service level leaves.

    Args:
        keys: sku, location_id; row i belongs to paths[i].
        paths: joint demand draws, units [rows of keys, n, horizon].
        periods: how many periods of its demand each location serves before an order placed now is there.
        supply: sku, location_id, periods_ahead, units: what is planned to come.
        service_level: probability of no stock-out meanwhile.
    """
    horizon = paths.shape[2]
    coming = np.zeros((len(keys), horizon))
    row = pd.MultiIndex.from_frame(keys[KEYS]).get_indexer(pd.MultiIndex.from_frame(supply[KEYS]))
    period = supply["periods_ahead"].to_numpy(dtype=np.int64) - 1
    is_seen = (row >= 0) & (period < horizon)
    np.add.at(coming, (row[is_seen], period[is_seen]), supply["units"].to_numpy(dtype=np.float64)[is_seen])
    gap = paths.cumsum(axis=2, dtype=np.float64) - coming.cumsum(axis=1)[:, None, :]
    inside = np.arange(horizon)[None, :] < periods[:, None]
    largest = np.where(inside[:, None, :], gap, 0.0).max(axis=2).clip(0.0)
    return sample_quantile(largest.astype(np.float32), np.full(len(keys), service_level))


def _levels(stock: pd.DataFrame, paths: npt.NDArray[np.float32], known: pd.Series) -> npt.NDArray[np.float64]:
    protection = (stock["lead_time_periods"] + stock["review_periods"]).where(known, 1).to_numpy(dtype=np.int64)
    inside = np.arange(paths.shape[2])[None, :] < protection[:, None]
    demand = np.einsum("inh,ih->in", paths, inside.astype(np.float32))
    target = (
        stock["target_value"].fillna(SERVICE_LEVEL)
        if "target_value" in stock
        else pd.Series(SERVICE_LEVEL, stock.index)
    )
    return sample_quantile(demand, target.to_numpy(dtype=np.float64))


def _possible_moves(stock: pd.DataFrame, lanes: pd.DataFrame, short: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Return lane by lane what could be moved: the cheapest way first, then the fastest, then the largest shortage."""
    terms = [*KEYS, "lead_time_periods", "review_periods"]
    needy = stock.loc[short > 0, terms].rename(columns={"lead_time_periods": "supplier_periods"})
    ways = needy.assign(short=short[short > 0]).merge(
        lanes, left_on="location_id", right_on="to_location_id", how="inner"
    )
    in_time = ways["lead_time_periods"] < ways["supplier_periods"] + ways["review_periods"]
    return ways[in_time].sort_values(
        ["unit_cost", "lead_time_periods", "short", "sku", "from_location_id", "to_location_id"],
        ascending=[True, True, False, True, True, True],
        ignore_index=True,
    )
