"""The cycle an order covers, item by item: what stock is to serve, what arrives, and what each quantity would cost.

Here belongs running items through their demand paths. What each kind of target makes of it is in `ml.restock.targets`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.restock.exceptions import Cause, Texts
from ml.restock.inputs import (
    STOCKED_TARGETS,
    Inputs,
    Thousandths,
    column,
    in_units,
    is_one_of,
    texts,
    thousandths,
)
from ml.restock.lead_times import draw_arrivals, draw_lead_times, draw_next_lead_times
from ml.restock.schedule import Schedule, expired_by
from ml.restock.simulation import (
    CostRates,
    Integers,
    Pipeline,
    Places,
    Receipts,
    Simulation,
    SortedDraws,
    expected_cycle_cost,
)
from ml.schema import SERVICE_TARGETS, Doubles, Flags, Floats

# Demand of so many draws and periods is simulated at once: a megabyte stays in the processor's cache.
_VALUES_AT_ONCE = 262_144


class Demand(NamedTuple):
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


@dataclass
class Cycle:
    """Items while they are decided, aligned with their inputs and schedule; stock in thousandths.

    Attributes:
        inputs, schedule: of these items.
        usable: whether an order can be worked out.
        target, value: what the policy aims at; do_not_stock where no order can be worked out.
        rule, model: order rule and demand model of the policy.
        rates: what holding, missing and leaving a unit costs.
        position: inventory position, with what proposed transfers would bring.
        unrecorded: what is likely to have been sold without a record.
        expiring: units of lots that expire unsold within the protection interval.
        demand: on average.
        last_sale: last period with demand; infinite where none is known.
        season_ends: whether that period is within the horizon.
        pipeline: what the simulation found.
        worst_need, season_need: of the pipeline, sorted.
    """

    inputs: Inputs
    schedule: Schedule
    usable: Flags
    target: Texts
    value: Doubles
    rule: Texts
    model: Texts
    rates: CostRates
    position: Thousandths
    unrecorded: Thousandths
    expiring: Thousandths
    demand: Demand
    last_sale: Doubles
    season_ends: Flags
    pipeline: Pipeline
    worst_need: SortedDraws
    season_need: SortedDraws

    @property
    def lost_sales(self) -> Flags:
        """Whether unmet demand is lost."""
        return self.rates.lost_sales

    @cached_property
    def stocked(self) -> Flags:
        """Whether the target is one of demand that stock serves."""
        return is_one_of(self.target, STOCKED_TARGETS)

    @cached_property
    def need(self) -> SortedDraws:
        """Needs up to each period of the cycle."""
        return SortedDraws(self.pipeline.need.reshape(len(self.usable), -1))

    @cached_property
    def last_need(self) -> SortedDraws:
        """What must have come by the end of the cycle."""
        if self.lost_sales.all():
            return self.worst_need
        return SortedDraws(np.where(self.lost_sales[:, None], self.pipeline.worst_need, self.pipeline.end_net))

    def cost(self, rows: Places, quantity: Doubles, need: SortedDraws, last: SortedDraws | None) -> Doubles:
        """Return the cycle's expected cost of some quantities of each row, money [rows, k].

        Args:
            rows: the items asked for.
            quantity: units [rows, k].
            need: needs that decide what is held and missed.
            last: what must have come by the end of the cycle; None = what is left then is charged no longer.
        """
        return expected_cycle_cost(rows, need, self.worst_need, last, self.season_need, quantity, self.rates.of(rows))


def demand_to_cover(cycle: Cycle, demand: Doubles) -> Thousandths:
    """Return the demand of the protection interval, thousandths [m], of a demand by period, units [m, horizon]."""
    inside = np.arange(demand.shape[1]) < cycle.schedule.protection[:, None]
    return thousandths((demand * inside).sum(axis=1))


def with_assumed_stock(inputs: Inputs, schedule: Schedule, paths: Floats) -> Inputs:
    """Return inputs in which stock that is taken to last until an order arrives is what will be asked until then."""
    rows = np.flatnonzero(inputs.lasts_until_arrival)
    if not rows.size:
        return inputs
    mean = np.nan_to_num(paths[rows].mean(axis=1, dtype=np.float64))
    inside = np.arange(paths.shape[2]) < schedule.until_arrival[rows, None]
    on_hand = inputs.on_hand.copy()
    on_hand[rows] = thousandths((mean * inside).sum(axis=1)) + inputs.owed[rows]
    return replace(inputs, on_hand=on_hand)


def simulate(inputs: Inputs, schedule: Schedule, lots: pd.DataFrame, paths: Floats, seed: int) -> Cycle:
    """Run items through their demand paths and note those whose paths cannot be used.

    Args:
        inputs: the items.
        schedule: of the same items.
        lots: as of `ml.restock.schedule.lots_of`.
        paths: units [items, n, horizon].
        seed: of the lead-time draws.
    """
    terms, policy, exceptions = inputs.terms, inputs.policy, inputs.exceptions
    n, horizon = paths.shape[1:]
    limits = _Limits(
        largest=column(policy, "largest_order_units", np.inf),
        sold=inputs.sold_since,
        last_sale=column(terms, "last_sale_period", np.inf),
    )
    season_ends = limits.last_sale <= horizon
    expired = _expired(lots, paths, limits)
    lead, end, receipts = _arrivals(inputs, schedule, n, seed)
    lost_sales = texts(policy, "unmet_demand", "lost_sales") == "lost_sales"
    sold = _sold_without_record(inputs, paths, limits, lost_sales)
    unrecorded = thousandths(sold.mean(axis=1, dtype=np.float64))
    owed = inputs.owed[:, None] + schedule.promises.owed_by(lead.max(axis=1, initial=0), horizon)
    simulation = Simulation(
        in_units((inputs.on_hand - unrecorded)[:, None] - owed - expired).astype(np.float32),
        receipts,
        lead,
        end,
        lost_sales,
        n,
        cycle_slots=int((end - lead)[texts(policy, "target_type", "") == "cost"].max(initial=0)),
        season_ends=season_ends,
    )
    demand = _simulated(paths, limits, simulation, sold - in_units(unrecorded)[:, None].astype(np.float32))
    exceptions.note(inputs.unrecorded > horizon, Cause.SALES_MISSING, unrecorded=inputs.unrecorded)
    exceptions.note(demand.broken, Cause.DEMAND_NOT_FINITE)
    exceptions.note(demand.negative, Cause.DEMAND_NEGATIVE)
    usable = exceptions.is_free
    target = np.where(usable, texts(policy, "target_type", "do_not_stock"), "do_not_stock")
    value = np.where(usable, column(policy, "target_value", np.nan), np.nan)
    pipeline = simulation.found
    return Cycle(
        inputs=inputs,
        schedule=schedule,
        usable=usable,
        target=target,
        value=value,
        rule=texts(policy, "order_rule", "order_up_to"),
        model=texts(policy, "demand_model", "simulated"),
        rates=_rates(inputs, schedule, target, value, demand, season_ends),
        position=inputs.on_hand + schedule.on_order + schedule.proposed - schedule.owed - unrecorded,
        unrecorded=unrecorded,
        expiring=np.take_along_axis(expired, (schedule.protection - 1)[:, None], axis=1)[:, 0],
        demand=demand,
        last_sale=limits.last_sale,
        season_ends=season_ends,
        pipeline=pipeline,
        worst_need=SortedDraws(pipeline.worst_need),
        season_need=SortedDraws(pipeline.season_need),
    )


class _Limits(NamedTuple):
    """What stock is not to serve: orders beyond `largest`, what is `sold` already, demand after `last_sale` [m]."""

    largest: Doubles
    sold: Doubles
    last_sale: Doubles

    def of(self, rows: slice | Places) -> _Limits:
        return _Limits(self.largest[rows], self.sold[rows], self.last_sale[rows])


def _to_serve(paths: Floats, limits: _Limits) -> tuple[Floats, Demand]:
    """Return what stock is to serve [horizon, m, n]: without what is bought to order and what is sold already."""
    demand = np.array(paths.transpose(2, 0, 1), dtype=np.float32, order="C")  # a copy: it is worked on in place
    demand[np.arange(1, len(demand) + 1)[:, None] > limits.last_sale] = 0
    mean = demand.mean(axis=2, dtype=np.float64).T
    broken, negative = ~np.isfinite(mean).all(axis=1), np.zeros(len(paths), dtype=bool)
    if broken.any() or demand.min(initial=0.0) < 0:
        negative = demand.min(axis=(0, 2)) < 0
        demand[:, broken | negative] = 0
        mean[broken | negative] = 0
    stocked = mean.copy()
    largest, sold = limits.largest, limits.sold
    cut = demand.max(axis=(0, 2)) > largest if np.isfinite(largest).any() else np.zeros_like(negative)
    if cut.any():
        demand[:, cut] = np.minimum(demand[:, cut], largest[cut, None].astype(np.float32))
        stocked[cut] = demand[:, cut].mean(axis=2, dtype=np.float64).T
    if sold.any():
        demand[0] = np.maximum(demand[0] - sold[:, None].astype(np.float32), 0)
        for units in (mean, stocked):
            units[:, 0] -= np.minimum(sold, units[:, 0])
    return demand, Demand(mean, stocked, broken, negative)


def _sold_without_record(inputs: Inputs, paths: Floats, limits: _Limits, lost_sales: Flags) -> Floats:
    """Return what the periods without a record are likely to have sold, units [m, n]; [m, 1] where there are none.

    They are taken to ask what as many coming ones do. Each draw takes that of its neighbour: what was sold says nothing
    of what will be. Where unmet demand is lost, no more was sold than there was.
    """
    sold = np.zeros((len(paths), paths.shape[1] if inputs.unrecorded.any() else 1), dtype=np.float32)
    for row in np.flatnonzero((inputs.unrecorded > 0) & (inputs.unrecorded <= paths.shape[2])):
        asked = np.minimum(paths[row, :, : int(inputs.unrecorded[row])], limits.largest[row]).sum(axis=1)
        there = in_units(np.maximum(inputs.on_hand[row] - inputs.owed[row], 0)) if lost_sales[row] else np.inf
        sold[row] = np.clip(np.roll(np.nan_to_num(asked), 1), 0.0, there)
    return sold


def _simulated(paths: Floats, limits: _Limits, simulation: Simulation, unforeseen: Floats) -> Demand:
    """Run all items through their paths, a few at a time.

    Args:
        paths: units [m, n, horizon].
        limits: of the same items.
        simulation: of the same items.
        unforeseen: what was sold without a record beyond its mean, units, signed [m, 1 or n].
    """
    m, n, horizon = paths.shape
    step = max(_VALUES_AT_ONCE // (n * horizon), 1)
    parts = []
    for start in range(0, max(m, 1), step):
        few = slice(start, min(start + step, m))
        demand, expected = _to_serve(paths[few], limits.of(few))
        if unforeseen[few].any():
            demand[0] += unforeseen[few]
        simulation.run(few, demand)
        parts.append(expected)
    return Demand(*map(np.concatenate, zip(*parts, strict=True)))


def _expired(lots: pd.DataFrame, paths: Floats, limits: _Limits) -> Thousandths:
    """Return what of the lots is expected to have expired by the start of each period, thousandths [m, horizon]."""
    expired = np.zeros((len(paths), paths.shape[2]), np.int64)
    with_lots, item = np.unique(lots["item"].to_numpy(), return_inverse=True)
    if with_lots.size:
        _, until_expiry = _to_serve(paths[with_lots], limits.of(with_lots))
        expired[with_lots] = expired_by(lots.assign(item=item), until_expiry.stocked)
    return expired


def _arrivals(inputs: Inputs, schedule: Schedule, n: int, seed: int) -> tuple[Integers, Integers, Receipts]:
    """Return after which period a new order can be sold, after which the one that follows it, and what is on order.

    The new order and the open ones arrive on the same draws; the one that follows is late or early by itself. Periods
    are [m, 1 or n].
    """
    terms, coming = inputs.terms, schedule.orders
    leads = draw_lead_times(
        inputs.keys,
        schedule.lead.astype(np.float64),
        column(terms, "lead_time_mean_periods", np.nan),
        np.where(inputs.exceptions.is_free, column(terms, "lead_time_sd_periods", 0.0), 0.0),
        n,
        samples=_lead_time_samples(terms),
        seed=seed,
    )
    new, arrivals = draw_arrivals(
        leads, schedule.lead, schedule.wait, coming.item, coming.due, coming.expected, coming.as_planned
    )
    lead = new - 1
    next_leads = draw_next_lead_times(inputs.keys, leads, schedule.review, seed + 1)
    # An overdue order that holds the new one up holds up the next one as well.
    end = (lead + schedule.review[:, None] + next_leads - leads).astype(np.int32)
    return lead, end, Receipts(coming.item, in_units(coming.units).astype(np.float32), arrivals)


def _lead_time_samples(terms: pd.DataFrame) -> list[npt.NDArray[np.float64] | None] | None:
    if "lead_time_samples" not in terms.columns:
        return None
    return [
        np.asarray(values, dtype=np.float64) if isinstance(values, list | tuple | np.ndarray) else None
        for values in terms["lead_time_samples"]
    ]


def _rates(
    inputs: Inputs, schedule: Schedule, target: Texts, value: Doubles, demand: Demand, season_ends: Flags
) -> CostRates:
    terms, policy = inputs.terms, inputs.policy
    holding = np.nan_to_num(column(policy, "holding_cost", 0.0))
    shortage = column(policy, "shortage_cost", np.nan)
    # What is left when the season ends with the cycle has no next buyer to be held for.
    last_sale = column(terms, "last_sale_period", np.inf)
    held_on = np.where(last_sale > schedule.protection, holding, 0.0) * column(policy, "held_until_sold", 1.0)
    unsold = np.maximum(column(terms, "unit_cost", 0.0) - column(policy, "salvage_value", 0.0), 0.0)
    return CostRates(
        holding=holding,
        shortage=_implied_shortage_cost(shortage, holding, schedule.review, target, value),
        leftover=held_on / np.maximum(demand.stocked.mean(axis=1), 1e-9),
        season=np.where(season_ends, unsold, 0.0),
        lost_sales=texts(policy, "unmet_demand", "lost_sales") == "lost_sales",
    )


def _implied_shortage_cost(
    given: Doubles, holding: Doubles, review: Integers, target: Texts, value: Doubles
) -> Doubles:
    """Fill a missing shortage cost with the one that a service target implies: critical ratio = target value."""
    service = is_one_of(target, SERVICE_TARGETS) & (value > 0) & (value < 1)
    ratio = np.where(service, value, 0.5)
    return np.where(np.isnan(given), holding * review * ratio / (1 - ratio), given)
