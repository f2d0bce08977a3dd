"""What to order: every item-location's restock line under its whole demand distribution, term by term.

Here belongs the decision of one moment, put together: inputs, schedule, cycle, target, steps. Each of these has its
module; moves between locations are in `ml.restock.transfers`, shared budgets in `ml.restock.allocation`, the test of a
policy over time in `ml.replay`.

Periods: state is read at the end of period 0; column j of a path is the demand of period j; an open order with
`periods_ahead` j can be sold from the start of period j; an order placed now with lead time l from the start of l + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.restock.benefit import benefit_rows, waiting_costs
from ml.restock.cycle import Cycle, demand_to_cover, simulate, with_assumed_stock
from ml.restock.inputs import Thousandths, align, check_shapes, in_units, texts
from ml.restock.schedule import lots_by_item, lots_of, schedule
from ml.restock.simulation import SMALLEST_UNITS, Integers
from ml.restock.steps import OrderSteps, PackRules, order_steps, step_rows
from ml.restock.targets import levels
from ml.schema import KEYS, Doubles, Flags, Floats

LINE_COLUMNS = [
    "sku", "location_id", "supplier_id", "target_type", "target_value", "protection_periods", "order_interval_periods",
    "expected_demand_units", "safety_stock_units", "expiring_units", "order_up_to_units", "on_hand_units",
    "on_order_units", "transfer_in_units", "on_order_not_counted_units", "on_order_doubtful_units", "reserved_units",
    "backordered_units", "promised_later_units", "unrecorded_sales_units", "inventory_position_units",
    "proposed_transfer_in_units",
    "shortfall_units", "moq_added_units", "multiple_added_units",
    "supplier_minimum_added_units", "reduced_units", "order_units", "order_packs", "arrival_period",
    "stockout_period_50", "stockout_period_10", "stockout_probability_without_order", "stockout_probability_with_order",
    "lost_units_without_order", "lost_units_with_order", "days_of_cover_before", "days_of_cover_after",
    "remainder_units", "waiting_cost", "status", "exception", "exception_cause",
]  # fmt: skip

# Items of so many draws are decided at once, which bounds the memory.
_DRAWS_AT_ONCE = 4_194_304


def recommend(
    keys: pd.DataFrame,
    paths: Floats,
    position: pd.DataFrame,
    open_orders: pd.DataFrame,
    terms: pd.DataFrame,
    policy: pd.DataFrame,
    *,
    lots: pd.DataFrame | None = None,
    promises: pd.DataFrame | None = None,
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
            already, sold_since_units: what it has sold so far, gone from on_hand and no longer to come; and, where
            sales of the last periods have not arrived, unrecorded_periods: how many they are; is_stock_unknown where
            it was never counted or fully received: the policy says what it is taken to be; a missing row is an empty
            shelf.
        open_orders: sku, location_id, periods_ahead (≥ 1, the period from whose start it can be sold as it is expected
            now), units and optionally overdue_periods (how many periods ago it should have come; 0 = not overdue),
            arrives_as_planned (true = it keeps to its date, as a transfer does; else it comes as early or late as the
            lead time drawn for a new order), is_proposed (true = a transfer that nobody has approved: it lessens the
            order, as a step of its own, and is not on order), is_predecessor_stock (true = what is left of the product
            that it follows, no transfer) and is_doubtful (true = later than its supplier ever was:
            it is shown and not counted).
        terms: sku, location_id, supplier_id, lead_time_periods (planning, whole, 0 = sold from the next period on),
            review_periods (0 = 1) and optionally lead_time_mean_periods, lead_time_sd_periods, lead_time_samples (a
            list per row), next_order_in_periods (0 = now), moq_units, order_multiple_units, order_up_to_max_units (may
            be passed by less than one pack), max_order_units and max_stock_units (hard), shelf_life_periods, unit_cost,
            fixed_order_cost (money an order to the supplier costs whatever its size) and reviews_per_order (reviews
            that an order is to last, default 1; `ml.restock.plan` works it out, and the forecast's reach limits it),
            last_sale_period (the last period with demand, 0 or less = it is over; NaN = none is known): the paths count
            until then, no order is placed that would arrive after it, and a cost target charges what it leaves.
        policy: sku, location_id, target_type (cost, cycle_service_level, fill_rate, do_not_stock, make_to_order),
            target_value, unmet_demand (lost_sales or backorders), holding_cost (money per unit left at the end of a
            period), shortage_cost (money per unit lost, or per unit and period that waits) and optionally order_rule
            (order_up_to, reorder_point_order_up_to, reorder_point_quantity, min_max), order_quantity_units,
            min_units, max_units, demand_model (simulated, normal, poisson, negative_binomial), unknown_stock (ask = no
            order before a count, empty, covers_lead_time = it lasts until an order arrives), dampener_units and
            largest_order_units (what a day asks beyond it is bought to order: it shapes no level; NaN = no limit),
            line_cost (money that each order line costs: a cost target waits until a line is worth it),
            no_order_above_periods (nothing is ordered for an item whose position lasts longer; NaN = no limit),
            rejected_up_to_units (a person rejected orders of up to so many units; infinite = any, NaN = none),
            waits_for_supplier (true = `allocate` lets the supplier's order wait, as it is not worth its fixed cost),
            allocated_units (what `allocate` gave the line, whole packs; NaN = what it wants),
            held_order_up_to_units (the level published last; NaN = none) and hold_level_within (that level moves only
            as far as brings it so near to the best one, in standard deviations of the demand of the protection
            interval; default 0),
            held_until_sold (share of the time from the end of the cycle to its sale for which a cost target charges
            a unit left over; default 1, 0 = the next order is sure to want it, as the newsvendor's salvage at cost),
            salvage_value (money a unit left after the last period of sale still brings; default 0).
        lots: sku, location_id, units, expires_in_periods (the last period in which they can be sold).
        promises: sku, location_id, due_in_periods (≥ 1), reserved_units, backordered_units: what customers are promised
            for a later period, besides the position. What is due within the protection interval counts, in its period;
            what no new order can serve in time is kept for it from now on.
        seed: base of the lead-time draws, keyed by (seed, sku, location_id): one more item changes no other's line.

    Returns:
        lines: one row per key, `LINE_COLUMNS`; units to 3 decimals; expected_demand is the mean of the protection
            interval, less what period 1 has sold of its own mean, and
            safety_stock = order_up_to − expected_demand, inventory_position = on_hand + on_order − backordered −
            reserved − unrecorded_sales (what periods without a record are likely to have sold: what as many coming ones
            ask, where unmet demand is lost at most what there was), of which reserved and backordered are due within
            the protection interval (promised_later is due after it),
            shortfall = max(order_up_to − inventory_position, 0) and
            order = shortfall + moq_added + multiple_added + supplier_minimum_added − reduced, all exact;
            transfer_in is the part of on_order that other locations send, proposed_transfer_in what they would send
            besides: probabilities, losses and days of cover after the order count on it;
            order_interval_periods is how long the order is to last once it has come;
            waiting_cost is what waiting for the next review costs in expected shortage less holding cost, NaN where the
            supplier has no fixed order cost or nothing is needed; a line that waits for its supplier has it too;
            remainder_units are expected to be left of all stock and orders after last_sale_period, NaN where none is
            within the horizon; expiring_units is the part of the level that replaces lots which expire unsold;
            exception says what is wrong and what to do, and exception_cause is the code of its
            `ml.restock.exceptions.Cause`, both None where an order can be worked out.
            Stock-out probabilities and lost units (expected; the most that waits at a time where unmet demand waits)
            are those of the cycle that the order covers; the stock-out periods are the first ones by whose end a
            stock-out without the order has at least that percentage.
        terms: sku, location_id, term (`TERM_NAMES`), step, units: the signed terms that sum to order_units;
            kept_level is how far the level lies from the best one because of held_order_up_to_units.
        benefit: sku, location_id, supplier_id, block, units, order_cost, benefit: what each further block of whole
            packs saves in expected holding and shortage cost, never rising from block to block, the order's own blocks
            first (in_order is true), then what may be added to reach a supplier's minimum.

    Raises:
        ValueError: the shapes of keys and paths differ, or a frame lacks a required column.
    """
    check_shapes(keys, paths)
    inputs = align(keys.reset_index(drop=True), position, terms, policy)
    times = schedule(inputs, open_orders, paths.shape[2], promises)
    inputs = with_assumed_stock(inputs, times, paths)
    expiring = lots_by_item(inputs.keys, lots)
    slots = int(times.review[texts(inputs.policy, "target_type", "") == "cost"].max(initial=0))
    step = max(_DRAWS_AT_ONCE // (paths.shape[1] * max(slots, 1)), 1)
    parts = []
    for start in range(0, max(len(keys), 1), step):
        rows = slice(start, min(start + step, len(keys)))
        given, scheduled, held = inputs.part(rows), times.part(rows), lots_of(expiring, rows)
        cycle = simulate(given, scheduled, held, paths[rows], seed)
        lasts = (scheduled.review > scheduled.single_review).any()
        until_review = simulate(given, scheduled.until_next_review, held, paths[rows], seed) if lasts else cycle
        parts.append(_decided(cycle, until_review))
    if len(parts) == 1:
        return parts[0]
    lines, steps, benefit = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    return lines, steps, benefit


@dataclass(frozen=True)
class _Decision:
    """What was decided of the items of a cycle, thousandths [m]."""

    cycle: Cycle
    expected: Thousandths
    level: Thousandths
    steps: OrderSteps
    order: Thousandths
    waiting_cost: Doubles


def _decided(cycle: Cycle, until_review: Cycle) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    found = levels(cycle)
    steps, most = order_steps(cycle, found)
    expected = demand_to_cover(cycle, cycle.demand.mean)
    order = np.where(cycle.usable, steps.quantity, 0)
    wanted = np.where(cycle.usable, order - steps.changes["fixed_cost"], 0)
    waiting = waiting_costs(until_review, cycle.schedule.review, wanted)
    lines = _lines(_Decision(cycle, expected, found.order_up_to, steps, order, waiting))
    return lines, step_rows(cycle, steps, found, expected), benefit_rows(cycle, order, most)


def _lines(decided: _Decision) -> pd.DataFrame:
    cycle, steps, level, order = decided.cycle, decided.steps, decided.level, decided.order
    inputs, times, usable = cycle.inputs, cycle.schedule, cycle.usable
    unaided: Thousandths = cycle.position - times.proposed
    shortfall: Thousandths = np.maximum(level - unaided, 0)
    added = {name: steps.changes[name] for name in ("moq", "packs", "supplier_minimum")}

    def known(values: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> Doubles:
        return np.where(usable, values, np.nan)

    def units(values: Thousandths) -> Doubles:
        return known(in_units(values))

    return pd.DataFrame(
        {
            **{name: inputs.keys[name] for name in KEYS},
            "supplier_id": inputs.terms["supplier_id"],
            "target_type": inputs.policy["target_type"],
            "target_value": pd.to_numeric(inputs.policy["target_value"]),
            "protection_periods": _whole(times.protection, usable),
            "order_interval_periods": _whole(times.review, usable),
            "expected_demand_units": units(decided.expected),
            "safety_stock_units": units(level - decided.expected),
            "expiring_units": units(cycle.expiring),
            "order_up_to_units": units(level),
            "on_hand_units": in_units(inputs.on_hand),
            "on_order_units": in_units(times.on_order),
            "transfer_in_units": in_units(times.transferred),
            "on_order_not_counted_units": in_units(times.not_counted),
            "on_order_doubtful_units": in_units(times.doubtful),
            "reserved_units": in_units(times.reserved),
            "backordered_units": in_units(times.backordered),
            "promised_later_units": in_units(times.promised_later),
            "unrecorded_sales_units": in_units(cycle.unrecorded),
            "inventory_position_units": in_units(unaided),
            "proposed_transfer_in_units": in_units(times.proposed),
            "shortfall_units": units(shortfall),
            "moq_added_units": units(added["moq"]),
            "multiple_added_units": units(added["packs"]),
            "supplier_minimum_added_units": units(added["supplier_minimum"]),
            "reduced_units": units(shortfall + sum(added.values()) - order),
            "order_units": in_units(order),
            "order_packs": order / PackRules.of(cycle).multiple,
            "arrival_period": _whole(times.until_arrival + 1, usable),
            "stockout_period_50": _first_period(cycle.pipeline.stockout_by, 0.5, usable),
            "stockout_period_10": _first_period(cycle.pipeline.stockout_by, 0.1, usable),
            **{name: known(values) for name, values in _outlook(cycle, order).items()},
            **{name: known(values) for name, values in _cover(decided).items()},
            "waiting_cost": known(decided.waiting_cost),
            "status": np.where(~usable, "exception", np.where(order > 0, "order", "no_order")),
            "exception": pd.Series(inputs.exceptions.sentences).mask(usable, None),
            "exception_cause": pd.Series(inputs.exceptions.codes).mask(usable, None),
        }
    )[LINE_COLUMNS]


def _outlook(cycle: Cycle, order: Thousandths) -> dict[str, Doubles]:
    """Return stock-outs and losses of the cycle without and with the order, and what the season leaves of both."""
    n, every = cycle.worst_need.ordered.shape[1], np.arange(len(order))
    bought = np.stack([np.zeros(len(order)), in_units(order)], axis=1)
    stockout = (n - cycle.worst_need.at_most(every, bought + SMALLEST_UNITS / 2)) / n
    lost: Doubles = np.round(cycle.worst_need.short(every, bought) / n, 3)
    remainder: Doubles = np.round(cycle.season_need.left(every, bought[:, 1:])[:, 0] / n, 3)
    return {
        "stockout_probability_without_order": stockout[:, 0],
        "stockout_probability_with_order": stockout[:, 1],
        "lost_units_without_order": lost[:, 0],
        "lost_units_with_order": lost[:, 1],
        "remainder_units": np.where(cycle.season_ends, remainder, np.nan),
    }


def _cover(decided: _Decision) -> dict[str, Doubles]:
    """Return for how many days the inventory position lasts, and with the order and proposed transfers.

    NaN without demand.
    """
    cycle = decided.cycle
    rate = in_units(decided.expected) / cycle.schedule.protection
    with np.errstate(divide="ignore", invalid="ignore"):
        cover: list[Doubles] = [
            np.where(rate > 0, np.maximum(in_units(position), 0) / rate, np.nan)
            for position in (cycle.position - cycle.schedule.proposed, cycle.position + decided.order)
        ]
    return {"days_of_cover_before": cover[0].round(3), "days_of_cover_after": cover[1].round(3)}


def _whole(values: Integers, known: Flags) -> pd.Series:
    return pd.Series(values, dtype="Int64").where(pd.Series(known))


def _first_period(probability_by: Doubles, level: float, known: Flags) -> pd.Series:
    reached = probability_by >= level
    return pd.Series(reached.argmax(axis=1) + 1, dtype="Int64").where(pd.Series(known & reached.any(axis=1)))
