"""How much to have: the order-up-to level that a target asks for under the whole demand distribution.

Here belongs what each kind of target and order rule makes of a simulated cycle. What is ordered because of it is in
`ml.restock.steps`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri

from ml.restock.cycle import Cycle
from ml.restock.inputs import Thousandths, column, in_units, thousandths
from ml.restock.simulation import (
    Places,
    SortedDraws,
    fill_rate_quantity,
    sample_quantile,
    weighted_quantity,
)
from ml.schema import Doubles, Floats

# Demand lost before the order arrives is a term of its own where a stock-out before then is at least so likely.
_LIKELY = 0.5


class Levels(NamedTuple):
    """What to have, thousandths [m].

    Attributes:
        order_up_to: what is aimed at: what there is, the units wanted now, and the demand that is likely to be lost
            before they come.
        unlost: the level if nothing were lost; a reorder point lies on it.
        wanted: units wanted now that some demand is lost; no limit where none is.
        lost: units of `order_up_to` that will be lost before an order arrives; 0 where a stock-out until then is
            not likely.
        kept: signed units of `order_up_to` and the others that are kept of the level published last.
    """

    order_up_to: Thousandths
    unlost: Thousandths
    wanted: Thousandths
    lost: Thousandths
    kept: Thousandths


def levels(cycle: Cycle) -> Levels:
    """Return what each item is to have."""
    m = len(cycle.usable)
    level, wanted = np.zeros(m), np.full(m, np.inf)
    for target, found in (
        ("cycle_service_level", _by_service_level),
        ("fill_rate", _by_fill_rate),
        ("cost", _by_cost),
    ):
        rows = np.flatnonzero(cycle.target == target)
        if rows.size:
            level[rows], wanted[rows] = found(cycle, rows)
    level, wanted = _by_rule(cycle, cycle.inputs.policy, level, wanted)
    is_likely = np.isfinite(wanted) & (cycle.pipeline.lost_before_probability >= _LIKELY)
    lost = np.where(is_likely, thousandths(cycle.pipeline.lost_before), 0)
    unlost, units = thousandths(level), thousandths(wanted)
    best = cycle.position + np.minimum(units, unlost - cycle.position) + lost
    kept = _held(cycle, best) - best
    return Levels(best + kept, unlost + kept, units + kept, lost, kept)


def _held(cycle: Cycle, best: Thousandths) -> Thousandths:
    """Return the level published last, moved only as far as brings it within the policy's distance of the best one.

    Other draws, another training or a day more move the best level without a cause that a planner would accept. Near
    it a level costs nearly the same: a newsvendor's cost rises with the square of the distance.
    """
    policy = cycle.inputs.policy
    before = thousandths(column(policy, "held_order_up_to_units", np.nan), missing=-1.0)
    spread = cycle.pipeline.interval_demand.std(axis=1, dtype=np.float64)
    within = thousandths(column(policy, "hold_level_within", 0.0) * spread)
    held = (before >= 0) & cycle.usable & cycle.stocked & (cycle.rule != "min_max")
    return np.where(held, np.clip(before, best - within, best + within), best)


def _by_service_level(cycle: Cycle, rows: Places) -> tuple[Doubles, Doubles]:
    demand, value, lost = cycle.pipeline.interval_demand, cycle.value[rows], cycle.lost_sales[rows]
    level = sample_quantile(demand[rows], value)
    for place in np.flatnonzero(cycle.model[rows] != "simulated"):
        row = rows[place]
        level[place] = _named_quantile(cycle.model[row], demand[row], cycle.value[row])
    wanted = np.full(rows.size, np.inf)
    wanted[lost] = cycle.worst_need.quantile(rows[lost], value[lost])
    return level + in_units(cycle.expiring[rows]), wanted


def _by_fill_rate(cycle: Cycle, rows: Places) -> tuple[Doubles, Doubles]:
    every, value, lost = np.arange(rows.size), cycle.value[rows], cycle.lost_sales[rows]
    at_end = SortedDraws(cycle.pipeline.interval_demand[rows])
    at_start = SortedDraws(cycle.pipeline.start_demand[rows])
    cycle_demand = at_end.mean(every) - at_start.mean(every)
    level = fill_rate_quantity(every, at_end, at_start, cycle_demand, value)
    wanted = np.full(rows.size, np.inf)
    wanted[lost] = fill_rate_quantity(rows[lost], cycle.worst_need, None, cycle_demand[lost], value[lost])
    return level + in_units(cycle.expiring[rows]), wanted


def _by_cost(cycle: Cycle, rows: Places) -> tuple[Doubles, Doubles]:
    pipeline = cycle.pipeline
    unlost = _cost_quantity(
        cycle,
        rows,
        SortedDraws(pipeline.demand_to.reshape(len(cycle.usable), -1)),
        SortedDraws(pipeline.interval_demand),
        SortedDraws(pipeline.season_demand),
    )
    dated = _cost_quantity(cycle, rows, cycle.need, cycle.last_need, cycle.season_need)
    # Receipts due inside the cycle may come too late for its first periods: then more than the level is worth it.
    level = unlost + in_units(cycle.expiring[rows])
    return np.where(dated > 0, np.maximum(level, in_units(cycle.position[rows]) + dated), level), dated


def _by_rule(cycle: Cycle, policy: pd.DataFrame, level: Doubles, wanted: Doubles) -> tuple[Doubles, Doubles]:
    fixed = cycle.stocked & (cycle.rule == "min_max")
    level = np.where(fixed, column(policy, "max_units", 0.0), level)
    wanted = np.where(fixed | ~cycle.lost_sales | ~cycle.stocked, np.inf, wanted)
    raised = cycle.stocked & (cycle.rule == "reorder_point_order_up_to")
    extra = np.where(raised, np.nan_to_num(column(policy, "order_quantity_units", 0.0)), 0.0)
    return level + extra, wanted + extra


def _cost_quantity(cycle: Cycle, rows: Places, values: SortedDraws, last: SortedDraws, season: SortedDraws) -> Doubles:
    """Solve b·P(last > q) = h·Σ P(value ≤ q) + (h/d)·E(q − last)⁺ where demand is lost (d = demand of a period).

    Where it waits: Σ [(h + b)·P(value ≤ q) − b] + (h/d)·E(q − last)⁺ = 0. The first sum is the time a further unit
    is held within the cycle, the second the time until it is sold: without it a level that falls later leaves the
    stock of the highest level on the shelf. Where a season ends, each further unit that it leaves costs the unit.
    """
    n = last.ordered.shape[1]
    rates = cycle.rates.of(rows)
    lost, holding, shortage = rates.lost_sales, rates.holding, rates.shortage
    return weighted_quantity(
        rows,
        values,
        np.where(lost, holding, holding + shortage),
        last,
        np.where(lost, shortage, 0.0),
        rates.leftover,
        season,
        rates.season,
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
