"""The restock engine against the rules a planner would pick instead, replayed on the true demand of the sample.

    INVENTORYBOT_HOME=data python tests/benchmarks/bench_restock_sample.py [series]

Needs a home after a run on the sample. The last 90 days and the 90 before are each scored after a warm-up of 42 days.
Every policy starts from the physical stock and open orders of that day, meets the same demand and lead times, sees its
own sales alone (a day that ran out is a lower bound) and orders on its suppliers' order days in whole packs. The
min-max rule of the sample is swept by one factor on its minimum, the (s, S) rule of the normal formula over its
service level; "above the curve" compares fill rates at our stock value. Brackets are 95 % intervals of a paired
bootstrap over items: each draw moves our point and the whole curve. The forecaster is refitted every four weeks on
what the policy has seen. Where large orders are left out, the record that all policies see is without them too, and
our policy says that they are bought to order. Kept in tests/benchmarks/results/restock_sample.txt.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from scipy.special import ndtri

from ml.forecast import train
from ml.replay import Decide, Seen, State, replay
from ml.restock import recommend
from ml.restock.large_orders import largest_stocked, split_large_orders
from ml.schema import KEYS
from orchestration.warehouse.exports import parquet_of

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample"
EXPORTS = Path(os.environ.get("INVENTORYBOT_HOME", ROOT / "data")) / "warehouse" / "exports"
RESULTS = ROOT / "tests" / "benchmarks" / "results" / "restock_sample.txt"
COVARIATES = ["is_open", "is_promotion", "is_event", "unit_price"]
SCORED_DAYS, WARM_UP_DAYS, REFIT_DAYS, PATHS, HOLDING_RATE = 90, 42, 28, 300, 0.25
WINDOW_DAYS, COVER_DAYS, SAFETY_FACTOR = 56, 28, 4.4
FACTORS = (0.15, 0.25, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0, 4.0)
BOOTSTRAP_DRAWS = 1_000
SERVICE_LEVELS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999, 0.999999)


class Sample:
    """The chosen series of the sample as matrices [series, days]."""

    def __init__(self, most: int, seed: int = 0) -> None:
        self.sql = duckdb.connect()
        self.sql.execute("set timezone = 'Europe/London'")
        mart = {name: f"read_parquet('{parquet_of(EXPORTS, f'marts.{name}')}')" for name in (
            "fct_daily_demand", "fct_planned_days", "dim_item_locations", "fct_replenishment_terms",
            "fct_supplier_lead_times",
        )}  # fmt: skip
        self.items = self.sql.execute(
            f"""
            select terms.sku, terms.location_id, terms.supplier_id, item.demand_class, item.category,
                terms.unit_cost::double as unit_cost, terms.unit_price::double as unit_price,
                terms.lead_time_days, terms.review_period_days::integer as review_periods,
                coalesce(terms.moq_units, 0)::double as moq_units,
                coalesce(terms.order_multiple_units, 1)::double as order_multiple_units
            from {mart["fct_replenishment_terms"]} as terms
            inner join {mart["dim_item_locations"]} as item using (sku, location_id)
            where item.active_from <= date '2011-04-01' and terms.unit_cost > 0 and terms.unit_price > terms.unit_cost
            order by hash(terms.sku || terms.location_id || '{seed}'), terms.sku, terms.location_id
            limit {most}
            """
        ).df()
        self.items = self.items.sort_values(KEYS, ignore_index=True)
        self.keys = self.items[KEYS]
        self.sql.register("chosen", self.items)
        daily = self.sql.execute(
            f"""
            select sku, location_id, day::timestamp as day, demand_units::double as demand_units, is_in_stock,
                is_open::double as is_open, is_promotion::double as is_promotion,
                (event_name is not null and is_open)::double as is_event, demand.unit_price::double as unit_price
            from {mart["fct_daily_demand"]} as demand inner join chosen using (sku, location_id)
            union all
            select sku, location_id, day::timestamp, null, null, is_open::double, is_promotion::double,
                (event_name is not null and is_open)::double, planned.unit_price::double
            from {mart["fct_planned_days"]} as planned inner join chosen using (sku, location_id)
            """
        ).df()
        self.days = pd.DatetimeIndex(np.sort(daily["day"].unique()))
        self.as_of = daily.loc[daily["demand_units"].notna(), "day"].max()
        self.recorded = self.matrix(daily, "demand_units")
        self.in_stock = self.matrix(daily.astype({"is_in_stock": "float64"}), "is_in_stock") > 0
        self.covariates = {name: self.matrix(daily, name) for name in COVARIATES}
        self.lines = self.sql.execute(
            f"""
            select sku, location_id, ordered_at::date::timestamp as day,
                (ordered_units - cancelled_units)::double as ordered_units
            from '{SAMPLE}/truth/orders.parquet' inner join chosen using (sku, location_id)
            """
        ).df()
        self.physical = self.sql.execute(
            f"select sku, location_id, day::timestamp as day, physical_units::double as units "
            f"from '{SAMPLE}/truth/daily_stock.parquet' inner join chosen using (sku, location_id) order by day"
        ).df()
        self.purchases = self.sql.execute(
            f"""
            select sku, location_id, ordered_at::date::timestamp as ordered, received_at::date::timestamp as received,
                received_units::double as units
            from read_parquet('{SAMPLE}/purchase_order_lines/*.parquet') inner join chosen using (sku, location_id)
            where received_at is not null
            """
        ).df()
        self.lead_times = self.sql.execute(
            f"select supplier_id, location_id, received_date::timestamp as received, lead_time_days "
            f"from {mart['fct_supplier_lead_times']}"
        ).df()
        weekdays = self.sql.execute(
            f"select supplier_id, order_weekdays from read_csv('{SAMPLE}/suppliers/*.csv', all_varchar = true)"
        ).df()
        self.weekdays = weekdays.set_index("supplier_id")["order_weekdays"]

    def matrix(self, frame: pd.DataFrame, name: str) -> np.ndarray:
        """Return a column as [series, days], NaN where there is no row."""
        row = pd.MultiIndex.from_frame(self.keys).get_indexer(pd.MultiIndex.from_frame(frame[KEYS]))
        column = self.days.get_indexer(pd.DatetimeIndex(frame["day"]))
        values = np.full((len(self.keys), len(self.days)), np.nan)
        inside = (row >= 0) & (column >= 0)
        values[row[inside], column[inside]] = frame[name].to_numpy(dtype=np.float64)[inside]
        return values

    def true_demand(self, lines: pd.DataFrame) -> np.ndarray:
        """Return ordered less cancelled units per day, 0 on days without an order."""
        units = lines.groupby([*KEYS, "day"], as_index=False)["ordered_units"].sum()
        demand = np.nan_to_num(self.matrix(units, "ordered_units"))
        return np.where(np.isnan(self.recorded), np.nan, demand)

    def samples(self, before: pd.Timestamp | None) -> list[np.ndarray]:
        """Return the lead times of each series' supplier to its depot, of receipts until a day."""
        known = self.lead_times if before is None else self.lead_times[self.lead_times["received"] <= before]
        groups = {
            key: part["lead_time_days"].to_numpy(float) for key, part in known.groupby(["supplier_id", "location_id"])
        }
        fallback = known["lead_time_days"].to_numpy(float)
        return [
            groups.get(key, fallback) for key in zip(self.items["supplier_id"], self.items["location_id"], strict=True)
        ]

    def order_days(self) -> np.ndarray:
        """Return whether a supplier takes orders on a day [series, days]; without weekdays, Monday to Friday."""
        names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
        taken = {}
        for supplier, text in self.weekdays.items():
            wanted = [word.strip().lower() for word in str(text or "").replace(",", " ").replace(";", " ").split()]
            days = {number for number, name in enumerate(names) if any(name.startswith(word[:3]) for word in wanted)}
            taken[supplier] = np.isin(self.days.dayofweek, list(days or range(5)))
        return np.stack([taken[supplier] for supplier in self.items["supplier_id"]])


class Window:
    """One replay: the demand to meet, the state to start from, what was known then."""

    def __init__(self, data: Sample, last: pd.Timestamp, lines: pd.DataFrame) -> None:
        self.data = data
        self.first_scored = last - pd.Timedelta(days=SCORED_DAYS - 1)
        self.start = self.first_scored - pd.Timedelta(days=WARM_UP_DAYS + 1)
        self.start_at = int(data.days.get_loc(self.start))
        self.last_at = int(data.days.get_loc(last))
        self.demand = data.true_demand(lines)
        self.with_large = len(lines) == len(data.lines)
        # Orders that are left out are left out of the record too: a day cannot have sold more than was asked of it.
        self.recorded = data.recorded if self.with_large else np.fmin(data.recorded, self.demand)
        shown = slice(0, self.last_at + 1)
        days = data.days[shown]
        self.frame = pd.DataFrame(
            {
                **{name: np.repeat(data.keys[name].to_numpy(), len(days)) for name in KEYS},
                "period_start": np.tile(days.to_numpy(), len(data.keys)),
                "demand_units": self.demand[:, shown].ravel(),
            }
        )
        self.initial = self._initial()
        self.can_order = data.order_days()
        self.order_days = pd.DataFrame(
            {
                **{name: np.repeat(data.keys[name].to_numpy(), len(days)) for name in KEYS},
                "period_start": np.tile(days.to_numpy(), len(data.keys)),
            }
        )[self.can_order[:, shown].ravel()]
        self.terms = data.items.assign(
            lead_time_periods=data.items["lead_time_days"],
            lead_time_samples=data.samples(None),
            holding_cost=data.items["unit_cost"] * HOLDING_RATE / 365,
            shortage_cost=data.items["unit_price"] - data.items["unit_cost"],
        )
        # What a policy may know of lead times is what had come by the start.
        self.known_leads = data.samples(self.start)
        self.planned_leads = np.array([max(1, round(float(sample.mean()))) for sample in self.known_leads])

    def _initial(self) -> pd.DataFrame:
        stock = (
            self.data.physical[self.data.physical["day"] <= self.start].groupby(KEYS, as_index=False)["units"].last()
        )
        due = self.data.purchases
        due = due[(due["ordered"] <= self.start) & (due["received"] > self.start)]
        due = due.merge(self.data.items[[*KEYS, "lead_time_days"]], on=KEYS)
        planned = due["ordered"] + pd.to_timedelta(due["lead_time_days"], unit="D")
        due = due.assign(periods_ahead=(planned - self.start).dt.days.clip(lower=1))
        columns = [*KEYS, "periods_ahead", "units"]
        state = pd.concat([stock.assign(periods_ahead=0)[columns], due[columns]], ignore_index=True)
        return state.assign(period_start=self.start)

    def run(self, decide: Decide) -> pd.DataFrame:
        """Replay a policy; units, stock value and money of the scored days, one row per item."""
        rows = replay(
            self.frame,
            self.initial,
            self.terms,
            decide,
            order_days=self.order_days,
            score_from=self.first_scored,
            information="own_sales",
        )
        rows = rows[rows["is_scored"]].merge(self.data.items[[*KEYS, "unit_cost"]], on=KEYS)
        rows["stock value"] = rows["stock_units"] * rows["unit_cost"] / rows["period_start"].nunique()
        names = {"served_units": "served", "demand_units": "demand", "holding_cost": "holding",
                 "shortage_cost": "lost margin"}  # fmt: skip
        return rows.rename(columns=names).groupby(KEYS)[[*names.values(), "stock value", "cost"]].sum()

    def seen(self, t: int, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        """Return demand as known at the end of day t and where it is a lower bound: the record, then own sales."""
        own = slice(self.start_at + 1, t + 1)
        demand, bound = self.recorded[:, : t + 1].copy(), ~self.data.in_stock[:, : t + 1]
        demand[:, own], bound[:, own] = seen.demand[:, own], seen.is_lower_bound[:, own]
        return demand, bound

    def spread(self, t: int, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the daily demand seen in the last eight weeks."""
        recent = np.nan_to_num(self.seen(t, seen)[0][:, -WINDOW_DAYS:])
        mean = recent.mean(axis=1)
        return mean, np.sqrt(np.maximum((recent**2).mean(axis=1) - mean**2, mean))


def in_packs(data: Sample, units: np.ndarray) -> np.ndarray:
    """Round what is wanted up to the minimum order and to whole packs."""
    multiple = data.items["order_multiple_units"].to_numpy()
    wanted = np.maximum(units, data.items["moq_units"].to_numpy())
    return np.where(units > 0, np.ceil(wanted / multiple - 1e-9) * multiple, 0.0)


def min_max(window: Window, factor: float) -> Decide:
    """The rule the sample was simulated with, its minimum times a factor."""

    def decide(t: int, state: State, seen: Seen) -> np.ndarray:
        mean, deviation = window.spread(t, seen)
        protection = window.data.items["lead_time_days"].to_numpy() + window.data.items["review_periods"].to_numpy()
        minimum = factor * np.maximum(1.0, mean * protection + SAFETY_FACTOR * deviation * protection**0.5)
        short = minimum + mean * COVER_DAYS - state.position
        return in_packs(window.data, np.where(state.position < minimum, short, 0.0))

    return decide


def reorder_point(window: Window, level: float) -> Decide:
    """(s, S) by the normal formula: s covers the protection interval at a cycle service level, S is 28 days above."""
    lead = np.array([sample.mean() for sample in window.known_leads])
    lead_variance = np.array([sample.var() for sample in window.known_leads])

    def decide(t: int, state: State, seen: Seen) -> np.ndarray:
        mean, deviation = window.spread(t, seen)
        protection = lead + window.data.items["review_periods"].to_numpy()
        sd = np.sqrt(protection * deviation**2 + mean**2 * lead_variance)
        point = mean * protection + ndtri(level) * sd
        short = point + mean * COVER_DAYS - state.position
        return in_packs(window.data, np.where(state.position < point, short, 0.0))

    return decide


def ours(window: Window, target_type: str, target_value: float | None) -> Decide:
    """The engine as the daily job uses it: joint paths of the forecaster, sampled lead times, a target per item.

    Where large orders are left out they are bought to order, and the policy says so: no day is to be served beyond
    `COVER_DAYS` of the mean demand seen.
    """
    data = window.data
    policy = window.terms[[*KEYS, "holding_cost", "shortage_cost"]].assign(
        target_type=target_type, target_value=target_value, unmet_demand="lost_sales"
    )
    terms = window.terms.assign(
        lead_time_periods=window.planned_leads, lead_time_samples=window.known_leads, next_order_in_periods=0
    )
    horizon = int(max(np.quantile(sample, 0.99) for sample in window.known_leads)) + 8
    attributes = data.items[[*KEYS, "category", "unit_cost", "unit_price"]]
    everything = np.arange(len(data.keys))
    champions = {}

    def decide(t: int, state: State, seen: Seen) -> np.ndarray:
        order, coming = np.zeros(len(data.keys)), state.open_orders()
        due = np.flatnonzero(window.can_order[:, t])
        demand, bound = window.seen(t, seen)
        age = (t - window.start_at) // REFIT_DAYS
        if age not in champions:
            history = long(data, everything, slice(0, t + 1), demand, bound)
            champions[age] = train(history, freq="D", horizon=horizon, items=attributes)
        mean = pd.DataFrame(demand, index=policy.index).mean(axis=1)
        bought_to_order = np.inf if window.with_large else largest_stocked(mean, COVER_DAYS)
        rules = policy.assign(largest_order_units=bought_to_order)
        history = long(data, due, slice(0, t + 1), demand, bound)
        future = long(data, due, slice(t + 1, t + 1 + horizon))
        keys = data.keys.iloc[due].reset_index(drop=True)
        for chunk, paths in champions[age].sample_paths(history, PATHS, future, keys=keys):
            at = due[pd.MultiIndex.from_frame(keys).get_indexer(pd.MultiIndex.from_frame(chunk))]
            position = chunk.assign(on_hand_units=state.on_hand[at], reserved_units=0.0, backordered_units=0.0)
            lines, _, _ = recommend(chunk, paths, position, coming, terms.iloc[at], rules.iloc[at])
            order[at] = lines["order_units"].to_numpy()
        return order

    return decide


def long(
    data: Sample, rows: np.ndarray, days: slice, demand: np.ndarray | None = None, bound: np.ndarray | None = None
) -> pd.DataFrame:
    """Return series and days as the long frame the forecaster reads."""
    index = data.days[days]
    frame = pd.DataFrame(
        {
            **{name: np.repeat(data.keys[name].to_numpy()[rows], len(index)) for name in KEYS},
            "period_start": np.tile(index.to_numpy(), len(rows)),
            **{name: values[rows, days].ravel() for name, values in data.covariates.items()},
        }
    )
    if demand is None or bound is None:
        return frame.fillna(dict.fromkeys(COVARIATES, 0.0))
    frame["demand_units"] = demand[rows].ravel()
    frame["is_in_stock"] = ~bound[rows].ravel()
    return frame[frame["is_open"].notna()].reset_index(drop=True)


def point(items: pd.DataFrame) -> dict[str, float]:
    """Return the fill rate, stock value and money of all items together."""
    total = items.sum()
    rate = total["served"] / total["demand"]
    return {"fill rate": rate} | {name: total[name] for name in ("stock value", "holding", "lost margin", "cost")}


def item_draws(items: int) -> np.ndarray:
    """Return how often each item counts: once in the first row, then as drawn with replacement [1 + draws, items]."""
    drawn = np.random.default_rng(0).multinomial(items, np.full(items, 1 / items), BOOTSTRAP_DRAWS)
    return np.vstack([np.ones((1, items)), drawn])


def above(ours: pd.DataFrame, curve: list[pd.DataFrame]) -> str:
    """Return our fill rate less that of a curve at our stock value, in points, with its interval."""
    drawn = item_draws(len(ours))
    value, served, demand = (
        np.stack([drawn @ found[name].to_numpy() for found in (ours, *curve)])
        for name in ("stock value", "served", "demand")
    )
    gaps = []
    for values, rates in zip(value.T, (served / demand).T, strict=True):
        order = np.argsort(values[1:]) + 1
        inside = values[order[0]] <= values[0] <= values[order[-1]]
        gaps.append(rates[0] - np.interp(values[0], values[order], rates[order]) if inside else np.nan)
    if np.isnan(gaps[0]):
        return "outside the curve"
    low, high = np.nanpercentile(gaps[1:], [2.5, 97.5])
    return f"{100 * gaps[0]:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}]"


def dearer(ours: pd.DataFrame, other: pd.DataFrame) -> str:
    """Return how much more we cost than another policy, with its interval."""
    drawn = item_draws(len(ours))
    ratio = (drawn @ ours["cost"].to_numpy()) / (drawn @ other["cost"].to_numpy()) - 1
    low, high = np.percentile(ratio[1:], [2.5, 97.5])
    return f"{ratio[0]:+.1%} [{low:+.1%}, {high:+.1%}]"


def measure(data: Sample, last: pd.Timestamp, with_large: bool) -> list[str]:
    """Replay every policy over one window and return its table."""
    lines = data.lines
    if not with_large:
        before = data.days[: int(data.days.get_loc(last)) + 1]
        mean = data.keys.assign(mean_units=np.nanmean(data.recorded[:, : len(before)], axis=1))
        large = split_large_orders(lines, mean)
        lines = large[~large["is_large"]]
    window = Window(data, last, lines)
    found = {f"min-max x {factor}": window.run(min_max(window, factor)) for factor in FACTORS}
    normal = {f"(s, S) normal {level}": window.run(reorder_point(window, level)) for level in SERVICE_LEVELS}
    engine = {
        "ours, least cost": window.run(ours(window, "cost", None)),
        "ours, cycle service 0.95": window.run(ours(window, "cycle_service_level", 0.95)),
    }
    table = pd.DataFrame({name: point(items) for name, items in {**found, **normal, **engine}.items()}).T
    out = [
        f"{window.first_scored:%Y-%m-%d} to {last:%Y-%m-%d}, {len(data.keys):,} series, "
        + ("all orders" if with_large else "without single orders above 28 days of mean demand"),
        table.round({"fill rate": 4, "stock value": 0, "holding": 0, "lost margin": 0, "cost": 0}).to_string(),
    ]
    for name, items in engine.items():
        out.append(f"{name}: against the min-max curve {above(items, list(found.values()))}, "
                   f"against the (s, S) curve {above(items, list(normal.values()))}")  # fmt: skip
        for rule, curve in (("min-max factor", found), ("(s, S) level", normal)):
            cheapest = min(curve, key=lambda name: curve[name]["cost"].sum())
            out.append(f"  cost {dearer(items, curve[cheapest])} against the cheapest {rule} of the sweep")
    return [*out, ""]


def main(most: int) -> None:
    """Measure both windows, with and without large orders, and keep the table."""
    begun = time.process_time()
    data = Sample(most)
    lines = [f"python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores", ""]
    for last in (data.as_of, data.as_of - pd.Timedelta(days=SCORED_DAYS)):
        for with_large in (True, False):
            lines += measure(data, last, with_large)
            print("\n".join(lines[-30:]), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lines.append(f"{time.process_time() - begun:.0f} s of processor, peak memory {peak:.2f} GB")
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
