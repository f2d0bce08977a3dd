"""Textbook answers: order quantities, newsvendor, (r,Q), (s,S), lot sizing and the normal formulas of service levels.

Closed forms and exact recursions under named demand distributions: alternatives to the simulated decision of
`ml.restock` and its cross-checks. Symbols: h = holding cost per unit and period, p = stock-out cost per unit (and
period, where demand waits), K = fixed cost per order, d = demand per period.

Sources: Snyder and Shen, Fundamentals of Supply Chain Theory, 2nd edition (2019), cited as FoSCT with its section;
Silver, Pyke and Thomas, Inventory and Production Management in Supply Chains, 4th edition (2017), cited as SPT.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

Doubles = npt.NDArray[np.float64]

_TINY = 1e-12


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}: give a number above 0")


def _ordering_cost(fixed_cost: float, demand_rate: float, quantity: float) -> float:
    """Return the fixed cost of orders per period; orders that cost nothing may be as small as they like."""
    if not fixed_cost:
        return 0.0
    _positive(order_quantity=quantity)
    return fixed_cost * demand_rate / quantity


def _not_negative(fixed_cost: float) -> None:
    if not fixed_cost >= 0:
        raise ValueError(f"fixed_cost is {fixed_cost}: give 0 or a number above")


def _check_regions(breakpoints: Sequence[float], unit_costs: Sequence[float]) -> None:
    if len(breakpoints) != len(unit_costs):
        raise ValueError(f"{len(breakpoints)} breakpoints and {len(unit_costs)} unit_costs: give a price for each")
    ascending = all(start < end for start, end in pairwise(breakpoints))
    if not breakpoints or breakpoints[0] != 0 or not ascending:
        raise ValueError(f"breakpoints are {list(breakpoints)}: give them ascending from 0")


def normal_density(z: float) -> float:
    """Return the standard normal density at z."""
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def normal_quantile(level: float) -> float:
    """Return z with P(Z ≤ z) = level, level in (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: give a probability above 0 and below 1")
    return float(special.ndtri(level))


def normal_loss(z: float) -> float:
    """Return G(z) = E(Z − z)⁺ of the standard normal (FoSCT appendix C.3.1)."""
    return normal_density(z) - z * float(special.ndtr(-z))


def normal_second_loss(z: float) -> float:
    """Return E[((Z − z)⁺)²] / 2 of the standard normal (FoSCT appendix C.3.1)."""
    return ((z * z + 1) * float(special.ndtr(-z)) - z * normal_density(z)) / 2


def poisson_pmf(mean: float, tail: float = 1e-16) -> Doubles:
    """Return P(D = 0), P(D = 1) … of a Poisson, as far as more than `tail` is left."""
    last = int(mean + 12 * math.sqrt(mean) + 30)
    values = np.arange(last + 1)
    pmf = np.exp(values * math.log(mean) - mean - special.gammaln(values + 1)) if mean > 0 else (values == 0) * 1.0
    end = int(np.searchsorted(np.cumsum(pmf), 1 - tail)) + 1
    return np.asarray(pmf[: max(end, 1)], dtype=np.float64)


def lead_time_demand_sd(demand_mean: float, demand_sd: float, periods_mean: float, lead_time_sd: float) -> float:
    """Return the sd of demand over an uncertain interval, demand and lead time independent.

    sd² = E[L]·sd_d² + E[d]²·sd_L² (SPT section 6.10). `periods_mean` is lead time plus review period; `demand_sd` is
    the sd of the forecast error of one period.
    """
    return math.sqrt(periods_mean * demand_sd**2 + demand_mean**2 * lead_time_sd**2)


def safety_stock(cycle_service_level: float, sd: float) -> float:
    """Return the units above mean demand for a cycle service level, demand normal with that sd (SPT section 6.7.4)."""
    return normal_quantile(cycle_service_level) * sd


def reorder_point(
    demand_mean: float, demand_sd: float, periods_mean: float, lead_time_sd: float, cycle_service_level: float
) -> float:
    """Return mean demand of the interval plus safety stock: the reorder point, or order-up-to level with a review."""
    sd = lead_time_demand_sd(demand_mean, demand_sd, periods_mean, lead_time_sd)
    return demand_mean * periods_mean + safety_stock(cycle_service_level, sd)


def fill_rate_factor(fill_rate: float, order_quantity: float, sd: float, *, exact: bool = True) -> float:
    """Return the safety factor k of an (r,Q) policy for a fill rate, demand of the lead time normal.

    Exact: 1 − σ[G(k) − G(k + Q/σ)]/Q; else the approximation with the first loss alone (SPT section 6.7.5).

    Args:
        fill_rate: share of units served from stock, in (0, 1).
        order_quantity: Q, units.
        sd: σ of demand over the lead time, units.
        exact: which of the two.
    """
    _positive(order_quantity=order_quantity, sd=sd)
    allowed = (1 - fill_rate) * order_quantity / sd

    def gap(k: float) -> float:
        return normal_loss(k) - (normal_loss(k + order_quantity / sd) if exact else 0.0) - allowed

    low, high = -10.0 - order_quantity / sd, 10.0
    if gap(low) < 0:
        raise ValueError(f"fill rate {fill_rate} is met without any safety stock at quantity {order_quantity}")
    return float(optimize.brentq(gap, low, high, xtol=1e-13))


# Economic order quantities


def economic_order_quantity(
    fixed_cost: float, holding_cost: float, demand_rate: float, order_quantity: float | None = None
) -> tuple[float, float]:
    """Return (quantity, cost per period): √(2Kd/h), or the cost of a given quantity (FoSCT section 3.2)."""
    _positive(holding_cost=holding_cost, demand_rate=demand_rate)
    _not_negative(fixed_cost)
    quantity = math.sqrt(2 * fixed_cost * demand_rate / holding_cost) if order_quantity is None else order_quantity
    return quantity, _ordering_cost(fixed_cost, demand_rate, quantity) + holding_cost * quantity / 2


def economic_order_quantity_with_backorders(
    fixed_cost: float,
    holding_cost: float,
    stockout_cost: float,
    demand_rate: float,
    order_quantity: float | None = None,
    stockout_fraction: float | None = None,
) -> tuple[float, float, float]:
    """Return (quantity, share of demand that waits, cost per period) with planned backorders (FoSCT section 3.5)."""
    _positive(holding_cost=holding_cost, stockout_cost=stockout_cost, demand_rate=demand_rate)
    _not_negative(fixed_cost)
    if (order_quantity is None) != (stockout_fraction is None):
        raise ValueError("give order_quantity and stockout_fraction together, or neither")
    both = holding_cost + stockout_cost
    quantity = math.sqrt(2 * fixed_cost * demand_rate * both / (holding_cost * stockout_cost))
    waits = holding_cost / both
    if order_quantity is not None and stockout_fraction is not None:
        quantity, waits = order_quantity, stockout_fraction
    stock = holding_cost * quantity * (1 - waits) ** 2 / 2
    ordering = _ordering_cost(fixed_cost, demand_rate, quantity)
    return quantity, waits, stock + stockout_cost * quantity * waits**2 / 2 + ordering


def economic_production_quantity(
    fixed_cost: float,
    holding_cost: float,
    demand_rate: float,
    production_rate: float,
    order_quantity: float | None = None,
) -> tuple[float, float]:
    """Return (quantity, cost per period) when a batch arrives at a finite rate (FoSCT section 3.6)."""
    if not production_rate > demand_rate:
        raise ValueError(f"production_rate {production_rate} must be above demand_rate {demand_rate}")
    slowed = holding_cost * (1 - demand_rate / production_rate)
    return economic_order_quantity(fixed_cost, slowed, demand_rate, order_quantity)


def economic_order_quantity_with_all_units_discounts(
    fixed_cost: float,
    holding_cost_rate: float,
    demand_rate: float,
    breakpoints: Sequence[float],
    unit_costs: Sequence[float],
) -> tuple[float, int, float]:
    """Return (quantity, index of its price region, cost per period); one price for all units (FoSCT section 3.4.1)."""
    _positive(holding_cost_rate=holding_cost_rate, demand_rate=demand_rate, unit_cost=min(unit_costs, default=0))
    _not_negative(fixed_cost)
    _check_regions(breakpoints, unit_costs)

    def cost(quantity: float, price: float) -> float:
        ordering = _ordering_cost(fixed_cost, demand_rate, quantity)
        return price * demand_rate + ordering + holding_cost_rate * price * quantity / 2

    best: tuple[float, int, float] | None = None
    for region, (start, price) in enumerate(zip(breakpoints, unit_costs, strict=True)):
        end = breakpoints[region + 1] if region + 1 < len(breakpoints) else math.inf
        quantity = max(math.sqrt(2 * fixed_cost * demand_rate / (holding_cost_rate * price)), start)
        if quantity < end and (best is None or cost(quantity, price) < best[2]):
            best = (quantity, region, cost(quantity, price))
    if best is None:
        raise ValueError(f"breakpoints {list(breakpoints)} leave no quantity: give them ascending from 0")
    return best


def economic_order_quantity_with_incremental_discounts(
    fixed_cost: float,
    holding_cost_rate: float,
    demand_rate: float,
    breakpoints: Sequence[float],
    unit_costs: Sequence[float],
) -> tuple[float, int, float]:
    """Return (quantity, region, cost per period); each price for the units of its region (FoSCT section 3.4.2)."""
    _positive(holding_cost_rate=holding_cost_rate, demand_rate=demand_rate, unit_cost=min(unit_costs, default=0))
    _not_negative(fixed_cost)
    _check_regions(breakpoints, unit_costs)
    best: tuple[float, int, float] | None = None
    earlier = 0.0  # what the units before the region cost beyond the region's own price
    for region, (start, price) in enumerate(zip(breakpoints, unit_costs, strict=True)):
        if region:
            earlier += (unit_costs[region - 1] - price) * start
        end = breakpoints[region + 1] if region + 1 < len(breakpoints) else math.inf
        rate = holding_cost_rate * price
        quantity = math.sqrt(2 * (fixed_cost + earlier) * demand_rate / rate)
        if start <= quantity < end:
            held = holding_cost_rate * earlier / 2 + rate * quantity / 2
            cost = price * demand_rate + held + _ordering_cost(fixed_cost + earlier, demand_rate, quantity)
            if best is None or cost < best[2]:
                best = (quantity, region, cost)
    if best is None:
        raise ValueError(f"breakpoints {list(breakpoints)} leave no quantity: give them ascending from 0")
    return best


# Newsvendor


def newsvendor_normal_cost(
    base_stock_level: float,
    holding_cost: float,
    stockout_cost: float,
    demand_mean: float,
    demand_sd: float,
    lead_time: float = 0,
) -> float:
    """Return the expected cost per period of a base-stock level, demand normal, unmet demand waits (FoSCT 4.3.2)."""
    mean, sd = demand_mean * (lead_time + 1), demand_sd * math.sqrt(lead_time + 1)
    z = (base_stock_level - mean) / sd
    return holding_cost * (base_stock_level - mean) + (holding_cost + stockout_cost) * sd * normal_loss(z)


def newsvendor_normal(
    holding_cost: float,
    stockout_cost: float,
    demand_mean: float,
    demand_sd: float,
    lead_time: float = 0,
    base_stock_level: float | None = None,
) -> tuple[float, float]:
    """Return (base-stock level, cost): the quantile p/(h+p) of lead-time demand, or a given level's cost."""
    _positive(holding_cost=holding_cost, stockout_cost=stockout_cost, demand_sd=demand_sd)
    ratio = stockout_cost / (stockout_cost + holding_cost)
    best = demand_mean * (lead_time + 1) + normal_quantile(ratio) * demand_sd * math.sqrt(lead_time + 1)
    level = best if base_stock_level is None else base_stock_level
    return level, newsvendor_normal_cost(level, holding_cost, stockout_cost, demand_mean, demand_sd, lead_time)


def newsvendor_discrete(
    holding_cost: float,
    stockout_cost: float,
    demand_pmf: Sequence[float] | Doubles,
    base_stock_level: int | None = None,
) -> tuple[float, float]:
    """Return (base-stock level, cost) for demand 0, 1, 2 … with these probabilities (FoSCT section 4.3.2.7)."""
    _positive(holding_cost=holding_cost, stockout_cost=stockout_cost)
    pmf = np.asarray(demand_pmf, dtype=np.float64)
    ratio = stockout_cost / (stockout_cost + holding_cost)
    level = int(np.searchsorted(np.cumsum(pmf), ratio - _TINY)) if base_stock_level is None else base_stock_level
    gap = level - np.arange(pmf.size)
    cost = float(pmf @ (holding_cost * np.maximum(gap, 0) + stockout_cost * np.maximum(-gap, 0)))
    return float(level), cost


def newsvendor_poisson(
    holding_cost: float,
    stockout_cost: float,
    demand_mean: float,
    lead_time: float = 0,
    base_stock_level: int | None = None,
) -> tuple[float, float]:
    """Return (base-stock level, cost) for Poisson demand."""
    pmf = poisson_pmf(demand_mean * (lead_time + 1))
    return newsvendor_discrete(holding_cost, stockout_cost, pmf, base_stock_level)


def newsvendor_poisson_cost(
    base_stock_level: int, holding_cost: float, stockout_cost: float, demand_mean: float, lead_time: float = 0
) -> float:
    """Return the expected cost of a base-stock level for Poisson demand."""
    return newsvendor_poisson(holding_cost, stockout_cost, demand_mean, lead_time, base_stock_level)[1]


def newsvendor_normal_explicit(
    revenue: float,
    purchase_cost: float,
    salvage_value: float,
    demand_mean: float,
    demand_sd: float,
    holding_cost: float = 0,
    stockout_cost: float = 0,
    lead_time: float = 0,
    base_stock_level: float | None = None,
) -> tuple[float, float]:
    """Return (base-stock level, expected profit) from prices (FoSCT section 4.3.2.4).

    Overage costs purchase − salvage + h, underage revenue − purchase + p.
    """
    over, under = purchase_cost - salvage_value + holding_cost, revenue - purchase_cost + stockout_cost
    level, cost = newsvendor_normal(over, under, demand_mean, demand_sd, lead_time, base_stock_level)
    return level, (revenue - purchase_cost) * demand_mean * (lead_time + 1) - cost


def newsvendor_poisson_explicit(
    revenue: float,
    purchase_cost: float,
    salvage_value: float,
    demand_mean: float,
    holding_cost: float = 0,
    stockout_cost: float = 0,
    lead_time: float = 0,
    base_stock_level: int | None = None,
) -> tuple[float, float]:
    """Return (base-stock level, expected profit) from prices for Poisson demand, see `newsvendor_normal_explicit`."""
    over, under = purchase_cost - salvage_value + holding_cost, revenue - purchase_cost + stockout_cost
    level, cost = newsvendor_poisson(over, under, demand_mean, lead_time, base_stock_level)
    return level, (revenue - purchase_cost) * demand_mean * (lead_time + 1) - cost


def myopic_cost(
    base_stock_level: float,
    holding_cost: float,
    stockout_cost: float,
    purchase_cost: float,
    purchase_cost_next: float,
    demand_mean: float,
    demand_sd: float,
    discount_factor: float = 1.0,
) -> float:
    """Return one period's expected cost when what is left is worth its price next period (FoSCT section 4.5.1.1)."""
    cost = newsvendor_normal_cost(base_stock_level, holding_cost, stockout_cost, demand_mean, demand_sd)
    kept = purchase_cost - discount_factor * purchase_cost_next
    return cost + kept * base_stock_level + discount_factor * purchase_cost_next * demand_mean


def myopic_base_stock(
    holding_cost: float,
    stockout_cost: float,
    purchase_cost: float,
    purchase_cost_next: float,
    demand_mean: float,
    demand_sd: float,
    discount_factor: float = 1.0,
    base_stock_level: float | None = None,
) -> tuple[float, float]:
    """Return (base-stock level, cost) that is best for one period, see `myopic_cost`."""
    kept = purchase_cost - discount_factor * purchase_cost_next
    ratio = (stockout_cost - kept) / (stockout_cost + holding_cost)
    level = demand_mean + normal_quantile(ratio) * demand_sd if base_stock_level is None else base_stock_level
    return level, myopic_cost(
        level,
        holding_cost,
        stockout_cost,
        purchase_cost,
        purchase_cost_next,
        demand_mean,
        demand_sd,
        discount_factor,
    )


# (r,Q)


def reorder_point_cost(
    reorder_point: float,
    order_quantity: float,
    holding_cost: float,
    stockout_cost: float,
    fixed_cost: float,
    demand_mean: float,
    demand_sd: float,
    lead_time: float,
) -> float:
    """Return the exact cost per period of (r,Q), lead-time demand normal, unmet demand waits (FoSCT section 5.1).

    [K·d + ∫ g(y) dy from r to r + Q] / Q with g the newsvendor cost of lead-time demand; the integral is in closed
    form through the second loss function.
    """
    _positive(order_quantity=order_quantity)
    mean, sd = demand_mean * lead_time, demand_sd * math.sqrt(lead_time)

    def integral(y: float) -> float:
        surplus = holding_cost * (y - mean) ** 2 / 2
        return surplus - (holding_cost + stockout_cost) * sd**2 * normal_second_loss((y - mean) / sd)

    total = integral(reorder_point + order_quantity) - integral(reorder_point)
    return (fixed_cost * demand_mean + total) / order_quantity


def reorder_point_for_quantity(
    order_quantity: float,
    holding_cost: float,
    stockout_cost: float,
    demand_mean: float,
    demand_sd: float,
    lead_time: float,
) -> float:
    """Return the r at which g(r) = g(r + Q): best for that Q (FoSCT lemma 5.1; Zheng, Management Science 38, 1992)."""
    mean, sd = demand_mean * lead_time, demand_sd * math.sqrt(lead_time)

    def g(y: float) -> float:
        return newsvendor_normal_cost(y, holding_cost, stockout_cost, mean, sd)

    best, _ = newsvendor_normal(holding_cost, stockout_cost, mean, sd)
    return float(
        optimize.brentq(lambda r: g(r) - g(r + order_quantity), best - order_quantity, best, xtol=1e-11, rtol=1e-14)
    )


def _poisson_gap_costs(holding_cost: float, stockout_cost: float, mean: float, low: int, high: int) -> Doubles:
    """Return the newsvendor cost of lead-time demand at levels low … high."""
    pmf = poisson_pmf(mean)
    gap = np.arange(low, high + 1)[:, None] - np.arange(pmf.size)[None, :]
    costs: Doubles = (holding_cost * np.maximum(gap, 0) + stockout_cost * np.maximum(-gap, 0)) @ pmf
    return costs


def reorder_point_cost_poisson(
    reorder_point: int,
    order_quantity: int,
    holding_cost: float,
    stockout_cost: float,
    fixed_cost: float,
    demand_mean: float,
    lead_time: float,
) -> float:
    """Return the exact cost per period of (r,Q) with Poisson demand (FoSCT section 5.5.3)."""
    first, last = int(reorder_point) + 1, int(reorder_point) + int(order_quantity)
    costs = _poisson_gap_costs(holding_cost, stockout_cost, demand_mean * lead_time, first, last)
    return float((fixed_cost * demand_mean + costs.sum()) / order_quantity)


def reorder_point_poisson_exact(
    holding_cost: float, stockout_cost: float, fixed_cost: float, demand_mean: float, lead_time: float
) -> tuple[int, int, float]:
    """Return the best (r, Q, cost per period) for Poisson demand.

    Levels are taken in by rising cost until the next one would raise the average (Federgruen and Zheng, Operations
    Research 40, 1992, p. 808; FoSCT section 5.5.3).
    """
    mean = demand_mean * lead_time
    level, _ = newsvendor_poisson(holding_cost, stockout_cost, mean)
    low = high = int(level)

    def cost(y: int) -> float:
        return float(_poisson_gap_costs(holding_cost, stockout_cost, mean, y, y)[0])

    total = fixed_cost * demand_mean + cost(low)
    while True:
        below, above = cost(low - 1), cost(high + 1)
        if min(below, above) >= total / (high - low + 1):
            return low - 1, high - low + 1, total / (high - low + 1)
        total += min(below, above)
        low, high = (low - 1, high) if below <= above else (low, high + 1)


# (s,S)


def _renewals(pmf: Doubles, length: int) -> tuple[Doubles, Doubles]:
    """Return m(j), the expected visits of level S − j between two orders, and its sums M(j), j = 0 … length."""
    visits = np.zeros(length + 1)
    visits[0] = 1 / (1 - pmf[0])
    for j in range(1, length + 1):
        reach = min(j, pmf.size - 1)
        visits[j] = (pmf[1 : reach + 1] @ visits[j - 1 : j - reach - 1 if j > reach else None : -1]) / (1 - pmf[0])
    return visits, np.concatenate([[0.0], np.cumsum(visits)])


def _level_costs(holding_cost: float, stockout_cost: float, pmf: Doubles) -> Callable[[int], float]:
    values = np.arange(pmf.size)

    def cost(y: int) -> float:
        gap = y - values
        return float(pmf @ (holding_cost * np.maximum(gap, 0) + stockout_cost * np.maximum(-gap, 0)))

    return cost


def min_max_cost(
    s: int, S: int, holding_cost: float, stockout_cost: float, fixed_cost: float, demand_pmf: Sequence[float] | Doubles
) -> float:
    """Return the exact cost per period of (s,S) with whole demand, no lead time (FoSCT section 4.4.2).

    When stock is at or below s at a review it is raised to S; the average over the visits of each level between two
    orders is [K + Σ m(j)·g(S − j)] / M(S − s) (Zheng and Federgruen, Operations Research 39, 1991, p. 654).
    """
    if s >= S:
        raise ValueError(f"S is {S} and s is {s}: give S above s")
    pmf = np.asarray(demand_pmf, dtype=np.float64)
    cost = _level_costs(holding_cost, stockout_cost, pmf)
    visits, sums = _renewals(pmf, S - s)
    total = fixed_cost + sum(visits[j] * cost(S - j) for j in range(S - s))
    return float(total / sums[S - s])


def min_max_exact(
    holding_cost: float, stockout_cost: float, fixed_cost: float, demand_pmf: Sequence[float] | Doubles
) -> tuple[int, int, float]:
    """Return the best (s, S, cost per period) by the algorithm of Zheng and Federgruen (1991, p. 659)."""
    pmf = np.asarray(demand_pmf, dtype=np.float64)
    cost = _level_costs(holding_cost, stockout_cost, pmf)
    level, _ = newsvendor_discrete(holding_cost, stockout_cost, pmf)
    best_level = int(level)

    def average(s: int, S: int) -> float:
        return min_max_cost(s, S, holding_cost, stockout_cost, fixed_cost, pmf)

    S = best_level
    s = best_level - 1
    while average(s, S) > cost(s):
        s -= 1
    best_s, best_S, best = s, S, average(s, S)
    S += 1
    while cost(S) <= best:
        if average(best_s, S) < best:
            best_S = S
            while average(best_s, S) <= cost(best_s + 1):
                best_s += 1
            best = average(best_s, S)
        S += 1
    return best_s, best_S, best


def min_max_power_approximation(
    holding_cost: float, stockout_cost: float, fixed_cost: float, demand_mean: float, demand_sd: float
) -> tuple[float, float]:
    """Return (s, S) by the power approximation (Ehrhardt and Mosier, 1984; FoSCT section 4.4.4)."""
    quantity = 1.3 * demand_mean**0.494 * (fixed_cost / holding_cost) ** 0.506
    quantity *= (1 + demand_sd**2 / demand_mean**2) ** 0.116
    z = math.sqrt(quantity * holding_cost / (demand_sd * stockout_cost))
    s = 0.973 * demand_mean + demand_sd * (0.183 / z + 1.063 - 2.192 * z)
    return s, s + quantity


# Lot sizing


def lot_sizes(
    holding_cost: Sequence[float] | float,
    fixed_cost: Sequence[float] | float,
    demand: Sequence[float],
    purchase_cost: Sequence[float] | float = 0.0,
) -> tuple[list[float], float, list[float], list[int]]:
    """Return the cheapest orders for known demand (Wagner and Whitin, Management Science 5, 1958; FoSCT section 3.7).

    Args:
        holding_cost: money per unit left at the end of a period, one or one per period.
        fixed_cost: money per order, one or one per period.
        demand: units per period.
        purchase_cost: money per unit, one or one per period.

    Returns:
        Orders per period, total cost, cost-to-go from each period on (with a 0 after the last), and for each period
        the 1-based period of the next order if one is placed in it.
    """
    periods = len(demand)
    held, fixed, price = (
        np.broadcast_to(np.asarray(v, float), periods) for v in (holding_cost, fixed_cost, purchase_cost)
    )
    to_go = [0.0] * (periods + 1)
    following = [0] * periods
    for t in range(periods - 1, -1, -1):
        best = math.inf
        cost = float(fixed[t])
        carried = 0.0  # holding cost of a unit from t until period u
        for u in range(t, periods):
            if u > t:
                carried += float(held[u - 1])
            cost += demand[u] * (carried + float(price[t]))
            if cost + to_go[u + 1] < best:
                best, following[t] = cost + to_go[u + 1], u + 2
        to_go[t] = best
    orders = [0.0] * periods
    t = 0
    while t < periods:
        end = following[t] - 1
        orders[t] = float(sum(demand[t:end]))
        t = end
    return orders, to_go[0], to_go, following
