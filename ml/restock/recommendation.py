"""What to order: every item-location's restock line under its whole demand distribution, term by term.

Here belongs the decision of one moment: target, position, packs, limits. The simulated levels are in
`ml.restock.simulation`, lead times in `ml.restock.lead_times`, moves between locations in `ml.restock.transfers`,
shared budgets in `ml.restock.allocation`, the test of a policy over time in `ml.replay`.

Periods: state is read at the end of period 0; column j of a path is the demand of period j; an open order with
`periods_ahead` j can be sold from the start of period j; an order placed now with lead time l from the start of l + 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from ml.restock.allocation import allocate
from ml.restock.lead_times import draw_arrivals, draw_lead_times
from ml.restock.simulation import (
    SMALLEST_UNITS,
    Doubles,
    Flags,
    Floats,
    Integers,
    Pipeline,
    Places,
    Receipts,
    Simulation,
    SortedDraws,
    expected_cycle_cost,
    fill_rate_quantity,
    sample_quantile,
    weighted_quantity,
)
from ml.restock.transfers import transfer
from ml.schema import KEYS, SERVICE_TARGETS

__all__ = ["LINE_COLUMNS", "TERM_NAMES", "allocate", "recommend", "transfer"]

Thousandths = npt.NDArray[np.int64]
Texts = npt.NDArray[np.object_]

STOCKED_TARGETS = ("cost", *SERVICE_TARGETS)
TARGET_TYPES = (*STOCKED_TARGETS, "do_not_stock", "make_to_order")
ORDER_RULES = ("order_up_to", "reorder_point_order_up_to", "reorder_point_quantity", "min_max")
DEMAND_MODELS = ("simulated", "normal", "poisson", "negative_binomial")
LINE_COLUMNS = [
    "sku", "location_id", "supplier_id", "target_type", "target_value", "protection_periods", "expected_demand_units",
    "safety_stock_units", "expiring_units", "order_up_to_units", "on_hand_units", "on_order_units",
    "on_order_not_counted_units", "on_order_doubtful_units", "reserved_units", "backordered_units",
    "inventory_position_units", "shortfall_units", "moq_added_units", "multiple_added_units",
    "supplier_minimum_added_units", "reduced_units", "order_units", "order_packs", "arrival_period",
    "stockout_period_50", "stockout_period_10", "stockout_probability_without_order", "stockout_probability_with_order",
    "lost_units_without_order", "lost_units_with_order", "days_of_cover_before", "days_of_cover_after",
    "remainder_units", "status", "exception",
]  # fmt: skip
TERM_NAMES = (
    "expected_demand", "large_orders", "uncertainty", "expiring_lots", "on_hand", "on_order", "reserved",
    "backordered", "surplus", "not_stocked", "after_last_sale", "above_reorder_point", "lost_before_arrival",
    "order_up_to_max", "shelf_life", "dampened", "moq", "packs", "not_worth_it", "max_order", "max_stock", "below_moq",
    "rejected", "supplier_minimum", "held_back",
)  # fmt: skip

# Demand of so many draws and periods is simulated at once: a megabyte stays in the processor's cache.
_VALUES_AT_ONCE = 262_144
# Items of so many draws are decided at once, which bounds the memory.
_DRAWS_AT_ONCE = 4_194_304
_LARGEST_UNITS = 1e12
_LONGEST_PERIODS = 10_000
_UNLIMITED = 10**15  # the largest units, in thousandths
_BENEFIT_PACKS = 8
# An order that would raise the inventory position by less is within what the level itself is uncertain by.
_LEAST_RAISE = 0.01


@dataclass
class _Inputs:
    """What `recommend` knows of its items, as arrays aligned with the keys."""

    keys: pd.DataFrame
    terms: pd.DataFrame
    policy: pd.DataFrame
    on_hand: Thousandths
    sold_since: Doubles
    reserved: Thousandths
    backordered: Thousandths
    exception: Texts


def recommend(
    keys: pd.DataFrame,
    paths: Floats,
    position: pd.DataFrame,
    open_orders: pd.DataFrame,
    terms: pd.DataFrame,
    policy: pd.DataFrame,
    *,
    lots: pd.DataFrame | None = None,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Decide what to order of every item-location, from joint demand paths and the pipeline.

    The order covers the protection interval: the wait for the next order day, the lead time and the review period.
    The level it orders up to is set by the target under all paths and, where the lead time has a spread, under
    sampled lead times:

    - cycle_service_level: that quantile of the demand of the protection interval.
    - fill_rate: the least level whose cycle serves that share of its demand from stock.
    - cost: the level with the least expected holding and shortage cost; a unit is held until it is sold.

    Where unmet demand is lost, what will be lost before the order can arrive need not be bought: that is the term
    lost_before_arrival. What is on order arrives on the same lead-time draws as the new order, and never after it where
    it was due before: once an order is on its way, the same decision orders nothing more. A quantity that would raise
    the inventory position by less than 1 % is not worth an order.

    Args:
        keys: sku, location_id; row i belongs to paths[i].
        paths: joint demand draws, units [items, n, horizon].
        position: sku, location_id, on_hand_units, reserved_units, backordered_units and, where period 1 is running
            already, sold_since_units: what it has sold so far, gone from on_hand and no longer to come; a missing row
            is an empty shelf.
        open_orders: sku, location_id, periods_ahead (≥ 1, the period from whose start it can be sold as it is expected
            now), units and optionally overdue_periods (how many periods ago it should have come; 0 = not overdue),
            arrives_as_planned (true = it keeps to its date, as a transfer does; else it comes as early or late as the
            lead time drawn for a new order) and is_doubtful (true = later than its supplier ever was: it is shown and
            not counted).
        terms: sku, location_id, supplier_id, lead_time_periods (planning, whole, ≥ 1), review_periods (≥ 1) and
            optionally lead_time_mean_periods, lead_time_sd_periods, lead_time_samples (a list per row),
            next_order_in_periods (0 = now), moq_units, order_multiple_units, order_up_to_max_units (may be passed by
            less than one pack), max_order_units and max_stock_units (hard), shelf_life_periods, unit_cost,
            last_sale_period (the last period with demand, 0 or less = it is over; NaN = none is known): the paths count
            until then, no order is placed that would arrive after it, and a cost target charges what it leaves.
        policy: sku, location_id, target_type (cost, cycle_service_level, fill_rate, do_not_stock, make_to_order),
            target_value, unmet_demand (lost_sales or backorders), holding_cost (money per unit left at the end of a
            period), shortage_cost (money per unit lost, or per unit and period that waits) and optionally order_rule
            (order_up_to, reorder_point_order_up_to, reorder_point_quantity, min_max), order_quantity_units,
            min_units, max_units, demand_model (simulated, normal, poisson, negative_binomial), dampener_units and
            largest_order_units (what a day asks beyond it is bought to order: it shapes no level; NaN = no limit),
            rejected_up_to_units (a person rejected orders of up to so many units; infinite = any, NaN = none),
            allocated_units (what `allocate` gave the line, whole packs; NaN = what it wants),
            held_until_sold (share of the time from the end of the cycle to its sale for which a cost target charges
            a unit left over; default 1, 0 = the next order is sure to want it, as the newsvendor's salvage at cost),
            salvage_value (money a unit left after the last period of sale still brings; default 0).
        lots: sku, location_id, units, expires_in_periods (the last period in which they can be sold).
        seed: base of the lead-time draws, keyed by (seed, sku, location_id): one more item changes no other's line.

    Returns:
        lines: one row per key, `LINE_COLUMNS`; units to 3 decimals; expected_demand is the mean of the protection
            interval, less what period 1 has sold of its own mean, and
            safety_stock = order_up_to − expected_demand, inventory_position = on_hand + on_order − backordered −
            reserved, shortfall = max(order_up_to − inventory_position, 0) and
            order = shortfall + moq_added + multiple_added + supplier_minimum_added − reduced, all exact;
            remainder_units are expected to be left of all stock and orders after last_sale_period, NaN where none is
            within the horizon; expiring_units is the part of the level that replaces lots which expire unsold.
            Stock-out probabilities and lost units (expected; the most that waits at a time where unmet demand waits)
            are those of the cycle that the order covers; the stock-out periods are the first ones by whose end a
            stock-out without the order has at least that percentage.
        terms: sku, location_id, term (`TERM_NAMES`), step, units: the signed terms that sum to order_units.
        benefit: sku, location_id, supplier_id, block, units, order_cost, benefit: what each further block of whole
            packs saves in expected holding and shortage cost, never rising from block to block, the order's own blocks
            first (in_order is true), then what may be added to reach a supplier's minimum.

    Raises:
        ValueError: the shapes of keys and paths differ, or a frame lacks a required column.
    """
    _check_shapes(keys, paths)
    inputs = _align(keys.reset_index(drop=True), position, terms, policy)
    schedule = _schedule(inputs, open_orders, paths.shape[2])
    expiring = _lots_by_key(inputs.keys, lots)
    slots = int(schedule.review[_texts(inputs.policy, "target_type", "") == "cost"].max(initial=0))
    step = max(_DRAWS_AT_ONCE // (paths.shape[1] * max(slots, 1)), 1)
    parts = [
        _recommend_part(inputs, schedule, expiring, slice(start, min(start + step, len(keys))), paths, slots, seed)
        for start in range(0, len(keys), step)
    ]
    if not parts:
        parts = [_recommend_part(inputs, schedule, expiring, slice(0, 0), paths, slots, seed)]
    if len(parts) == 1:
        return parts[0]
    lines, steps, benefit = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    return lines, steps, benefit


def _check_shapes(keys: pd.DataFrame, paths: Floats) -> None:
    if paths.ndim != 3 or len(keys) != paths.shape[0]:
        raise ValueError(
            f"paths have shape {paths.shape} for {len(keys)} keys: give one row of [items, n, horizon] per key"
        )
    if paths.shape[1] == 0 or paths.shape[2] == 0:
        raise ValueError(f"paths have shape {paths.shape}: give at least one path and one period")
    _require(keys, KEYS, "keys")
    if keys.duplicated(KEYS).any():
        row = keys[keys.duplicated(KEYS)].iloc[0]
        raise ValueError(f"keys name sku {row['sku']} at {row['location_id']} twice: give each item-location once")


def _require(frame: pd.DataFrame, columns: list[str], name: str) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(
            f"{name} lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}"
        )


def _thousandths(values: pd.Series | Doubles, missing: float = 0.0) -> Thousandths:
    number = np.nan_to_num(
        np.asarray(values, dtype=np.float64), nan=missing, posinf=_LARGEST_UNITS, neginf=-_LARGEST_UNITS
    )
    return np.rint(np.clip(number, -_LARGEST_UNITS, _LARGEST_UNITS) * 1000).astype(np.int64)


def _units(values: Thousandths) -> Doubles:
    return values / 1000.0


def _column(frame: pd.DataFrame, name: str, default: float) -> Doubles:
    if name not in frame.columns:
        return np.full(len(frame), default)
    values = pd.to_numeric(frame[name]).to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isnan(values), default, values)


def _flags(frame: pd.DataFrame, name: str) -> Flags:
    if name not in frame.columns:
        return np.zeros(len(frame), dtype=bool)
    values = frame[name]
    return values.where(values.notna(), False).to_numpy(dtype=bool)


def _texts(frame: pd.DataFrame, name: str, default: str) -> Texts:
    if name not in frame.columns:
        return np.full(len(frame), default, dtype=object)
    # A column without any value may come as numbers.
    values = frame[name].to_numpy(dtype=object)
    missing = pd.isna(values)
    return np.where(missing, default, values) if missing.any() else values


def _is_one_of(texts: Texts, allowed: tuple[str, ...]) -> Flags:
    found = np.zeros(len(texts), dtype=bool)
    for text in allowed:
        found |= texts == text
    return found


def _align(keys: pd.DataFrame, position: pd.DataFrame, terms: pd.DataFrame, policy: pd.DataFrame) -> _Inputs:
    _require(position, [*KEYS, "on_hand_units"], "position")
    _require(terms, [*KEYS, "supplier_id", "lead_time_periods", "review_periods"], "terms")
    _require(policy, [*KEYS, "target_type", "target_value"], "policy")
    index = keys[KEYS]
    exception = np.full(len(keys), "", dtype=object)

    def aligned(frame: pd.DataFrame, name: str, remedy: str) -> tuple[pd.DataFrame, Flags]:
        if len(frame) == len(index) and all((frame[key].to_numpy() == index[key].to_numpy()).all() for key in KEYS):
            return frame.reset_index(drop=True), np.zeros(len(index), dtype=bool)
        known = frame.merge(index, on=KEYS, how="inner") if len(frame) > len(index) else frame
        twice = known.duplicated(KEYS, keep=False)
        if twice.any():
            doubled = index.merge(known.loc[twice, KEYS].drop_duplicates(), on=KEYS, how="left", indicator=True)
            _note(exception, (doubled["_merge"] == "both").to_numpy(), f"{name} has two rows for this item: {remedy}")
        found = index.merge(known.drop_duplicates(KEYS), on=KEYS, how="left", indicator=True)
        return found, (found["_merge"] != "both").to_numpy()

    stock, _ = aligned(position, "the stock position", "keep one")
    supply, unsupplied = aligned(terms, "the supplier terms", "keep the one with the first priority")
    rule, unruled = aligned(
        policy, "the restock policy", "contradictory overrides; end one of them or narrow its dates"
    )
    _note(exception, unsupplied, "no supplier terms: add a supplier_terms row for this sku and location")
    _note(exception, unruled, "no restock policy: add a policy row or a default")
    _check_terms(exception, supply)
    _check_policy(exception, rule)
    on_hand = _column(stock, "on_hand_units", 0.0)
    _note(
        exception,
        on_hand < 0,
        lambda row: f"on hand is {on_hand[row]:g} units: count the shelf and book the count",
    )
    return _Inputs(
        keys=index,
        terms=supply,
        policy=rule,
        on_hand=_thousandths(on_hand),
        sold_since=np.maximum(_column(stock, "sold_since_units", 0.0), 0.0),
        reserved=_thousandths(_column(stock, "reserved_units", 0.0)),
        backordered=_thousandths(_column(stock, "backordered_units", 0.0)),
        exception=exception,
    )


def _note(exception: Texts, wrong: Flags, text: str | Callable[[int], str]) -> None:
    """Write a text where something is wrong and nothing was noted before: the first cause is the one to mend."""
    for row in np.flatnonzero(wrong):
        if exception[row] == "":
            exception[row] = text if isinstance(text, str) else text(int(row))


def _check_terms(exception: Texts, terms: pd.DataFrame) -> None:
    lead = _column(terms, "lead_time_periods", np.nan)
    review = _column(terms, "review_periods", np.nan)
    wait = _column(terms, "next_order_in_periods", 0.0)
    moq = _column(terms, "moq_units", 0.0)
    multiple = _column(terms, "order_multiple_units", 1.0)
    largest = np.minimum(_column(terms, "max_order_units", np.inf), _column(terms, "max_stock_units", np.inf))
    level = _column(terms, "order_up_to_max_units", np.inf)
    _note(exception, np.isnan(lead), "lead time is missing: give lead_time_days in supplier_terms")
    _note(
        exception,
        (lead < 1) | (lead != np.floor(lead)),
        lambda row: f"lead time is {lead[row]:g} periods: give whole periods from order to shelf, at least 1",
    )
    _note(exception, np.isnan(review), "review period is missing: give review_period_days of the supplier")
    _note(
        exception,
        (review < 1) | (review != np.floor(review)),
        lambda row: f"review period is {review[row]:g} periods: give whole periods between two orders, at least 1",
    )
    _note(
        exception,
        (wait < 0) | (wait != np.floor(wait)),
        lambda row: f"next order day is {wait[row]:g} periods ahead: give whole periods, 0 = now",
    )
    _note(
        exception,
        ~(multiple > 0) | ~np.isfinite(multiple),
        lambda row: f"order multiple is {multiple[row]:g} units: give the pack size, above 0, or leave it empty",
    )
    _note(
        exception,
        ~np.isfinite(moq) | (moq < 0),
        lambda row: f"minimum order is {moq[row]:g} units: give 0 or more",
    )
    _note(
        exception,
        moq > largest,
        lambda row: (
            f"minimum order {moq[row]:g} is above the maximum order or stock {largest[row]:g}: "
            "lower it or raise the maximum"
        ),
    )
    _note(
        exception,
        moq >= level + np.nan_to_num(multiple, nan=1.0),
        lambda row: (
            f"minimum order {moq[row]:g} is above the order-up-to maximum {level[row]:g}: lower it or raise the maximum"
        ),
    )


def _check_policy(exception: Texts, policy: pd.DataFrame) -> None:
    target = _texts(policy, "target_type", "")
    value = _column(policy, "target_value", np.nan)
    unmet = _texts(policy, "unmet_demand", "lost_sales")
    rule = _texts(policy, "order_rule", "order_up_to")
    model = _texts(policy, "demand_model", "simulated")
    holding = _column(policy, "holding_cost", np.nan)
    shortage = _column(policy, "shortage_cost", np.nan)
    for found, allowed, name in (
        (target, TARGET_TYPES, "target_type"),
        (unmet, ("lost_sales", "backorders"), "unmet_demand"),
        (rule, ORDER_RULES, "order_rule"),
        (model, DEMAND_MODELS, "demand_model"),
    ):
        unknown = ~_is_one_of(found, allowed)
        told = f"policy {name} is {{!r}}: use one of {', '.join(allowed)}"
        _note(exception, unknown, lambda row, found=found, told=told: told.format(found[row]))  # type: ignore[misc]
    service = _is_one_of(target, SERVICE_TARGETS) & (rule != "min_max")
    _note(
        exception,
        service & ~((value > 0) & (value < 1)),
        lambda row: f"policy target_value is {value[row]:g}: give a service level between 0 and 1, both left out",
    )
    _note(
        exception,
        (target == "cost") & ~((holding > 0) & (shortage > 0)),
        lambda row: (
            f"policy holding_cost is {holding[row]:g} and shortage_cost {shortage[row]:g}: "
            "a cost target needs both above 0"
        ),
    )
    quantity = _column(policy, "order_quantity_units", np.nan)
    _note(
        exception,
        _is_one_of(rule, ("reorder_point_order_up_to", "reorder_point_quantity")) & ~(quantity > 0),
        lambda row: f"policy order_quantity_units is {quantity[row]:g}: this order rule needs it above 0",
    )
    least, most = _column(policy, "min_units", np.nan), _column(policy, "max_units", np.nan)
    _note(
        exception,
        (rule == "min_max") & ~(most > least),
        lambda row: f"policy min_units is {least[row]:g} and max_units {most[row]:g}: give max above min",
    )


class _OpenOrders(NamedTuple):
    """Open orders that are counted, sorted by their item."""

    item: Places
    units: Thousandths
    due: Integers
    expected: Integers
    as_planned: Flags

    def only(self, chosen: slice | Flags) -> _OpenOrders:
        return _OpenOrders(
            self.item[chosen], self.units[chosen], self.due[chosen], self.expected[chosen], self.as_planned[chosen]
        )

    def of(self, rows: slice) -> _OpenOrders:
        part = self.only(slice(*np.searchsorted(self.item, (rows.start, rows.stop))))
        return part._replace(item=part.item - rows.start)


@dataclass
class _Schedule:
    """When orders arrive, in whole periods, and what is on order of every item."""

    wait: Integers
    lead: Integers
    review: Integers
    orders: _OpenOrders
    on_order: Thousandths
    not_counted: Thousandths
    doubtful: Thousandths

    @property
    def protection(self) -> Integers:
        return self.wait + self.lead + self.review


def _schedule(inputs: _Inputs, open_orders: pd.DataFrame, horizon: int) -> _Schedule:
    _require(open_orders, [*KEYS, "periods_ahead", "units"], "open_orders")
    usable = inputs.exception == ""
    whole = {
        name: np.where(usable, np.nan_to_num(_column(inputs.terms, name, default)), fallback).astype(np.int32)
        for name, default, fallback in (
            ("next_order_in_periods", 0.0, 0),
            ("lead_time_periods", 1.0, 1),
            ("review_periods", 1.0, 1),
        )
    }
    wait, lead, review = whole.values()
    protection = wait + lead + review
    short = protection > horizon
    _note(
        inputs.exception,
        short,
        lambda row: (
            f"the forecast reaches {horizon} periods and the order must cover {protection[row]}: "
            "forecast further or shorten lead time, review period or the wait for the order day"
        ),
    )
    wait, lead, review = (np.where(short, fallback, values) for values, fallback in ((wait, 0), (lead, 1), (review, 1)))
    rows = inputs.keys.assign(row=np.arange(len(inputs.keys)))
    coming = open_orders.merge(rows, on=KEYS, how="inner").sort_values("row", kind="stable", ignore_index=True)
    item, units = coming["row"].to_numpy(dtype=np.int64), _thousandths(coming["units"])
    expected = np.clip(_column(coming, "periods_ahead", 1.0), 1, _LONGEST_PERIODS).astype(np.int32)
    overdue = np.clip(_column(coming, "overdue_periods", 0.0), 0, _LONGEST_PERIODS).astype(np.int32)
    trusted = ~_flags(coming, "is_doubtful")
    inside = trusted & (expected <= (wait + lead + review)[item])

    def total(counted: Flags) -> Thousandths:
        sums = np.zeros(len(rows), np.int64)
        np.add.at(sums, item[counted], units[counted])
        return sums

    orders = _OpenOrders(
        item, units, np.where(overdue > 0, 1 - overdue, expected), expected, _flags(coming, "arrives_as_planned")
    )
    return _Schedule(
        wait,
        lead,
        review,
        orders.only(trusted),
        total(inside),
        total(trusted & ~inside),
        total(~trusted),
    )


def _lots_by_key(keys: pd.DataFrame, lots: pd.DataFrame | None) -> pd.DataFrame:
    if lots is None or lots.empty:
        return pd.DataFrame({"row": np.array([], np.int64), "expires": np.array([], np.int64), "units": np.array([])})
    _require(lots, [*KEYS, "units", "expires_in_periods"], "lots")
    found = lots.merge(keys.assign(row=np.arange(len(keys))), on=KEYS, how="inner")
    return pd.DataFrame(
        {
            "row": found["row"].to_numpy(dtype=np.int64),
            "expires": np.maximum(found["expires_in_periods"].to_numpy(dtype=np.float64), 0).astype(np.int64),
            "units": found["units"].to_numpy(dtype=np.float64),
        }
    ).sort_values(["row", "expires"], ignore_index=True)


def _expired_by(lots: pd.DataFrame, mean_demand: Doubles) -> Thousandths:
    """Return what is expected to have expired by the start of each period, thousandths [items, horizon].

    Lots (item, units, expires: sorted by item and expiry) are sold by expiry date; what all lots up to a date hold
    beyond the demand expected until it, mean_demand [items, horizon], is lost by then.
    """
    items, horizon = mean_demand.shape
    item = lots["item"].to_numpy()
    until = np.concatenate([np.zeros((items, 1)), np.cumsum(mean_demand, axis=1)], axis=1)
    expires = np.minimum(lots["expires"].to_numpy(), horizon)
    held = lots.groupby("item")["units"].cumsum().to_numpy()
    wasted = np.where(lots["expires"].to_numpy() >= horizon, 0.0, np.maximum(held - until[item, expires], 0))
    total = pd.Series(wasted).groupby(item).cummax().to_numpy()
    first = np.diff(item, prepend=-1) > 0
    fresh = np.where(first, total, np.diff(total, prepend=0.0))
    inside = expires < horizon
    by_period = np.zeros((items, horizon), np.int64)
    np.add.at(by_period, (item[inside], expires[inside]), _thousandths(fresh[inside]))
    return np.cumsum(by_period, axis=1)


@dataclass
class _Part:
    """A slice of the items while it is decided: all arrays aligned, stock in thousandths."""

    keys: pd.DataFrame
    usable: Flags
    target: Texts
    value: Doubles
    rule: Texts
    model: Texts
    lost_sales: Flags
    holding: Doubles
    shortage: Doubles
    position: Thousandths
    expiring: Thousandths
    mean_demand: Doubles
    leftover_cost: Doubles
    season_cost: Doubles
    last_sale: Doubles
    pipeline: Pipeline
    worst_need: SortedDraws
    season_need: SortedDraws

    @cached_property
    def need(self) -> SortedDraws:
        """Needs up to each period of the cycle."""
        return SortedDraws(self.pipeline.need.reshape(len(self.keys), -1))

    @cached_property
    def last_need(self) -> SortedDraws:
        """What must have come by the end of the cycle."""
        if self.lost_sales.all():
            return self.worst_need
        return SortedDraws(np.where(self.lost_sales[:, None], self.pipeline.worst_need, self.pipeline.end_net))


class _Demand(NamedTuple):
    """What the demand paths of m items say on average of the periods to come.

    Attributes:
        mean: all demand still to come [m, horizon].
        stocked: what stock is to serve of it [m, horizon].
        broken, negative: whether the paths hold such values and count as 0 [m].
    """

    mean: Doubles
    stocked: Doubles
    broken: Flags
    negative: Flags


def _to_serve(paths: Floats, largest: Doubles, sold: Doubles, last_sale: Doubles) -> tuple[Floats, _Demand]:
    """Return what stock is to serve [horizon, m, n]: without what is bought to order and what is sold already."""
    demand = np.array(paths.transpose(2, 0, 1), dtype=np.float32, order="C")  # a copy: it is worked on in place
    demand[np.arange(1, len(demand) + 1)[:, None] > last_sale] = 0
    mean = demand.mean(axis=2, dtype=np.float64).T
    broken, negative = ~np.isfinite(mean).all(axis=1), np.zeros(len(paths), dtype=bool)
    if broken.any() or demand.min(initial=0.0) < 0:
        negative = demand.min(axis=(0, 2)) < 0
        demand[:, broken | negative] = 0
        mean[broken | negative] = 0
    stocked = mean.copy()
    cut = demand.max(axis=(0, 2)) > largest if np.isfinite(largest).any() else np.zeros_like(negative)
    if cut.any():
        demand[:, cut] = np.minimum(demand[:, cut], largest[cut, None].astype(np.float32))
        stocked[cut] = demand[:, cut].mean(axis=2, dtype=np.float64).T
    if sold.any():
        demand[0] = np.maximum(demand[0] - sold[:, None].astype(np.float32), 0)
        for units in (mean, stocked):
            units[:, 0] -= np.minimum(sold, units[:, 0])
    return demand, _Demand(mean, stocked, broken, negative)


def _simulate(paths: Floats, largest: Doubles, sold: Doubles, last_sale: Doubles, simulation: Simulation) -> _Demand:
    """Run all items through their paths, a few at a time."""
    m, n, horizon = paths.shape
    step = max(_VALUES_AT_ONCE // (n * horizon), 1)
    parts = []
    for start in range(0, max(m, 1), step):
        few = slice(start, min(start + step, m))
        demand, expected = _to_serve(paths[few], largest[few], sold[few], last_sale[few])
        simulation.run(few, demand)
        parts.append(expected)
    return _Demand(*map(np.concatenate, zip(*parts, strict=True)))


def _recommend_part(
    inputs: _Inputs, schedule: _Schedule, lots: pd.DataFrame, rows: slice, paths: Floats, slots: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    keys = inputs.keys.iloc[rows].reset_index(drop=True)
    terms = inputs.terms.iloc[rows].reset_index(drop=True)
    policy = inputs.policy.iloc[rows].reset_index(drop=True)
    exception = inputs.exception[rows]
    wait, lead, review = schedule.wait[rows], schedule.lead[rows], schedule.review[rows]
    protection = wait + lead + review
    largest, sold = _column(policy, "largest_order_units", np.inf), inputs.sold_since[rows]
    last_sale = _column(terms, "last_sale_period", np.inf)
    season_ends = last_sale <= paths.shape[2]
    own_lots = lots[(lots["row"] >= rows.start) & (lots["row"] < rows.stop)]
    with_lots, lot_item = np.unique(own_lots["row"].to_numpy() - rows.start, return_inverse=True)
    expired_by = np.zeros((len(keys), paths.shape[2]), np.int64)
    if with_lots.size:
        _, until_expiry = _to_serve(paths[rows][with_lots], largest[with_lots], sold[with_lots], last_sale[with_lots])
        expired_by[with_lots] = _expired_by(own_lots.assign(item=lot_item), until_expiry.stocked)
    expiring = np.take_along_axis(expired_by, (protection - 1)[:, None], axis=1)[:, 0]
    owed = inputs.reserved[rows] + inputs.backordered[rows]
    supply = (inputs.on_hand[rows] - owed)[:, None] - expired_by
    leads = draw_lead_times(
        keys,
        lead.astype(np.float64),
        _column(terms, "lead_time_mean_periods", np.nan),
        np.where(exception == "", _column(terms, "lead_time_sd_periods", 0.0), 0.0),
        paths.shape[1],
        samples=_lead_time_samples(terms),
        seed=seed,
    )
    coming = schedule.orders.of(rows)
    new, arrivals = draw_arrivals(leads, lead, wait, coming.item, coming.due, coming.expected, coming.as_planned)
    unmet_lost = _texts(policy, "unmet_demand", "lost_sales") == "lost_sales"
    wanted_target = _texts(policy, "target_type", "do_not_stock")
    receipts = Receipts(coming.item, _units(coming.units).astype(np.float32), arrivals)
    simulation = Simulation(
        *(_units(supply).astype(np.float32), receipts, new - 1, review, unmet_lost, paths.shape[1]),
        cycle_slots=slots,
        season_ends=season_ends,
    )
    demand, pipeline = _simulate(paths[rows], largest, sold, last_sale, simulation), simulation.found
    _note(exception, demand.broken, "the demand paths hold NaN or infinite values: forecast this item again")
    _note(exception, demand.negative, "the demand paths hold negative demand: forecast this item again")
    usable = exception == ""
    target = np.where(usable, wanted_target, "do_not_stock")
    value = np.where(usable, _column(policy, "target_value", np.nan), np.nan)
    holding = np.nan_to_num(_column(policy, "holding_cost", 0.0))
    part = _Part(
        keys=keys,
        usable=usable,
        target=target,
        value=value,
        rule=_texts(policy, "order_rule", "order_up_to"),
        model=_texts(policy, "demand_model", "simulated"),
        lost_sales=unmet_lost,
        holding=holding,
        shortage=_implied_shortage_cost(_column(policy, "shortage_cost", np.nan), holding, review, target, value),
        position=inputs.on_hand[rows] + schedule.on_order[rows] - owed,
        expiring=expiring,
        mean_demand=demand.stocked,
        # What is left when the season ends with the cycle has no next buyer to be held for.
        leftover_cost=np.where(last_sale > protection, holding, 0.0)
        * _column(policy, "held_until_sold", 1.0)
        / np.maximum(demand.stocked.mean(axis=1), 1e-9),
        season_cost=np.where(
            season_ends, np.maximum(_column(terms, "unit_cost", 0.0) - _column(policy, "salvage_value", 0.0), 0.0), 0.0
        ),
        last_sale=last_sale,
        pipeline=pipeline,
        worst_need=SortedDraws(pipeline.worst_need),
        season_need=SortedDraws(pipeline.season_need),
    )
    level, wanted = _levels(part, policy)
    inside = np.arange(paths.shape[2]) < protection[:, None]
    expected, stocked = (_thousandths((units * inside).sum(axis=1)) for units in (demand.mean, demand.stocked))
    elsewhere = schedule.not_counted[rows] + schedule.doubtful[rows]
    steps = _steps(part, terms, policy, level, wanted, wait + lead, elsewhere)
    order = np.where(usable, steps["order"], 0)
    shortfall = np.maximum(level - part.position, 0)
    added = steps["moq"] + steps["packs"] + steps["supplier_minimum"]
    multiple = np.maximum(_thousandths(_column(terms, "order_multiple_units", 1.0)), 1)

    def known(values: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> Doubles:
        return np.where(usable, values, np.nan)

    rate = known(np.where(protection > 0, _units(expected) / np.maximum(protection, 1), np.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        cover = [
            np.where(rate > 0, np.maximum(_units(part.position + extra), 0) / rate, np.nan) for extra in (0, order)
        ]
    n, every = paths.shape[1], np.arange(len(keys))
    bought = np.stack([np.zeros(len(keys)), _units(order)], axis=1)
    stockout = (n - part.worst_need.at_most(every, bought + SMALLEST_UNITS / 2)) / n
    lost = np.round(part.worst_need.short(every, bought) / n, 3)
    remainder = np.round(part.season_need.left(every, bought[:, 1:])[:, 0] / n, 3)
    lines = pd.DataFrame(
        {
            **{name: keys[name] for name in KEYS},
            "supplier_id": terms["supplier_id"],
            "target_type": policy["target_type"],
            "target_value": pd.to_numeric(policy["target_value"]),
            "protection_periods": _whole(protection, usable),
            "expected_demand_units": known(_units(expected)),
            "safety_stock_units": known(_units(level - expected)),
            "expiring_units": known(_units(expiring)),
            "order_up_to_units": known(_units(level)),
            "on_hand_units": _units(inputs.on_hand[rows]),
            "on_order_units": _units(schedule.on_order[rows]),
            "on_order_not_counted_units": _units(schedule.not_counted[rows]),
            "on_order_doubtful_units": _units(schedule.doubtful[rows]),
            "reserved_units": _units(inputs.reserved[rows]),
            "backordered_units": _units(inputs.backordered[rows]),
            "inventory_position_units": _units(part.position),
            "shortfall_units": known(_units(shortfall)),
            "moq_added_units": known(_units(steps["moq"])),
            "multiple_added_units": known(_units(steps["packs"])),
            "supplier_minimum_added_units": known(_units(steps["supplier_minimum"])),
            "reduced_units": known(_units(shortfall + added - order)),
            "order_units": _units(order),
            "order_packs": order / multiple,
            "arrival_period": _whole(wait + lead + 1, usable),
            "stockout_period_50": _first_period(pipeline.stockout_by, 0.5, usable),
            "stockout_period_10": _first_period(pipeline.stockout_by, 0.1, usable),
            "stockout_probability_without_order": known(stockout[:, 0]),
            "stockout_probability_with_order": known(stockout[:, 1]),
            "lost_units_without_order": known(lost[:, 0]),
            "lost_units_with_order": known(lost[:, 1]),
            "days_of_cover_before": np.round(cover[0], 3),
            "days_of_cover_after": np.round(cover[1], 3),
            "remainder_units": known(np.where(season_ends, remainder, np.nan)),
            "status": np.where(~usable, "exception", np.where(order > 0, "order", "no_order")),
            "exception": [None if fine else text for fine, text in zip(usable, exception, strict=True)],
        }
    )
    long_terms = _term_rows(part, expected, stocked, level, steps, inputs, schedule, rows)
    return lines[LINE_COLUMNS], long_terms, _benefit_rows(part, terms, order, multiple, steps["most"])


def _whole(values: Integers, known: Flags) -> pd.Series:
    return pd.Series(values, dtype="Int64").where(pd.Series(known))


def _first_period(probability_by: Doubles, level: float, known: Flags) -> pd.Series:
    reached = probability_by >= level
    return pd.Series(reached.argmax(axis=1) + 1, dtype="Int64").where(pd.Series(known & reached.any(axis=1)))


def _lead_time_samples(terms: pd.DataFrame) -> list[npt.NDArray[np.float64] | None] | None:
    if "lead_time_samples" not in terms.columns:
        return None
    return [
        np.asarray(values, dtype=np.float64) if isinstance(values, list | tuple | np.ndarray) else None
        for values in terms["lead_time_samples"]
    ]


def _implied_shortage_cost(
    given: Doubles, holding: Doubles, review: Integers, target: Texts, value: Doubles
) -> Doubles:
    """Fill a missing shortage cost with the one that a service target implies: critical ratio = target value."""
    service = _is_one_of(target, SERVICE_TARGETS) & (value > 0) & (value < 1)
    ratio = np.where(service, value, 0.5)
    return np.where(np.isnan(given), holding * review * ratio / (1 - ratio), given)


def _levels(part: _Part, policy: pd.DataFrame) -> tuple[Thousandths, Thousandths]:
    """Return the order-up-to level if nothing were lost, and the units wanted now that some demand is lost [m]."""
    pipeline, position = part.pipeline, _units(part.position)
    m = len(position)
    level, wanted = np.zeros(m), np.full(m, np.inf)
    by_cycle = part.target == "cycle_service_level"
    if by_cycle.any():
        rows = np.flatnonzero(by_cycle)
        level[rows] = sample_quantile(pipeline.interval_demand[rows], part.value[rows])
        for row in rows[part.model[rows] != "simulated"]:
            level[row] = _named_quantile(part.model[row], pipeline.interval_demand[row], part.value[row])
        losing = rows[part.lost_sales[rows]]
        wanted[losing] = part.worst_need.quantile(losing, part.value[losing])
        level[rows] += _units(part.expiring[rows])
    by_fill = part.target == "fill_rate"
    if by_fill.any():
        rows = np.flatnonzero(by_fill)
        every = np.arange(rows.size)
        at_end, at_start = SortedDraws(pipeline.interval_demand[rows]), SortedDraws(pipeline.start_demand[rows])
        cycle_demand = at_end.mean(every) - at_start.mean(every)
        level[rows] = fill_rate_quantity(every, at_end, at_start, cycle_demand, part.value[rows])
        level[rows] += _units(part.expiring[rows])
        lost = part.lost_sales[rows]
        losing = rows[lost]
        wanted[losing] = fill_rate_quantity(losing, part.worst_need, None, cycle_demand[lost], part.value[losing])
    by_cost = part.target == "cost"
    if by_cost.any():
        rows = np.flatnonzero(by_cost)
        unlost = _cost_quantity(
            part,
            rows,
            SortedDraws(pipeline.demand_to.reshape(m, -1)),
            SortedDraws(pipeline.interval_demand),
            SortedDraws(pipeline.season_demand),
        )
        dated = _cost_quantity(part, rows, part.need, part.last_need, part.season_need)
        # Receipts due inside the cycle may come too late for its first periods: then more than the level is worth it.
        level[rows] = unlost + _units(part.expiring[rows])
        level[rows] = np.where(dated > 0, np.maximum(level[rows], position[rows] + dated), level[rows])
        wanted[rows] = dated
    rule = part.rule
    stocked = _is_one_of(part.target, STOCKED_TARGETS)
    fixed = stocked & (rule == "min_max")
    level = np.where(fixed, _column(policy, "max_units", 0.0), level)
    wanted = np.where(fixed | ~part.lost_sales | ~stocked, np.inf, wanted)
    raised = stocked & (rule == "reorder_point_order_up_to")
    extra = np.where(raised, np.nan_to_num(_column(policy, "order_quantity_units", 0.0)), 0.0)
    return _thousandths(level + extra), _thousandths(wanted + extra)


def _cost_quantity(part: _Part, rows: Places, values: SortedDraws, last: SortedDraws, season: SortedDraws) -> Doubles:
    """Solve b·P(last > q) = h·Σ P(value ≤ q) + (h/d)·E(q − last)⁺ where demand is lost (d = demand of a period).

    Where it waits: Σ [(h + b)·P(value ≤ q) − b] + (h/d)·E(q − last)⁺ = 0. The first sum is the time a further unit
    is held within the cycle, the second the time until it is sold: without it a level that falls later leaves the
    stock of the highest level on the shelf. Where a season ends, each further unit that it leaves costs the unit.
    """
    n = last.ordered.shape[1]
    lost = part.lost_sales[rows]
    holding, shortage = part.holding[rows], part.shortage[rows]
    return weighted_quantity(
        rows,
        values,
        np.where(lost, holding, holding + shortage),
        last,
        np.where(lost, shortage, 0.0),
        part.leftover_cost[rows],
        season,
        part.season_cost[rows],
        np.where(lost, shortage * n, shortage * values.count[rows]),
    )


def _named_quantile(model: str, demand: Floats, level: float) -> float:
    """Return the quantile of a named distribution with the mean and variance of the draws."""
    from scipy import stats

    mean = float(demand.mean(dtype=np.float64))
    variance = float(demand.var(dtype=np.float64, ddof=1)) if demand.size > 1 else 0.0
    if mean <= 0:
        return 0.0
    if model == "normal":
        return max(mean + float(ndtri(level)) * math.sqrt(variance), 0.0)
    if model == "negative_binomial" and variance > mean:
        return float(stats.nbinom.ppf(level, mean**2 / (variance - mean), mean / variance))
    return float(stats.poisson.ppf(level, mean))


def _steps(
    part: _Part,
    terms: pd.DataFrame,
    policy: pd.DataFrame,
    level: Thousandths,
    wanted: Thousandths,
    arrival: Integers,
    not_counted: Thousandths,
) -> dict[str, Thousandths]:
    """Walk from the shortfall to the order; every step's signed change is kept under its term's name."""
    position = part.position
    steps: dict[str, Thousandths] = {}
    quantity = np.maximum(level - position, 0)

    def change(name: str, to: Thousandths) -> None:
        nonlocal quantity
        steps[name] = steps.get(name, 0) + to - quantity
        quantity = to

    multiple = np.maximum(_thousandths(_column(terms, "order_multiple_units", 1.0)), 1)
    moq = _thousandths(_column(terms, "moq_units", 0.0))
    change("not_stocked", np.where(part.target == "do_not_stock", 0, quantity))
    in_time = arrival + 1 <= part.last_sale
    change("after_last_sale", np.where(in_time, quantity, 0))

    fixed_quantity = part.rule == "reorder_point_quantity"
    lot = _thousandths(_column(policy, "order_quantity_units", 0.0))
    stocked = _is_one_of(part.target, STOCKED_TARGETS)
    trigger = np.where(part.rule == "min_max", _thousandths(_column(policy, "min_units", 0.0)), level)
    trigger = np.where(part.rule == "reorder_point_order_up_to", level - lot, trigger)
    triggered = in_time & ((position <= trigger) | ~stocked | (part.rule == "order_up_to"))
    change("above_reorder_point", np.where(triggered, quantity, 0))
    change("lost_before_arrival", np.minimum(quantity, np.maximum(wanted, 0)))
    within = _thousandths(_column(terms, "order_up_to_max_units", np.inf))
    change("order_up_to_max", np.minimum(quantity, np.maximum(within - position, 0)))
    change("shelf_life", np.minimum(quantity, _sellable_in_shelf_life(part, terms, arrival)))
    least_raise = np.where(stocked & ~fixed_quantity, _LEAST_RAISE * np.maximum(position + quantity, 0), 0)
    dampener = np.maximum(_thousandths(_column(policy, "dampener_units", 0.0)), least_raise)
    change("dampened", np.where(quantity < dampener, 0, quantity))

    least = np.where(fixed_quantity & stocked, np.maximum(moq, lot), moq)
    opened = (quantity > 0) | (fixed_quantity & stocked & triggered & (position == level) & (wanted > 0))
    change("moq", np.where(opened, np.maximum(quantity, least), 0))
    by_lot = np.where(fixed_quantity & stocked & (lot > 0), -(-quantity // np.maximum(lot, 1)) * lot, quantity)
    # At the reorder point itself another lot would be ordered at once.
    by_lot = np.where(fixed_quantity & stocked & (by_lot > 0) & (position + by_lot == level), by_lot + lot, by_lot)
    change("packs", -(-by_lot // multiple) * multiple)

    room = np.where(within < _UNLIMITED, within - position + multiple - 1, _UNLIMITED)
    change("order_up_to_max", np.minimum(quantity, np.maximum(room, 0) // multiple * multiple))
    change("not_worth_it", _worthwhile(part, quantity, multiple, least))
    most_order = _thousandths(_column(terms, "max_order_units", np.inf))
    most_stock = _thousandths(_column(terms, "max_stock_units", np.inf)) - position - not_counted
    change("max_order", np.minimum(quantity, most_order // multiple * multiple))
    change("max_stock", np.minimum(quantity, np.maximum(most_stock, 0) // multiple * multiple))
    change("below_moq", np.where(quantity < least, 0, quantity))
    rejected = _thousandths(_column(policy, "rejected_up_to_units", np.nan), missing=-1.0)
    change("rejected", np.where(quantity <= rejected, 0, quantity))
    given = _thousandths(_column(policy, "allocated_units", np.nan), missing=-1.0)
    change("supplier_minimum", np.maximum(quantity, given))
    change("held_back", np.where(given >= 0, np.minimum(quantity, given), quantity))
    steps["order"] = quantity
    steps["most"] = np.maximum(np.minimum(np.minimum(most_order, most_stock), np.maximum(room, quantity)), 0)
    return steps


def _sellable_in_shelf_life(part: _Part, terms: pd.DataFrame, arrival: Integers) -> Thousandths:
    """Return how much can come and still be sold, on average, before it expires on the shelf [m]."""
    life = _column(terms, "shelf_life_periods", np.inf)
    m, horizon = part.mean_demand.shape
    until = np.concatenate([np.zeros((m, 1)), np.cumsum(part.mean_demand, axis=1)], axis=1)
    last = arrival + np.where(np.isfinite(life), life, 0)
    inside = np.minimum(last, horizon).astype(int)
    sold = np.take_along_axis(until, inside[:, None], axis=1)[:, 0]
    sold = sold + np.maximum(last - horizon, 0) * part.mean_demand.mean(axis=1)
    sellable = np.maximum(_thousandths(sold) - part.position, 0)
    return np.asarray(np.where(np.isfinite(life), sellable, _UNLIMITED), dtype=np.int64)


def _worthwhile(part: _Part, quantity: Thousandths, multiple: Thousandths, least: Thousandths) -> Thousandths:
    """For a cost target return the cheaper of the whole packs above and below, or nothing where that is cheapest.

    What is not ordered now can be ordered at the next review: the cycle alone is compared.
    """
    rows = np.flatnonzero((part.target == "cost") & (quantity > 0) & (part.rule == "order_up_to"))
    if not rows.size:
        return quantity
    candidates = np.stack([quantity, np.maximum(quantity - multiple, 0), np.zeros_like(quantity)], axis=1)[rows]
    candidates[:, 1] = np.where(candidates[:, 1] < least[rows], 0, candidates[:, 1])
    costs = _cycle_cost(part, rows, part.need, None, _units(candidates))
    best = np.argmin(np.round(costs, 9), axis=1)
    result: Thousandths = quantity.copy()
    result[rows] = candidates[np.arange(rows.size), best]
    return result


def _term_rows(
    part: _Part,
    expected: Thousandths,
    stocked: Thousandths,
    level: Thousandths,
    steps: dict[str, Thousandths],
    inputs: _Inputs,
    schedule: _Schedule,
    rows: slice,
) -> pd.DataFrame:
    values = {
        "expected_demand": expected,
        "large_orders": stocked - expected,
        "uncertainty": level - stocked - part.expiring,
        "expiring_lots": part.expiring,
        "on_hand": -inputs.on_hand[rows],
        "on_order": -schedule.on_order[rows],
        "reserved": inputs.reserved[rows],
        "backordered": inputs.backordered[rows],
        "surplus": np.maximum(part.position - level, 0),
        **{name: steps[name] for name in TERM_NAMES if name in steps},
    }
    table = np.stack([np.where(part.usable, values[name], 0) for name in TERM_NAMES], axis=1)
    item, step = np.nonzero(table)
    return pd.DataFrame(
        {
            **{name: part.keys[name].to_numpy()[item] for name in KEYS},
            "term": np.array(TERM_NAMES, dtype=object)[step],
            "step": step + 1,
            "units": _units(table[item, step]),
        }
    )


def _benefit_rows(
    part: _Part, terms: pd.DataFrame, order: Thousandths, multiple: Thousandths, most: Thousandths
) -> pd.DataFrame:
    """Split each order into blocks of whole packs, add a few further ones, and price each by the cost it saves."""
    rows = np.flatnonzero(part.usable & (order > 0))
    unit_cost = _column(terms, "unit_cost", 0.0)
    moq = np.maximum(_thousandths(_column(terms, "moq_units", 0.0)), 1)
    first = np.minimum(-(-moq // multiple) * multiple, order)[rows]
    pack = multiple[rows]
    rest = (order[rows] - first) // pack
    inside = _BENEFIT_PACKS - 1
    # Equal shares of the packs beyond the first block, then as many further blocks of the same size.
    size = np.maximum(-(-rest // inside), 1)
    edges = [np.zeros(rows.size, np.int64), first]
    edges += [np.minimum(first + size * pack * k, order[rows]) for k in range(1, inside + 1)]
    ceiling = np.maximum(most[rows] // pack * pack, order[rows])
    edges += [np.minimum(order[rows] + size * pack * k, ceiling) for k in range(1, _BENEFIT_PACKS // 2 + 1)]
    every = np.stack(edges, axis=1)
    cost = np.zeros(every.shape)
    by_cost = part.target[rows] == "cost"
    if by_cost.any():
        cost[by_cost] = _cycle_cost(part, rows[by_cost], part.need, part.last_need, _units(every[by_cost]))
    # A service target prices what is left at the end of the cycle alone.
    cost[~by_cost] = _cycle_cost(part, rows[~by_cost], part.worst_need, None, _units(every[~by_cost]))
    units = np.diff(every, axis=1)
    item, block = np.nonzero(units > 0)
    saved = (cost[:, :-1] - cost[:, 1:])[item, block]
    bought = _units(units[item, block])
    return pd.DataFrame(
        {
            **{name: part.keys[name].to_numpy()[rows[item]] for name in KEYS},
            "supplier_id": terms["supplier_id"].to_numpy()[rows[item]],
            "block": np.cumsum(units > 0, axis=1)[item, block],
            "units": bought,
            "order_cost": np.round(bought * unit_cost[rows[item]], 4),
            "benefit": np.round(saved, 6),
            "in_order": every[item, block + 1] <= order[rows[item]],
        }
    )


def _cycle_cost(part: _Part, rows: Places, need: SortedDraws, last: SortedDraws | None, quantity: Doubles) -> Doubles:
    """Return the cycle's expected cost of some quantities of each row [rows, k]."""
    return expected_cycle_cost(
        rows,
        need,
        part.worst_need,
        last,
        quantity,
        part.holding[rows],
        part.shortage[rows],
        part.leftover_cost[rows],
        part.lost_sales[rows],
        part.season_need,
        part.season_cost[rows],
    )
