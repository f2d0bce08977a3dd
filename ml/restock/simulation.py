"""What an order must cover: the pipeline simulated on every path, and the quantity each kind of target asks for.

Arrays in, arrays out: m items, n paths. Frames, packs and limits are in `ml.restock`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

SMALLEST_UNITS = 0.001  # stock is kept in thousandths of a unit
_BISECTIONS = 32
# Below this many paths beyond the level the empirical quantile is too noisy and the tail is fitted.
_FEWEST_PATHS_BEYOND = 10
_TAIL_SHARE = 0.15


class Pipeline(NamedTuple):
    """Stock and demand of m items on n paths, seen from an order that arrives for its cycle.

    The cycle is the periods from the arrival of this order to the arrival of the next one. A need is how many units
    the order must bring so that nothing is short up to some period of the cycle; negative = that much is spare.

    Attributes:
        interval_demand: demand from now to the end of the cycle [m, n].
        start_demand: demand from now until the order arrives [m, n].
        end_net: demand less supply at the end of the cycle, all of it waiting; not known where it is lost [m, n].
        worst_need: need that keeps the whole cycle free of stock-outs, losses before it left out where they are lost
            for good [m, n].
        need: need up to each period of the cycle [m, slots, n]; slots that the cycle of a path lacks hold +inf.
        demand_to: demand from now to each period of the cycle [m, slots, n]; missing slots hold +inf.
        stockout_by: probability of a stock-out in periods 1 … t without the order [m, horizon].
        season_demand: demand from now to the last period of sale [m, n]; +inf where the horizon holds none, and of one
            column where it does for no item.
        season_need: how many units the order may bring so that none is left after that period, likewise.
        lost_before: units expected to be lost before the order arrives [m].
        lost_before_probability: that some are [m].
    """

    interval_demand: Floats
    start_demand: Floats
    end_net: Floats
    worst_need: Floats
    need: Floats
    demand_to: Floats
    stockout_by: Doubles
    season_demand: Floats
    season_need: Floats
    lost_before: Doubles
    lost_before_probability: Doubles


class Receipts(NamedTuple):
    """Open orders of m items.

    Attributes:
        item: the item of each [orders], ascending.
        units: what it brings [orders].
        arrival: the period from whose start it can be sold [orders, n], or [orders, 1] where all draws agree.
    """

    item: Places
    units: Floats
    arrival: Integers


class Simulation:
    """Stock and open orders of m items, ready to be run through demand paths.

    With cumulated demand D and cumulated supply A the units lost up to t are max(0, max over s ≤ t of D(s) − A(s)):
    the reflection of the net flow at zero (Harrison, Brownian Motion and Stochastic Flow Systems, 1985, section 2.2).
    D never falls, so D − A is highest just before a receipt or at t itself: only these few periods are compared.
    Supply below zero is owed to customers who wait (backorders and reservations): the next receipts serve it first, it
    is never lost.
    """

    def __init__(
        self,
        supply: Floats,
        receipts: Receipts,
        lead: Integers,
        end: Integers,
        lost_sales: Flags,
        n: int,
        *,
        cycle_slots: int = 0,
        season_ends: Flags | None = None,
    ) -> None:
        """Look up what supply allows at the moments that matter.

        Args:
            supply: cumulated units that can be sold up to the end of period t of what is on hand [m, horizon].
            receipts: what open orders add to it.
            lead: periods until the new order arrives, ≥ 0 [m, n], or [m, 1] where all draws agree; it can be sold from
                period lead + 1.
            end: periods until the order after it arrives, likewise: the last period of the cycle, not
                before `lead`; a path whose cycle is empty needs nothing of the order.
            lost_sales: whether unmet demand is lost (else it waits) [m].
            n: paths.
            cycle_slots: periods of the cycle for which `need` and `demand_to` are kept: those of the longest, or 0.
            season_ends: whether the last period of sale is within the horizon: no demand goes on beyond it [m].
        """
        self.lead, self.end = (
            periods[:, :1] if (periods == periods[:, :1]).all() else periods for periods in (lead, end)
        )
        self.lost, self.slots = lost_sales, cycle_slots
        self.receipts, self.differs = receipts, (receipts.arrival != receipts.arrival[:, :1]).any(axis=1)
        (m, horizon), first = supply.shape, receipts.arrival[:, 0]
        # What arrives at one time on all paths is part of the supply that they share.
        shared, brought = ~self.differs & (first <= horizon), np.zeros(supply.shape[::-1])
        np.add.at(brought, (first[shared] - 1, receipts.item[shared]), receipts.units[shared])
        self.supply = (supply.T + np.cumsum(brought, axis=0)).astype(np.float32)[:, :, None]
        interval_demand, start_demand, end_net, worst_need = (np.empty((m, n), np.float32) for _ in range(4))
        need, demand_to = (np.full((m, cycle_slots, n), np.inf, np.float32) for _ in range(2))
        stockout_by = np.zeros((m, horizon))
        self.season_ends = np.zeros(m, dtype=bool) if season_ends is None else season_ends
        self.supply_in_all = supply[:, -1].astype(np.float64)
        np.add.at(self.supply_in_all, receipts.item, receipts.units)
        seen = n if self.season_ends.any() else 1
        season_demand, season_need = (np.full((m, seen), np.inf, np.float32) for _ in range(2))
        self.found = Pipeline(
            *(interval_demand, start_demand, end_net, worst_need, need, demand_to, stockout_by),
            *(season_demand, season_need, np.zeros(m), np.zeros(m)),
        )

    def run(self, few: slice, demand: Floats) -> None:
        """Run some of the items through their paths; `found` holds what came of it.

        Beyond the horizon demand goes on at each path's own mean, where no season has ended.

        Args:
            few: the items.
            demand: units [horizon, items, n], periods first; overwritten by its running sums.
        """
        for t in range(1, len(demand)):
            np.add(demand[t - 1], demand[t], out=demand[t])
        lead, end, lost, found = self.lead[few], self.end[few], self.lost[few, None], self.found
        supply, goes_on = _Supply(self, few), ~self.season_ends[few]
        # Where the next order comes on the same day, the new one has come all the same.
        at_lead, at_end = supply.at(lead), supply.at(np.maximum(end, lead + 1))
        found.start_demand[few], found.interval_demand[few] = (
            _until(demand, lead, goes_on),
            _until(demand, end, goes_on),
        )
        before = found.start_demand[few] - _sellable(at_lead, lost)
        worst = np.subtract(found.interval_demand[few], at_end, out=found.worst_need[few])
        sellable = _sellable(supply.by_period, lost)
        served = demand <= sellable + np.float32(SMALLEST_UNITS / 2)
        for item, arrival in supply.orders:
            period = arrival - 1  # the last one before supply rises
            if period.size == 1 and 1 <= period[0] < len(demand):
                until, at = demand[period[0] - 1, item], supply.by_period[period[0] - 1, item]
                served[period[0] :, item] &= served[period[0] - 1, item]
            else:
                own, last = slice(item, item + 1), np.maximum(period, 1)[None]
                until, at = _until(demand[:, own], last, goes_on[own])[0], supply.at(last, own)[0]
                _end_service(served[:, item], period)
            gap = until - _sellable(at, lost[item])
            np.maximum(before[item], gap, out=before[item], where=(period >= 1) & (period < lead[item]))
            np.maximum(worst[item], until - at, out=worst[item], where=(lead[item] < period) & (period < end[item]))
        found.stockout_by[few] = _ended_by(served)
        lost_before = np.where(lost, np.maximum(before, 0), np.float32(0))
        worst -= lost_before
        found.lost_before[few] = lost_before.mean(axis=1, dtype=np.float64)
        found.lost_before_probability[few] = (lost_before > SMALLEST_UNITS / 2).mean(axis=1)
        if not lost.all():
            found.end_net[few] = found.interval_demand[few] - at_end
        if self.slots:
            self._cycle(few, demand, supply, lost_before)
        if not goes_on.all():
            ended = np.flatnonzero(~goes_on)
            at = ended + few.start
            found.season_demand[at] = demand[-1, ended]
            found.season_need[at] = demand[-1, ended] - self.supply_in_all[at, None] - lost_before[ended]

    def _cycle(self, few: slice, cumulated: Floats, supply: _Supply, lost_before: Floats) -> None:
        highest = np.full(lost_before.shape, -np.inf, np.float32)
        lost = self.lost[few, None]
        for slot in range(self.slots):
            period = np.minimum(self.lead[few] + slot + 1, self.end[few])
            inside = np.broadcast_to(self.lead[few] + slot < self.end[few], highest.shape)
            until, at = _until(cumulated, period, ~self.season_ends[few]), supply.at(period)
            short = until - at
            np.maximum(highest, short, out=highest)
            needed = np.where(lost, highest - lost_before, short)
            np.copyto(self.found.need[few, slot], needed, where=inside)
            np.copyto(self.found.demand_to[few, slot], until, where=inside)


def _end_service(served: Flags, period: Integers) -> None:
    """End service for good on the paths [horizon, n] that run short in the period before a receipt [1 or n]."""
    horizon, n = served.shape
    inside = np.flatnonzero(np.broadcast_to((period >= 1) & (period < horizon), n))
    last = np.broadcast_to(period, n)[inside]
    short = ~served[last - 1, inside]
    served[:, inside[short]] &= np.arange(1, horizon + 1)[:, None] <= last[None, short]


def _sellable(supply: Floats, lost: Flags) -> Floats:
    """Return what can be sold: where unmet demand is lost, supply below zero is owed and serves nobody else."""
    return np.where(lost, np.maximum(supply, np.float32(0)), supply)


class _Supply:
    """Cumulated supply of a few items of a simulation: what is on hand and what open orders bring on each path.

    Attributes:
        by_period: units up to the end of each period of the horizon [horizon, items, 1 or n].
        orders: place among the items and arrival [1 or n] of each open order.
    """

    def __init__(self, simulation: Simulation, few: slice) -> None:
        """Lay out the supply of some of the simulation's items."""
        receipts, supply = simulation.receipts, simulation.supply[:, few]
        first, last = np.searchsorted(receipts.item, (few.start, few.stop))
        place = (receipts.item[first:last] - few.start).tolist()
        differs, units = simulation.differs[first:last], receipts.units[first:last]
        arrivals = [
            arrival if own else arrival[:1] for arrival, own in zip(receipts.arrival[first:last], differs, strict=True)
        ]
        self.orders = list(zip(place, arrivals, strict=True))
        if differs.any():
            periods = np.arange(1, len(supply) + 1)[:, None]
            supply = np.repeat(supply, receipts.arrival.shape[1], axis=2)
            for row in np.flatnonzero(differs):
                supply[:, place[row]] += units[row] * (periods >= arrivals[row])
        self.by_period: Floats = supply
        late = (receipts.arrival[first:last] > len(supply)).any(axis=1)
        self._beyond = [(place[row], arrivals[row], units[row]) for row in np.flatnonzero(late)]

    def at(self, period: Integers, items: slice = slice(None)) -> Floats:
        """Return supply up to periods of each item [items, 1 or n]; after the horizon only open orders change it.

        Before the first period it is taken to be that of the first one: no demand has met it.
        """
        by_period = self.by_period[:, items]
        horizon = len(by_period)
        found: Floats = np.take_along_axis(by_period, (np.clip(period, 1, horizon) - 1)[None], axis=0)[0]
        if self._beyond and (period > horizon).any():
            shown = np.arange(self.by_period.shape[1])[items].tolist()
            for item, arrival, units in self._beyond:
                if item in shown:
                    row = shown.index(item)
                    more = units * ((arrival > horizon) & (arrival <= period[row]))
                    if more.size > found.shape[1]:
                        found = np.repeat(found, more.size, axis=1)
                    found[row] += more
        return found


def _until(cumulated: Floats, period: Integers, goes_on: Flags) -> Floats:
    """Return the demand of each path up to a period of its item, or of the path itself [m, n]; 0 before the first.

    Beyond the horizon it goes on where the item's flag says so [m].
    """
    horizon, m, n = cumulated.shape
    place = np.clip(period, 1, horizon) - 1
    found: Floats
    if period.shape[1] == 1:
        found = cumulated[place[:, 0], np.arange(m)]
    else:
        found = cumulated.ravel()[place * np.int64(m * n) + np.arange(m * n).reshape(m, n)]
    if (period < 1).any():
        found = np.where(period < 1, np.float32(0), found)
    beyond = np.maximum(period - place - 1, 0) * goes_on[:, None]
    return found + beyond.astype(np.float32) * (cumulated[-1] / np.float32(horizon)) if beyond.any() else found


def _ended_by(served: Flags) -> Doubles:
    """Return the share of paths whose service, true up to some period and false after it, has ended by each period."""
    horizon, m, n = served.shape
    periods = np.add.reduce(served.view(np.uint8), axis=0, dtype=np.min_scalar_type(horizon))
    cell = periods + np.arange(m)[:, None] * (horizon + 1)
    ended = np.bincount(cell.ravel(), minlength=m * (horizon + 1)).reshape(m, horizon + 1)
    by: Doubles = np.cumsum(ended[:, :-1], axis=1) / n
    return by


class SortedDraws:
    """Draws of m items in ascending order with their running sums: any expectation is a binary search away.

    Questions are asked for some rows (items) and, of each, for some quantities [rows, k]; answers are summed over the
    draws. Draws of +inf are none.
    """

    def __init__(self, draws: Floats) -> None:
        """Sort draws, units [m, n]."""
        self.ordered = np.sort(draws, axis=1)
        self.count: Places = np.full(*draws.shape)
        self._values = self.ordered
        if np.isinf(self.ordered[:, -1]).any():
            finite = np.isfinite(self.ordered)
            self.count, self._values = finite.sum(axis=1), np.where(finite, self.ordered, np.float32(0))

    @cached_property
    def _sums(self) -> Doubles:
        return _running_sums(self._values)

    @cached_property
    def _sums_of_squares(self) -> Doubles:
        return _running_sums(self._values.astype(np.float64) ** 2)

    def lowest(self, rows: Places) -> Doubles:
        """Return the lowest draw [rows]."""
        lowest: Doubles = self.ordered[rows, 0].astype(np.float64)
        return lowest

    def highest(self, rows: Places) -> Doubles:
        """Return the highest draw [rows]."""
        return self.ordered[rows, self.count[rows] - 1].astype(np.float64)

    def mean(self, rows: Places) -> Doubles:
        """Return the mean draw [rows]."""
        mean: Doubles = self._sums[rows, -1] / self.count[rows]
        return mean

    def at_most(self, rows: Places, quantity: Doubles) -> Places:
        """Return how many draws do not exceed a quantity [rows, k]."""
        n = self.ordered.shape[1]
        flat, start, cut = self.ordered.ravel(), rows[:, None] * n, quantity.astype(np.float32)
        found = np.zeros(quantity.shape, np.int64)
        for step in 1 << np.arange(n.bit_length() - 1, -1, -1):
            further = found + step
            inside = flat[start + np.minimum(further, n) - 1] <= cut
            found = np.where(inside & (further <= n), further, found)
        return found

    def left(self, rows: Places, quantity: Doubles) -> Doubles:
        """Return what a quantity leaves over, Σ (quantity − draw)⁺ [rows, k]."""
        below = self.at_most(rows, quantity)
        return np.asarray(np.maximum(below * quantity - self._sums[rows[:, None], below], 0.0))

    def left_squared(self, rows: Places, quantity: Doubles) -> Doubles:
        """Return Σ ((quantity − draw)⁺)² [rows, k]."""
        below, at = self.at_most(rows, quantity), rows[:, None]
        squares = below * quantity**2 - 2 * quantity * self._sums[at, below] + self._sums_of_squares[at, below]
        return np.asarray(np.maximum(squares, 0.0))

    def short(self, rows: Places, quantity: Doubles) -> Doubles:
        """Return what is wanted beyond a quantity, Σ (draw − quantity)⁺ [rows, k]."""
        below, at = self.at_most(rows, quantity), rows[:, None]
        beyond = self._sums[at, -1] - self._sums[at, below] - (self.count[at] - below) * quantity
        return np.asarray(np.maximum(beyond, 0.0))

    def quantile(self, rows: Places, level: Doubles) -> Doubles:
        """Return the quantile that `sample_quantile` finds, of items without missing draws [rows]."""
        return _ordered_quantile(self.ordered[rows], level)


def _running_sums(values: Floats | Doubles) -> Doubles:
    # Widened first: a sum that widens as it goes takes five times as long.
    sums = np.empty((values.shape[0], values.shape[1] + 1))
    sums[:, 0] = 0.0
    sums[:, 1:] = values
    return np.cumsum(sums, axis=1, out=sums)


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
    return _ordered_quantile(np.sort(values, axis=1), level)


def _ordered_quantile(ordered: Floats, level: Doubles) -> Doubles:
    n = ordered.shape[1]
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
    rows: Places,
    values: SortedDraws,
    weight: Doubles,
    last: SortedDraws,
    last_weight: Doubles,
    leftover_cost: Doubles,
    season: SortedDraws,
    season_cost: Doubles,
    target: Doubles,
) -> Doubles:
    """Return per item the smallest q with w·#(values ≤ q) + l·#(last ≤ q) + c·Σ(q − last)⁺ + s·#(season ≤ q) ≥ target.

    w is weight, l last_weight, c leftover_cost, s season_cost: the first-order condition of a cost convex in the
    quantity ordered.

    Args:
        rows: the items asked for.
        values: units.
        weight: [rows].
        last: what must have come by the end of the cycle, units.
        last_weight: [rows].
        leftover_cost: money per unit left at the end of the cycle, for each unit that is to be sold before it [rows].
        season: what the last period of sale leaves room for, units.
        season_cost: money per unit left after the last period of sale [rows].
        target: [rows].

    Returns:
        Quantities [rows], within 1e-7 of the range above the exact ones.
    """

    def enough(quantity: Doubles) -> Flags:
        cut = quantity[:, None]
        reached = weight * values.at_most(rows, cut)[:, 0] + last_weight * last.at_most(rows, cut)[:, 0]
        reached += leftover_cost * last.left(rows, cut)[:, 0] + season_cost * season.at_most(rows, cut)[:, 0]
        return np.asarray(reached >= target - 1e-9)

    low = np.minimum(np.minimum(values.lowest(rows), last.lowest(rows)), season.lowest(rows)) - 1.0
    return _least(enough, low, np.maximum(values.highest(rows), last.highest(rows)))


def fill_rate_quantity(
    rows: Places, short_at_end: SortedDraws, short_at_start: SortedDraws | None, cycle_demand: Doubles, rate: Doubles
) -> Doubles:
    """Return per item the smallest quantity whose cycle serves the share `rate` of its demand from stock.

    A cycle leaves (short_at_end − q)⁺ short, less what was short before it began, (short_at_start − q)⁺.

    Args:
        rows: the items asked for.
        short_at_end: net requirement at the end of the cycle, units.
        short_at_start: net requirement when the cycle begins, units; None where losses end with their period.
        cycle_demand: mean demand of the cycle, units [rows].
        rate: target share of units served at once, in (0, 1) [rows].

    Returns:
        Quantities [rows]; negative = that much could be spared.
    """
    allowed = (1 - rate) * cycle_demand * short_at_end.ordered.shape[1]

    def enough(quantity: Doubles) -> Flags:
        short = short_at_end.short(rows, quantity[:, None])[:, 0]
        if short_at_start is not None:
            short -= short_at_start.short(rows, quantity[:, None])[:, 0]
        return np.asarray(short <= allowed + 1e-9)

    low = short_at_end.lowest(rows)
    if short_at_start is not None:
        low = np.minimum(low, short_at_start.lowest(rows))
    return _least(enough, low - 1, short_at_end.highest(rows))


def _least(enough: Callable[[Doubles], Flags], low: Doubles, high: Doubles) -> Doubles:
    """Return by bisection the least quantities that are enough, between ones that are not and ones that are."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        found = enough(middle)
        low, high = np.where(found, low, middle), np.where(found, middle, high)
    return high


class CostRates(NamedTuple):
    """What a unit of m items costs [m].

    Attributes:
        holding: money per unit left at the end of a period.
        shortage: money per unit lost, or per unit and period that waits.
        leftover: holding cost over the demand of a period, money: of a unit left at the end of the cycle.
        season: money per unit left after the last period of sale.
        lost_sales: whether unmet demand is lost.
    """

    holding: Doubles
    shortage: Doubles
    leftover: Doubles
    season: Doubles
    lost_sales: Flags

    def of(self, rows: Places) -> CostRates:
        """Return the rates of some items."""
        return CostRates(
            self.holding[rows], self.shortage[rows], self.leftover[rows], self.season[rows], self.lost_sales[rows]
        )


def expected_cycle_cost(
    rows: Places,
    need: SortedDraws,
    worst_need: SortedDraws,
    last: SortedDraws | None,
    season: SortedDraws,
    quantity: Doubles,
    rates: CostRates,
) -> Doubles:
    """Return the expected holding and shortage cost of some quantities per item, and what its season leaves unsold.

    A unit is held for each period of the cycle that ends with it on the shelf; the units left at the end of the cycle
    are held on until they are sold one after the other: u units at a demand of d a period for u² / 2d unit-periods.

    Args:
        rows: the items asked for.
        need: need up to each period of the cycle, units.
        worst_need: need of the whole cycle.
        last: what must have come by the end of the cycle; None = what is left then is charged no longer.
        season: what the last period of sale leaves room for, units.
        quantity: units ordered [rows, k].
        rates: of the rows.

    Returns:
        Money [rows, k].
    """
    n = worst_need.ordered.shape[1]
    missed = np.where(rates.lost_sales[:, None], worst_need.short(rows, quantity), need.short(rows, quantity))
    cost: Doubles = (rates.holding[:, None] * need.left(rows, quantity) + rates.shortage[:, None] * missed) / n
    if last is not None:
        cost += rates.leftover[:, None] * last.left_squared(rows, quantity) / (2 * n)
    if rates.season.any():
        cost += rates.season[:, None] * season.left(rows, quantity) / n
    return cost
