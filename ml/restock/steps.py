"""From a shortfall to an order, step by step: what each rule adds and takes off, in the order in which they apply.

Here belongs the list of the steps and the rules themselves: what minimum order, packs and limits make of an order is
decided in `whole_packs`. The level is decided in `ml.restock.targets`, what lines share in `ml.restock.allocation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from ml.restock.cycle import Cycle, demand_to_cover
from ml.restock.inputs import Thousandths, column, flags, in_units, thousandths
from ml.restock.targets import Levels
from ml.schema import KEYS, Flags


class Step(NamedTuple):
    """One step from the expected demand to the order.

    Attributes:
        name: as it is published.
        sign: 1 = more of it raises the order, -1 = lowers it.
        stage: level (what to have), position (what there is), need (what of the shortfall is not ordered), packs
            (minimum order, packs and limits), person (what a person rejected), sharing (supplier and budget).
        noun: what a change of it speaks of; "" where the change has a sentence of its own.
        less: what the reason says of units it takes off, after "less 12 "; "" where the reason has words of its own.
        comparative: more and less of it in the words of a change.
    """

    name: str
    sign: int
    stage: str
    noun: str
    less: str = ""
    comparative: tuple[str, str] = ("more", "fewer")


# In the order in which they apply. What follows from them: the reason and the changes of a recommendation, the test
# that makes each again (by dbt_project/macros/order_steps.sql, which `make docs` writes) and the documents.
STEPS = (
    Step("expected_demand", 1, "level", "expected demand", comparative=("higher", "lower")),
    Step("large_orders", -1, "level", "demand bought to order", comparative=("more", "less")),
    Step("uncertainty", 1, "level", "units for uncertainty"),
    Step("expiring_lots", 1, "level", "units that expire"),
    Step("kept_level", 1, "level", "units kept of the level published last"),
    Step("on_hand", -1, "position", "stock on hand"),
    Step("on_order", -1, "position", "units on order"),
    Step("reserved", 1, "position", "reserved units"),
    Step("backordered", 1, "position", "backordered units"),
    Step("unrecorded_sales", 1, "position", "units likely sold without a record"),
    Step("surplus", 1, "position", ""),
    Step(
        *("proposed_transfers", -1, "need", "units that proposed transfers bring"),
        "that the proposed transfers bring",
    ),
    Step("not_stocked", -1, "need", "units not kept in stock", "that are not kept in stock"),
    Step(
        *("after_last_sale", -1, "need", "units that would arrive after the last day of sale"),
        "that would arrive after the last day of sale",
    ),
    Step(
        *("above_reorder_point", -1, "need", "units that wait for the reorder point"),
        "until the reorder point is reached",
    ),
    Step(
        *("lost_before_arrival", -1, "need", "units likely to be lost before an order arrives"),
        "likely to be lost before an order arrives",
    ),
    Step(
        *("order_up_to_max", -1, "need", "units above the largest level allowed"),
        "above the largest level allowed",
    ),
    Step("covered", -1, "need", "units of items that last long enough", "as what there is lasts long enough"),
    Step("shelf_life", -1, "need", "units that would expire on the shelf", "that would expire on the shelf"),
    Step("dampened", -1, "need", "units too few to order yet", "too few to order yet"),
    Step("moq", 1, "packs", "units added for the minimum order"),
    Step("packs", 1, "packs", "units added to fill packs"),
    Step("not_worth_it", -1, "packs", "units not worth their cost", "that would cost more to hold than they save"),
    Step("max_order", -1, "packs", "units above the maximum order", "above the maximum order"),
    Step("max_stock", -1, "packs", "units above the maximum stock", "above the maximum stock"),
    Step(
        *("below_moq", -1, "packs", "units that limits leave below the minimum order"),
        "because limits leave less than the minimum order",
    ),
    Step("rejected", -1, "person", "units rejected"),
    Step(
        *("fixed_cost", -1, "sharing", "units that wait for an order worth its fixed cost"),
        "that wait: the supplier's order is not worth its fixed cost yet",
    ),
    Step("supplier_minimum", 1, "sharing", "units added for the supplier's minimum"),
    Step(
        *("held_back", -1, "sharing", "units held back by the budget or the supplier's minimum"),
        "held back by the budget or the supplier's minimum",
    ),
)
TERM_NAMES = tuple(step.name for step in STEPS)

_UNLIMITED = 10**15  # the largest units, in thousandths
# An order that would raise the inventory position by less is within what the level itself is uncertain by.
_LEAST_RAISE = 0.01


@dataclass(frozen=True)
class PackRules:
    """The supplier's and the policy's rules of a quantity, thousandths [m].

    Attributes:
        multiple: units of a pack.
        moq: minimum order.
        order_up_to_max: inventory position that may be passed by less than one pack.
        max_order, max_stock: hard limits of an order and of all stock.
        lot: order quantity of the policy.
        by_lot: whether the rule orders whole lots, (r, Q).
    """

    multiple: Thousandths
    moq: Thousandths
    order_up_to_max: Thousandths
    max_order: Thousandths
    max_stock: Thousandths
    lot: Thousandths
    by_lot: Flags

    @classmethod
    def of(cls, cycle: Cycle) -> PackRules:
        """Read the rules of the items."""
        terms, policy = cycle.inputs.terms, cycle.inputs.policy
        return cls(
            multiple=np.maximum(thousandths(column(terms, "order_multiple_units", 1.0)), 1),
            moq=thousandths(column(terms, "moq_units", 0.0)),
            order_up_to_max=thousandths(column(terms, "order_up_to_max_units", np.inf)),
            max_order=thousandths(column(terms, "max_order_units", np.inf)),
            max_stock=thousandths(column(terms, "max_stock_units", np.inf)),
            lot=thousandths(column(policy, "order_quantity_units", 0.0)),
            by_lot=cycle.stocked & (cycle.rule == "reorder_point_quantity"),
        )

    @property
    def least(self) -> Thousandths:
        """The least an order may be."""
        return np.where(self.by_lot, np.maximum(self.moq, self.lot), self.moq)

    def filled(self, quantity: Thousandths) -> Thousandths:
        """Return quantities raised to whole packs."""
        return -(-quantity // self.multiple) * self.multiple

    def cut(self, quantity: Thousandths) -> Thousandths:
        """Return quantities lowered to whole packs, never below none."""
        return np.maximum(quantity, 0) // self.multiple * self.multiple


class OrderSteps:
    """A quantity on its way to an order, and what each step changed of it, thousandths [m].

    Attributes:
        quantity: as it stands.
        changes: signed change by the name of the step.
    """

    def __init__(self, quantity: Thousandths) -> None:
        """Start with the shortfall."""
        self.quantity = quantity
        self.changes: dict[str, Thousandths] = {}

    def change(self, name: str, to: Thousandths) -> None:
        """Set the quantity; the difference is kept under the step's name."""
        self.changes[name] = self.changes.get(name, 0) + to - self.quantity
        self.quantity = to


def order_steps(cycle: Cycle, levels: Levels) -> tuple[OrderSteps, Thousandths]:
    """Walk from the shortfall to the order.

    Args:
        cycle: the items.
        levels: what they are to have.

    Returns:
        The steps, whose quantity is the order, and the most that limits would let each order be, thousandths [m].
    """
    rules, policy = PackRules.of(cycle), cycle.inputs.policy
    unaided = cycle.position - cycle.schedule.proposed
    steps = OrderSteps(np.maximum(levels.order_up_to - unaided, 0))
    steps.change("proposed_transfers", np.maximum(levels.order_up_to - cycle.position, 0))
    triggered = _needed(steps, cycle, rules, levels)
    at_point = rules.by_lot & triggered & (cycle.position == levels.unlost) & (levels.wanted > 0)
    most = whole_packs(steps, cycle, rules, levels, (steps.quantity > 0) | at_point)
    rejected = thousandths(column(policy, "rejected_up_to_units", np.nan), missing=-1.0)
    steps.change("rejected", np.where(steps.quantity <= rejected, 0, steps.quantity))
    steps.change("fixed_cost", np.where(flags(policy, "waits_for_supplier"), 0, steps.quantity))
    given = thousandths(column(policy, "allocated_units", np.nan), missing=-1.0)
    steps.change("supplier_minimum", np.maximum(steps.quantity, given))
    steps.change("held_back", np.where(given >= 0, np.minimum(steps.quantity, given), steps.quantity))
    hard, room = most
    return steps, np.maximum(np.minimum(hard, np.maximum(room, steps.quantity)), 0)


def _needed(steps: OrderSteps, cycle: Cycle, rules: PackRules, levels: Levels) -> Flags:
    """Take off what is not needed at all, and return whether the order rule lets an order be placed."""
    policy, position, stocked = cycle.inputs.policy, cycle.position, cycle.stocked
    steps.change("not_stocked", np.where(cycle.target == "do_not_stock", 0, steps.quantity))
    in_time = cycle.schedule.until_arrival + 1 <= cycle.last_sale
    steps.change("after_last_sale", np.where(in_time, steps.quantity, 0))
    point = np.where(cycle.rule == "min_max", thousandths(column(policy, "min_units", 0.0)), levels.unlost)
    point = np.where(cycle.rule == "reorder_point_order_up_to", levels.unlost - rules.lot, point)
    triggered: Flags = in_time & ((position <= point) | ~stocked | (cycle.rule == "order_up_to"))
    steps.change("above_reorder_point", np.where(triggered, steps.quantity, 0))
    steps.change("lost_before_arrival", np.maximum(steps.quantity - levels.lost, 0))
    steps.change("order_up_to_max", np.minimum(steps.quantity, np.maximum(rules.order_up_to_max - position, 0)))
    steps.change("covered", np.where(_lasts(cycle), 0, steps.quantity))
    steps.change("shelf_life", np.minimum(steps.quantity, _sellable_in_shelf_life(cycle)))
    raised = np.maximum(position + steps.quantity, 0)
    least_raise = np.where(stocked & (cycle.rule != "reorder_point_quantity"), _LEAST_RAISE * raised, 0)
    dampener = np.maximum(thousandths(column(policy, "dampener_units", 0.0)), least_raise)
    steps.change("dampened", np.where(steps.quantity < dampener, 0, steps.quantity))
    return triggered


def _lasts(cycle: Cycle) -> Flags:
    """Return whether the inventory position lasts longer than the policy lets an item be ordered [m]."""
    most = column(cycle.inputs.policy, "no_order_above_periods", np.inf)
    rate = demand_to_cover(cycle, cycle.demand.mean) / cycle.schedule.protection
    limited = np.isfinite(most) & (cycle.position > 0)
    return np.asarray(limited & (cycle.position > np.where(limited, most, 0) * rate), dtype=bool)


def whole_packs(
    steps: OrderSteps, cycle: Cycle, rules: PackRules, levels: Levels, opened: Flags
) -> tuple[Thousandths, Thousandths]:
    """Raise a quantity to the minimum order and to whole packs, and lower it to what limits allow.

    Args:
        steps: with what is needed.
        cycle: the items.
        rules: of the same items.
        levels: what they are to have.
        opened: whether an order is placed at all [m].

    Returns:
        The most that the maximum order and stock allow, and the most that the order-up-to maximum allows,
        thousandths [m].
    """
    position, multiple, lot = cycle.position, rules.multiple, rules.lot
    steps.change("moq", np.where(opened, np.maximum(steps.quantity, rules.least), 0))
    in_lots = np.where(rules.by_lot & (lot > 0), -(-steps.quantity // np.maximum(lot, 1)) * lot, steps.quantity)
    # At the reorder point itself another lot would be ordered at once.
    in_lots = np.where(rules.by_lot & (in_lots > 0) & (position + in_lots == levels.unlost), in_lots + lot, in_lots)
    steps.change("packs", rules.filled(in_lots))

    within = rules.order_up_to_max
    room = np.where(within < _UNLIMITED, within - position + multiple - 1, _UNLIMITED)
    steps.change("order_up_to_max", np.minimum(steps.quantity, rules.cut(room)))
    steps.change("not_worth_it", _worthwhile(cycle, rules, steps.quantity, levels.kept))
    elsewhere = cycle.schedule.not_counted + cycle.schedule.doubtful
    most_stock = rules.max_stock - position - elsewhere
    steps.change("max_order", np.minimum(steps.quantity, rules.cut(rules.max_order)))
    steps.change("max_stock", np.minimum(steps.quantity, rules.cut(most_stock)))
    steps.change("below_moq", np.where(steps.quantity < rules.least, 0, steps.quantity))
    return np.minimum(rules.max_order, most_stock), room


def _sellable_in_shelf_life(cycle: Cycle) -> Thousandths:
    """Return how much can come and still be sold, on average, before it expires on the shelf [m]."""
    life = column(cycle.inputs.terms, "shelf_life_periods", np.inf)
    mean = cycle.demand.stocked
    m, horizon = mean.shape
    until = np.concatenate([np.zeros((m, 1)), np.cumsum(mean, axis=1)], axis=1)
    last = cycle.schedule.until_arrival + np.where(np.isfinite(life), life, 0)
    inside = np.minimum(last, horizon).astype(int)
    sold = np.take_along_axis(until, inside[:, None], axis=1)[:, 0]
    sold = sold + np.maximum(last - horizon, 0) * mean.mean(axis=1)
    sellable = np.maximum(thousandths(sold) - cycle.position, 0)
    return np.asarray(np.where(np.isfinite(life), sellable, _UNLIMITED), dtype=np.int64)


def _worthwhile(cycle: Cycle, rules: PackRules, quantity: Thousandths, kept: Thousandths) -> Thousandths:
    """For a cost target return the cheaper of the whole packs above and below, or nothing where that is cheapest.

    What is not ordered now can be ordered at the next review: the cycle alone is compared. Where a level is kept, the
    costs are those around the best one.
    """
    rows = np.flatnonzero((cycle.target == "cost") & (quantity > 0) & (cycle.rule == "order_up_to"))
    if not rows.size:
        return quantity
    fewer = np.maximum(quantity - rules.multiple, 0)
    candidates = np.stack([quantity, fewer, np.zeros_like(quantity)], axis=1)[rows]
    candidates[:, 1] = np.where(candidates[:, 1] < rules.least[rows], 0, candidates[:, 1])
    costs = cycle.cost(rows, in_units(candidates - kept[rows, None]), cycle.need, None)
    costs += np.where(candidates > 0, column(cycle.inputs.policy, "line_cost", 0.0)[rows, None], 0.0)
    best = np.argmin(np.round(costs, 9), axis=1)
    result: Thousandths = quantity.copy()
    result[rows] = candidates[np.arange(rows.size), best]
    return result


def step_rows(cycle: Cycle, steps: OrderSteps, levels: Levels, expected: Thousandths) -> pd.DataFrame:
    """Return the signed steps that sum to each order: sku, location_id, term, step, units.

    Args:
        cycle: the items.
        steps: as of `order_steps`.
        levels: what the items are to have.
        expected: demand of the protection interval, thousandths [m].
    """
    inputs, schedule = cycle.inputs, cycle.schedule
    stocked, level = demand_to_cover(cycle, cycle.demand.stocked), levels.order_up_to
    values = {
        "expected_demand": expected,
        "large_orders": stocked - expected,
        "uncertainty": level - stocked - cycle.expiring - levels.kept,
        "expiring_lots": cycle.expiring,
        "kept_level": levels.kept,
        "on_hand": -inputs.on_hand,
        "on_order": -schedule.on_order,
        "reserved": schedule.reserved,
        "backordered": schedule.backordered,
        "unrecorded_sales": cycle.unrecorded,
        "surplus": np.maximum(cycle.position - schedule.proposed - level, 0),
        **steps.changes,
    }
    table = np.stack([np.where(cycle.usable, values[name], 0) for name in TERM_NAMES], axis=1)
    item, step = np.nonzero(table)
    return pd.DataFrame(
        {
            **{name: inputs.keys[name].to_numpy()[item] for name in KEYS},
            "term": np.array(TERM_NAMES, dtype=object)[step],
            "step": step + 1,
            "units": in_units(table[item, step]),
        }
    )
