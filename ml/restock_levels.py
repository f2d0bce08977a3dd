"""What an order must cover: the pipeline simulated period by period, and the quantity each kind of target asks for.

Arrays in, arrays out: m items, n paths. Frames, packs and limits are in `ml.restock`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

SMALLEST_UNITS = 0.001  # stock is kept in thousandths of a unit
_BISECTIONS = 32
# Below this many paths beyond the level the empirical quantile is too noisy and the tail is fitted.
_FEWEST_PATHS_BEYOND = 10
_TAIL_SHARE = 0.15


@dataclass(frozen=True)
class Pipeline:
    """Stock and demand of m items on n paths, seen from an order that arrives for its cycle.

    The cycle is the periods from the arrival of this order to the arrival of the next one. A need is how many units
    the order must bring so that nothing is short up to some period of the cycle; negative = that much is spare.

    Attributes:
        interval_demand: demand from now to the end of the cycle [m, n].
        start_demand: demand from now until the order arrives [m, n].
        start_net: demand less supply when the order arrives, all of it waiting [m, n].
        end_net: demand less supply at the end of the cycle, all of it waiting [m, n].
        worst_need: need that keeps the whole cycle free of stock-outs, losses before it left out where they are lost
            for good [m, n].
        need: need up to each period of the cycle [cycle, m, n]; slots that an item's cycle lacks hold +inf.
        demand_to: demand from now to each period of the cycle [cycle, m, n]; missing slots hold +inf.
        stockout_by: probability of a stock-out in periods 1 … t without the order [m, horizon].
    """

    interval_demand: Floats
    start_demand: Floats
    start_net: Floats
    end_net: Floats
    worst_need: Floats
    need: Floats
    demand_to: Floats
    stockout_by: Doubles


def simulate_pipeline(
    paths: Floats, supply: Floats, lead: Integers, review: Integers, lost_sales: Flags, *, keep_cycle: bool
) -> Pipeline:
    """Run stock and open orders through every path, period by period.

    With cumulated demand D and cumulated supply A the units lost up to t are max(0, max over s ≤ t of D(s) − A(s)):
    the reflection of the net flow at zero (Harrison, Brownian Motion and Stochastic Flow Systems, 1985, section 2.2),
    so two running maxima do what a branch per period would. Supply below zero is owed to customers who wait (backorders
    and reservations): the next receipts serve it first, it is never lost.

    Args:
        paths: demand, units [m, n, horizon].
        supply: cumulated units that can be sold up to the end of period t without the order [m, horizon].
        lead: periods until the order arrives, per path [m, n]; it can be sold from period lead + 1.
        review: periods of the cycle [m], at least 1.
        lost_sales: whether unmet demand is lost (else it waits) [m].
        keep_cycle: whether `need` and `demand_to` are kept for every period of the cycle (they are empty otherwise).

    Returns:
        The simulated quantities. Beyond the horizon demand goes on at each path's own mean.
    """
    m, n, horizon = paths.shape
    slots = int(review.max()) if keep_cycle else 0
    by_period = np.ascontiguousarray(paths.transpose(2, 0, 1), dtype=np.float32)
    if (lead == lead[:, :1]).all():
        lead = lead[:, :1]
    end = lead + review[:, None]
    last = int(end.max())
    mean_rate = by_period.mean(axis=0) if last > horizon else np.zeros((1, 1), np.float32)
    sellable = np.where(lost_sales[:, None], np.maximum(supply, 0), supply).astype(np.float32)
    owed = np.where(lost_sales[:, None], np.maximum(-supply, 0), 0).astype(np.float32)
    lost_column = lost_sales[:, None]

    cumulated = np.zeros((m, n), np.float32)
    worst = np.zeros((m, n), np.float32)
    lost_before = np.zeros((m, n), np.float32)
    cycle_worst = np.full((m, n), -np.inf, np.float32)
    interval, start_demand, worst_need = (np.zeros((m, n), np.float32) for _ in range(3))
    start_net = np.repeat(-supply[:, :1], n, axis=1).astype(np.float32)
    end_net = start_net.copy()
    need = np.full((slots, m, n), np.inf, np.float32)
    demand_to = np.full((slots, m, n), np.inf, np.float32)
    stockout_by = np.zeros((m, horizon))
    for t in range(1, max(last, horizon) + 1):
        column = slice(min(t, horizon) - 1, min(t, horizon))
        cumulated += by_period[t - 1] if t <= horizon else mean_rate
        short = cumulated - sellable[:, column]
        np.maximum(worst, short, out=worst)
        if t <= horizon:
            stockout_by[:, t - 1] = np.count_nonzero(worst > SMALLEST_UNITS / 2, axis=1) / n
        if t > last:
            continue
        arriving = _places(lead == t)
        if _any(arriving):
            lost_before[arriving] = np.where(lost_column, worst, 0)[arriving]
            start_demand[arriving] = cumulated[arriving]
            start_net[arriving] = (cumulated - supply[:, column])[arriving]
        inside = _places((lead < t) & (end >= t))
        if not _any(inside):
            continue
        cycle_worst[inside] = np.maximum(cycle_worst[inside], short[inside])
        needed = cycle_worst - lost_before + owed[:, column]
        ending = _places(end == t)
        if _any(ending):
            worst_need[ending] = needed[ending]
            interval[ending] = cumulated[ending]
            end_net[ending] = (cumulated - supply[:, column])[ending]
        if keep_cycle:
            # A cycle is consecutive periods, so t modulo the longest cycle never meets an occupied slot.
            need[t % slots][inside] = np.where(lost_column, needed, short)[inside]
            demand_to[t % slots][inside] = cumulated[inside]
    return Pipeline(interval, start_demand, start_net, end_net, worst_need, need, demand_to, stockout_by)


def _places(chosen: Flags) -> Flags | npt.NDArray[np.int64]:
    """Return whole rows where all paths of an item share their lead time (copied far faster), else single cells."""
    return np.flatnonzero(chosen[:, 0]) if chosen.shape[1] == 1 else chosen


def _any(places: Flags | npt.NDArray[np.int64]) -> bool:
    return bool(places.any()) if places.dtype == bool else places.size > 0


def sample_quantile(values: Floats, level: Doubles) -> Doubles:
    """Return per row the smallest value that at least a share `level` of the values does not exceed.

    Where fewer than 10 values lie beyond the level, the tail is fitted: a generalised Pareto distribution over the
    highest 15 % by probability-weighted moments (Hosking and Wallis, Technometrics 29, 1987, p. 341), never below the
    plain quantile's lower neighbours at the threshold.

    Args:
        values: draws, units [m, n].
        level: one level per row in (0, 1) [m].

    Returns:
        Quantiles, units [m].
    """
    n = values.shape[1]
    ordered = np.sort(values, axis=1)
    index = np.clip(np.ceil(n * level - 1e-9).astype(int) - 1, 0, n - 1)
    result: Doubles = np.take_along_axis(ordered, index[:, None], axis=1)[:, 0].astype(np.float64)
    beyond = n * (1 - level)
    fitted = np.flatnonzero((beyond < _FEWEST_PATHS_BEYOND) & (n * _TAIL_SHARE >= _FEWEST_PATHS_BEYOND))
    if fitted.size:
        result[fitted] = _tail_quantile(ordered[fitted].astype(np.float64), level[fitted])
    return result


def _tail_quantile(ordered: Doubles, level: Doubles) -> Doubles:
    n = ordered.shape[1]
    count = int(n * _TAIL_SHARE)
    threshold = ordered[:, n - count - 1]
    excess = ordered[:, n - count :] - threshold[:, None]
    mean = excess.mean(axis=1)
    # a1 estimates E[X (1 − F(X))] with plotting positions (i − 0.35) / count.
    a1 = (excess * (1 - (np.arange(1, count + 1) - 0.35) / count)).mean(axis=1)
    gap = np.maximum(mean - 2 * a1, 1e-12)
    shape = np.clip(2 - mean / gap, -0.5, 0.4)  # positive = heavy tail
    scale = mean * (1 - shape)  # keeps the mean excess when the shape was clipped
    ratio = (count / n) / (1 - level)
    near_zero = np.abs(shape) < 1e-6
    safe_shape = np.where(near_zero, 1.0, shape)
    grown = np.where(near_zero, np.log(ratio), (ratio**safe_shape - 1) / safe_shape)
    fitted: Doubles = np.maximum(threshold + scale * grown, threshold)
    return fitted


def weighted_quantity(
    values: Floats, weight: Doubles, last: Floats, last_weight: Doubles, leftover_cost: Doubles, target: Doubles
) -> Doubles:
    """Return per item the smallest q with w·#(values ≤ q) + l·#(last ≤ q) + c·Σ(q − last)⁺ ≥ target.

    w is weight, l last_weight, c leftover_cost: the first-order condition of a cost convex in the quantity ordered.

    Args:
        values: [cycle, m, n], +inf where there is none.
        weight: [m].
        last: what must have come by the end of the cycle [m, n].
        last_weight: [m].
        leftover_cost: money per unit left at the end of the cycle, for each unit that is to be sold before it [m].
        target: [m].

    Returns:
        Quantities [m], within 1e-7 of the range above the exact ones.
    """
    finite = np.where(np.isfinite(values), values, np.nan)
    low: Doubles = np.minimum(np.nanmin(finite, axis=(0, 2)), last.min(axis=1)).astype(np.float64) - 1.0
    high: Doubles = np.maximum(np.nanmax(finite, axis=(0, 2)), last.max(axis=1)).astype(np.float64)
    charged = bool((leftover_cost > 0).any())
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        cut = middle.astype(np.float32)[:, None]
        reached = weight * np.count_nonzero(values <= cut[None], axis=2).sum(axis=0)
        reached = reached + last_weight * np.count_nonzero(last <= cut, axis=1)
        if charged:
            reached = reached + leftover_cost * np.maximum(cut - last, 0).sum(axis=1, dtype=np.float64)
        enough = reached >= target - 1e-9
        high = np.where(enough, middle, high)
        low = np.where(enough, low, middle)
    return high


def fill_rate_quantity(
    short_at_end: Floats, short_at_start: Floats | None, cycle_demand: Floats, fill_rate: Doubles
) -> Doubles:
    """Return per item the smallest quantity whose cycle serves the share `fill_rate` of its demand from stock.

    A cycle leaves (short_at_end − q)⁺ short, less what was short before it began, (short_at_start − q)⁺.

    Args:
        short_at_end: net requirement at the end of the cycle, units [m, n].
        short_at_start: net requirement when the cycle begins, units [m, n]; None where losses end with their period.
        cycle_demand: demand of the cycle, units [m, n].
        fill_rate: target share of units served at once, in (0, 1) [m].

    Returns:
        Quantities [m]; negative = that much could be spared.
    """
    allowed = (1 - fill_rate) * cycle_demand.mean(axis=1, dtype=np.float64)
    low: Doubles = short_at_end.min(axis=1).astype(np.float64) - 1
    if short_at_start is not None:
        low = np.minimum(low, short_at_start.min(axis=1).astype(np.float64) - 1)
    high: Doubles = short_at_end.max(axis=1).astype(np.float64)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        cut = middle.astype(np.float32)[:, None]
        short = np.maximum(short_at_end - cut, 0).mean(axis=1, dtype=np.float64)
        if short_at_start is not None:
            short -= np.maximum(short_at_start - cut, 0).mean(axis=1, dtype=np.float64)
        enough = short <= allowed + 1e-9
        high = np.where(enough, middle, high)
        low = np.where(enough, low, middle)
    return high


def expected_cycle_cost(
    need: Floats,
    worst_need: Floats,
    last: Floats,
    quantity: Doubles,
    holding: Doubles,
    shortage: Doubles,
    leftover_cost: Doubles,
    lost_sales: Flags,
) -> Doubles:
    """Return the expected holding and shortage cost of one quantity per item.

    A unit is held for each period of the cycle that ends with it on the shelf; the units left at the end of the cycle
    are held on until they are sold one after the other: u units at a demand of d a period for u² / 2d unit-periods.

    Args:
        need: [cycle, m, n], +inf where an item's cycle has no such period.
        worst_need: [m, n].
        last: what must have come by the end of the cycle [m, n].
        quantity: units ordered [m].
        holding: money per unit left at the end of a period [m].
        shortage: money per unit lost, or per unit and period that waits [m].
        leftover_cost: holding cost over the demand of a period, money; 0 = what is left is charged no longer [m].
        lost_sales: whether unmet demand is lost [m].

    Returns:
        Money [m].
    """
    cut = quantity.astype(np.float32)[:, None]
    n = worst_need.shape[1]
    left = np.maximum(cut[None] - need, 0).sum(axis=(0, 2), dtype=np.float64) / n
    waiting = np.maximum(np.where(np.isfinite(need), need, -np.inf) - cut[None], 0).sum(axis=(0, 2), dtype=np.float64)
    lost = np.maximum(worst_need - cut, 0).sum(axis=1, dtype=np.float64) / n
    leftover = (np.maximum(cut - last, 0) ** 2).sum(axis=1, dtype=np.float64) / n
    cost: Doubles = holding * left + shortage * np.where(lost_sales, lost, waiting / n) + leftover_cost * leftover / 2
    return cost
