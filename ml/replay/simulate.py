"""A policy through history: what it would have ordered, sold, lost, held and cost, all items at once.

Here belongs the test of a whole decision over time. The decision of one moment is in `ml.restock`.

Periods: at the end of period t the policy sees the state and orders; an order with lead time l can be sold from the
start of period t + l + 1. Orders of an item do not overtake one another: of those on their way, the one that was due
first takes the first arrival, so that frequent orders take no longer than rare ones. The policy knows when orders are
due, not when they will come. In each period: receive, serve, then charge what is left and what was short.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.restock.lead_times import draw_arrivals, draw_lead_times
from ml.schema import KEYS

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

INFORMATION = ("full", "own_sales")
_DRAWS = 200  # lead times of which each order that is on its way at the start meets one


@dataclass(frozen=True)
class State:
    """Stock and orders at the end of a period, rows aligned with `keys`.

    Attributes:
        keys: sku, location_id.
        period_start: the period that has just ended.
        on_hand: units on the shelf [items].
        due: open orders by their plan, units [items, periods]; column j − 1 is to be sold from j periods ahead.
        overdue: open orders that should have come, units [items, periods]; column j − 1 was due j periods ago.
        backordered: units owed to customers who wait [items].
    """

    keys: pd.DataFrame
    period_start: pd.Timestamp
    on_hand: Doubles
    due: Doubles
    overdue: Doubles
    backordered: Doubles

    @property
    def position(self) -> Doubles:
        """Return on hand plus on order less backorders, units [items]."""
        position: Doubles = self.on_hand + self.due.sum(axis=1) + self.overdue.sum(axis=1) - self.backordered
        return position

    def open_orders(self) -> pd.DataFrame:
        """Return what is on its way: sku, location_id, periods_ahead, units, overdue_periods."""
        item, ahead = np.nonzero(self.due)
        late_item, late = np.nonzero(self.overdue)
        rows = np.concatenate([item, late_item])
        return self.keys.iloc[rows].assign(
            periods_ahead=np.concatenate([ahead + 1, np.ones(late.size, int)]),
            units=np.concatenate([self.due[item, ahead], self.overdue[late_item, late]]),
            overdue_periods=np.concatenate([np.zeros(ahead.size, int), late + 1]),
        )


@dataclass(frozen=True)
class Seen:
    """What was known at the end of a period.

    Attributes:
        periods: the periods known so far, ascending.
        demand: units [items, periods]; NaN = not observed. With own sales this is what the policy itself sold.
        is_lower_bound: demand may have been higher: the policy was out of stock [items, periods].
        is_censored: whether the policy's own stock-outs censor what it sees.
    """

    periods: pd.DatetimeIndex
    demand: Doubles
    is_lower_bound: npt.NDArray[np.bool_]
    is_censored: bool


Decide = Callable[[int, State, Seen], Doubles]


def replay(
    actual_demand: pd.DataFrame,
    initial_state: pd.DataFrame,
    terms: pd.DataFrame,
    decide: Decide,
    *,
    lead_times: pd.DataFrame | None = None,
    order_days: pd.DatetimeIndex | pd.DataFrame | None = None,
    score_from: pd.Timestamp | None = None,
    lost_sales: bool = True,
    information: str = "full",
    seed: int = 0,
) -> pd.DataFrame:
    """Run a policy through given demand, period by period, over all items at once.

    Args:
        actual_demand: sku, location_id, period_start, demand_units. NaN, or a missing row, is masked: receipts still
            come in, nothing is sold or charged, stock is carried. Periods before the start are history to `decide`.
        initial_state: sku, location_id, periods_ahead, units: 0 = on hand, j = is to be sold from j periods ahead, and
            comes as early or late as its item's lead time is drawn.
            Optional period_start (one value): the period at whose end this was the state; by default the one before
            the first period of demand.
        terms: sku, location_id, lead_time_periods, holding_cost (money per unit left at the end of a period),
            shortage_cost (money per unit lost, or per unit and period that waits); optional lead_time_mean_periods,
            lead_time_sd_periods, lead_time_samples and fixed_order_cost (money per order).
        decide: decide(t, state, seen) -> units to order [items], t = index of the ended period in the demand's periods.
        lead_times: sku, location_id, period_start, lead_time_periods of an order placed at that period's end; pass the
            same frame to every policy that is compared; orders of the initial state then keep to their plan. By default
            drawn from the terms, keyed by (seed, item), so that all policies meet the same draws.
        order_days: periods at whose end orders may be placed, for all items or as a frame sku, location_id,
            period_start; default every one.
        score_from: first period whose costs count (`is_scored`); default the first after the start.
        lost_sales: whether unmet demand is lost; else it waits and is served first.
        information: "full" = the policy sees actual demand; "own_sales" = it sees what it sold itself.
        seed: base of the lead-time draws.

    Returns:
        One row per item and period after the start: sku, location_id, period_start, demand_units, received_units,
        served_units (from stock, in the period of the demand), lost_units (backordered ones where unmet demand waits),
        backordered_units (waiting at the end), stock_units (left at the end), order_units (placed at the end),
        holding_cost, shortage_cost, order_cost, cost, is_masked, is_scored. `attrs["information"]` says what was seen.

    Raises:
        ValueError: an order is negative or not a number, an item lacks terms, or an option is unknown.
    """
    if information not in INFORMATION:
        raise ValueError(f"information is {information!r}: use one of {', '.join(INFORMATION)}")
    keys = terms[KEYS].reset_index(drop=True)
    if keys.duplicated().any():
        row = keys[keys.duplicated()].iloc[0]
        raise ValueError(f"terms name sku {row['sku']} at {row['location_id']} twice: keep one row per item")
    periods, demand = _matrix(keys, actual_demand)
    start = _start(initial_state, periods)
    leads = _lead_times(keys, terms, lead_times, periods, seed)
    may_order = _order_days(keys, order_days, periods)
    on_hand, orders = _initial(keys, initial_state, terms, start, seed, is_drawn=lead_times is None)
    planned = terms["lead_time_periods"].to_numpy(dtype=np.int64)
    backordered = np.zeros(len(keys))
    known = demand.copy()
    lower_bound = np.zeros(demand.shape, dtype=bool)
    holding, shortage = (terms[name].to_numpy(dtype=np.float64) for name in ("holding_cost", "shortage_cost"))
    fixed = terms["fixed_order_cost"].to_numpy(dtype=np.float64) if "fixed_order_cost" in terms else np.zeros(len(keys))

    rows: dict[str, list[Doubles]] = {}

    def order_at(t: int) -> Doubles:
        if not may_order[:, t].any():
            return np.zeros(len(keys))
        due, overdue = orders.by_plan(t, len(keys))
        state = State(keys, periods[t], on_hand.copy(), due, overdue, backordered.copy())
        seen = Seen(periods[: t + 1], known[:, : t + 1], lower_bound[:, : t + 1], information == "own_sales")
        order = np.asarray(decide(t, state, seen), dtype=np.float64)
        if order.shape != (len(keys),) or not np.isfinite(order).all() or (order < 0).any():
            raise ValueError(
                f"the policy ordered {order!r} at the end of {periods[t]:%Y-%m-%d}: give units ≥ 0 per item"
            )
        order = np.where(may_order[:, t], order, 0.0)
        placed = np.flatnonzero(order > 0)
        orders.add(placed, order[placed], t + planned[placed] + 1, t + leads[placed, t] + 1)
        return order

    if start >= 0:
        order_at(start)
    for t in range(start + 1, len(periods)):
        received = orders.take(t, len(keys))
        on_hand = on_hand + received
        waiting_served = np.minimum(on_hand, backordered)
        on_hand, backordered = on_hand - waiting_served, backordered - waiting_served
        masked = np.isnan(demand[:, t])
        wanted = np.where(masked, 0.0, demand[:, t])
        served = np.minimum(wanted, on_hand)
        short = wanted - served
        on_hand = on_hand - served
        if not lost_sales:
            backordered = backordered + short
        if information == "own_sales":
            known[:, t] = np.where(masked, np.nan, served)
            lower_bound[:, t] = short > 0
        charged = short if lost_sales else backordered
        values = {
            "demand_units": demand[:, t],
            "received_units": received,
            "served_units": np.where(masked, np.nan, served),
            "lost_units": np.where(masked, np.nan, short),
            "backordered_units": backordered,
            "stock_units": on_hand,
            "order_units": order_at(t),
            "holding_cost": np.where(masked, 0.0, holding * on_hand),
            "shortage_cost": np.where(masked, 0.0, shortage * charged),
            "is_masked": masked,
        }
        values["order_cost"] = np.where(values["order_units"] > 0, fixed, 0.0)
        values["cost"] = values["holding_cost"] + values["shortage_cost"] + values["order_cost"]
        for name, value in values.items():
            rows.setdefault(name, []).append(value)
    return _result(keys, periods[start + 1 :], rows, score_from, information)


def _matrix(keys: pd.DataFrame, demand: pd.DataFrame) -> tuple[pd.DatetimeIndex, Doubles]:
    periods = pd.DatetimeIndex(np.sort(pd.to_datetime(demand["period_start"].unique())))
    row = pd.MultiIndex.from_frame(keys).get_indexer(pd.MultiIndex.from_frame(demand[KEYS]))
    column = periods.get_indexer(pd.DatetimeIndex(demand["period_start"]))
    matrix = np.full((len(keys), len(periods)), np.nan)
    inside = row >= 0
    matrix[row[inside], column[inside]] = demand["demand_units"].to_numpy(dtype=np.float64)[inside]
    return periods, matrix


def _start(initial_state: pd.DataFrame, periods: pd.DatetimeIndex) -> int:
    if "period_start" not in initial_state.columns:
        return -1
    moments = pd.DatetimeIndex(initial_state["period_start"].unique())
    if len(moments) != 1 or moments[0] not in periods:
        raise ValueError(f"initial_state has period_start {list(moments)}: give one period that the demand holds")
    return int(periods.get_indexer(moments)[0])


class _Orders:
    """Orders on their way: item, units, the period they are due and the one from whose start they can be sold."""

    def __init__(self, item: Places, units: Doubles, due: Places, arrival: Places) -> None:
        self.item, self.units, self.due, self.arrival = item, units, due, arrival

    def add(self, item: Places, units: Doubles, due: Places, arrival: Places) -> None:
        """Take in one order of each item; what comes first belongs to the order that was due first."""
        self.item, self.units = np.concatenate([self.item, item]), np.concatenate([self.units, units])
        self.due, arrivals = np.concatenate([self.due, due]), np.concatenate([self.arrival, arrival])
        self.arrival = np.empty_like(arrivals)
        self.arrival[np.lexsort((self.due, self.item))] = arrivals[np.lexsort((arrivals, self.item))]

    def take(self, t: int, items: int) -> Doubles:
        """Return what period t receives [items], and forget it."""
        come = self.arrival <= t
        received = np.bincount(self.item[come], self.units[come], minlength=items)
        self.item, self.units = self.item[~come], self.units[~come]
        self.due, self.arrival = self.due[~come], self.arrival[~come]
        return received.astype(np.float64)

    def by_plan(self, t: int, items: int) -> tuple[Doubles, Doubles]:
        """Return what is due j + 1 periods after period t, and what was due j periods before its end."""
        ahead = self.due - t
        found = []
        for place, chosen in ((ahead - 1, ahead >= 1), (-ahead, ahead < 1)):
            units = np.zeros((items, int(place[chosen].max(initial=0)) + 1))
            np.add.at(units, (self.item[chosen], place[chosen]), self.units[chosen])
            found.append(units)
        return found[0], found[1]


def _initial(
    keys: pd.DataFrame, initial_state: pd.DataFrame, terms: pd.DataFrame, start: int, seed: int, *, is_drawn: bool
) -> tuple[Doubles, _Orders]:
    row = pd.MultiIndex.from_frame(keys).get_indexer(pd.MultiIndex.from_frame(initial_state[KEYS]))
    inside = row >= 0
    item, ahead = row[inside].astype(np.int64), initial_state["periods_ahead"].to_numpy(dtype=np.int64)[inside]
    if (ahead < 0).any():
        raise ValueError(f"initial_state has periods_ahead {int(ahead.min())}: 0 is on hand, 1 the next period")
    units = initial_state["units"].to_numpy(dtype=np.float64)[inside]
    on_hand, coming = np.bincount(item[ahead == 0], units[ahead == 0], minlength=len(keys)), ahead > 0
    item, ahead, units = item[coming], ahead[coming].astype(np.int32), units[coming]
    planned = terms["lead_time_periods"].to_numpy(dtype=np.int32)
    leads = _drawn(keys, terms, _DRAWS, seed + 1) if is_drawn else planned[:, None]
    now, keeps = np.zeros(len(keys), np.int32), np.zeros(item.size, dtype=bool)
    _, arrivals = draw_arrivals(leads, planned, now, item, ahead, ahead, keeps)
    return on_hand.astype(np.float64), _Orders(
        item, units, start + ahead.astype(np.int64), start + arrivals[:, 0].astype(np.int64)
    )


def _lead_times(
    keys: pd.DataFrame, terms: pd.DataFrame, lead_times: pd.DataFrame | None, periods: pd.DatetimeIndex, seed: int
) -> npt.NDArray[np.int64]:
    planned = terms["lead_time_periods"].to_numpy(dtype=np.float64)
    if not (planned >= 0).all():
        wrong = terms.iloc[int(np.argmin(planned >= 0))]
        raise ValueError(
            f"lead_time_periods is {wrong['lead_time_periods']} for sku {wrong['sku']} at {wrong['location_id']}: "
            "give whole periods, 0 = the next period"
        )

    drawn = _drawn(keys, terms, len(periods), seed).astype(np.int64)
    if lead_times is not None:
        row = pd.MultiIndex.from_frame(keys).get_indexer(pd.MultiIndex.from_frame(lead_times[KEYS]))
        at = periods.get_indexer(pd.DatetimeIndex(lead_times["period_start"]))
        inside = (row >= 0) & (at >= 0)
        drawn[row[inside], at[inside]] = lead_times["lead_time_periods"].to_numpy(dtype=np.int64)[inside]
    return drawn


def _drawn(keys: pd.DataFrame, terms: pd.DataFrame, n: int, seed: int) -> npt.NDArray[np.int32]:
    """Return n drawn lead times of each item [items, n]."""

    def column(name: str) -> Doubles:
        return terms[name].to_numpy(dtype=np.float64) if name in terms else np.full(len(terms), np.nan)

    samples = None
    if "lead_time_samples" in terms:
        samples = [
            np.asarray(v, dtype=np.float64) if isinstance(v, list | np.ndarray) else None
            for v in terms["lead_time_samples"]
        ]
    return draw_lead_times(
        keys,
        column("lead_time_periods"),
        column("lead_time_mean_periods"),
        column("lead_time_sd_periods"),
        n,
        samples=samples,
        seed=seed,
    )


def _order_days(
    keys: pd.DataFrame, order_days: pd.DatetimeIndex | pd.DataFrame | None, periods: pd.DatetimeIndex
) -> npt.NDArray[np.bool_]:
    allowed = np.zeros((len(keys), len(periods)), dtype=bool)
    if order_days is None:
        allowed[:] = True
    elif isinstance(order_days, pd.DataFrame):
        row = pd.MultiIndex.from_frame(keys).get_indexer(pd.MultiIndex.from_frame(order_days[KEYS]))
        at = periods.get_indexer(pd.DatetimeIndex(order_days["period_start"]))
        inside = (row >= 0) & (at >= 0)
        allowed[row[inside], at[inside]] = True
    else:
        at = periods.get_indexer(order_days)
        allowed[:, at[at >= 0]] = True
    return allowed


def _result(
    keys: pd.DataFrame,
    periods: pd.DatetimeIndex,
    rows: dict[str, list[Doubles]],
    score_from: pd.Timestamp | None,
    information: str,
) -> pd.DataFrame:
    count = len(periods)
    frame = pd.DataFrame(
        {
            **{name: np.repeat(keys[name].to_numpy(), count) for name in KEYS},
            "period_start": np.tile(periods.to_numpy(), len(keys)),
            **{name: np.stack(values, axis=1).ravel() for name, values in rows.items()},
        }
    )
    frame["is_scored"] = True if score_from is None else frame["period_start"] >= score_from
    frame.attrs["information"] = information
    return frame
