"""Speed of restock decisions: streamed chunks of item-locations against loops over items.

    python tests/benchmarks/bench_restock.py [item-locations]   default 100,000, kept in tests/benchmarks/results

Demand draws are made here and not timed; every chunk is a fresh copy of the same ones.
Ratios are of processor time in one run. The loops, each over one item after the other:

- plain: Python over paths and periods, lists and numbers, as a developer writes the rule down; twice: for the order
  alone, and for what a line says (when and how likely a stock-out is, what is lost, what each further pack saves).
- lean numpy: a few array operations over [paths, periods] of one item, for the order alone.
- `recommend` itself, called for one item at a time.
"""

from __future__ import annotations

import math
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ml.restock import recommend

RESULTS = Path(__file__).parent / "results" / "restock_speed.txt"
CHUNK, DRAWS, HORIZON, LEVEL, LOOPED = 2000, 500, 28, 0.95, 60
PACK, FURTHER_PACKS, HOLDING, SHORTAGE = 6.0, 4, 0.002, 1.0
World = tuple[pd.DataFrame, np.ndarray, pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]


def world(first: int, count: int, draws: np.ndarray | None = None) -> World:
    """A chunk of item-locations with certain lead times of 5 to 14 days and packs of 6; draws made here or copied."""
    rng = np.random.default_rng(first)
    keys = pd.DataFrame({"sku": [f"s{first + i}" for i in range(count)], "location_id": "L1"})
    if draws is None:
        paths = rng.poisson(rng.gamma(1, 2, (count, 1, 1)), (count, DRAWS, HORIZON)).astype(np.float32)
    else:
        paths = draws[:count].copy()
    position = keys.assign(on_hand_units=rng.integers(0, 60, count), reserved_units=0, backordered_units=0)
    orders = keys.assign(periods_ahead=rng.integers(1, 20, count), units=rng.integers(1, 30, count)).iloc[::2]
    terms = keys.assign(
        supplier_id="S",
        lead_time_periods=rng.integers(5, 15, count),
        review_periods=7,
        moq_units=PACK,
        order_multiple_units=PACK,
        unit_cost=2.5,
    )
    policy = keys.assign(
        target_type="cycle_service_level",
        target_value=LEVEL,
        unmet_demand="lost_sales",
        holding_cost=HOLDING,
        shortage_cost=SHORTAGE,
    )
    return keys, paths, position, orders, terms, policy


class Plain(NamedTuple):
    """What the plain loop finds for one item."""

    order: float
    totals: list[float]
    needs: list[float]
    short_by: list[int]


def plain_order(draws: list[list[float]], on_hand: float, due: dict[int, float], lead: int, review: int) -> Plain:
    """Decide one item's order in plain Python: the same pipeline, path by path and period by period."""
    totals, needs = [], []
    short_by = [0] * HORIZON
    end = lead + review
    for path in draws:
        demand, supply, lost, worst, total = 0.0, on_hand, 0.0, -math.inf, 0.0
        ran_out = False
        for period in range(1, HORIZON + 1):
            demand += path[period - 1]
            supply += due.get(period, 0.0)
            short = demand - supply
            ran_out = ran_out or short > 0
            short_by[period - 1] += ran_out
            if period <= lead:
                lost = max(lost, short)
            elif period <= end:
                worst = max(worst, short)
                total = demand
        totals.append(total)
        needs.append(worst - lost)
    return Plain(in_packs(totals, needs, on_hand, due, end), totals, needs, short_by)


def in_packs(totals: Sequence[float], needs: Sequence[float], on_hand: float, due: dict[int, float], end: int) -> float:
    """Return the order that the service level asks of sorted or unsorted draws, in packs."""
    place = math.ceil(len(totals) * LEVEL - 1e-9) - 1
    counted = sum(units for period, units in due.items() if period <= end)
    wanted = min(max(sorted(totals)[place] - on_hand - counted, 0.0), max(sorted(needs)[place], 0.0))
    return math.ceil(max(wanted, PACK) / PACK) * PACK if wanted > 0 else 0.0


def plain_line(draws: list[list[float]], on_hand: float, due: dict[int, float], lead: int, review: int) -> list[float]:
    """Return what a line says of one item: expectation, level, risks with and without the order, value of packs."""
    found = plain_order(draws, on_hand, due, lead, review)
    n, order = len(draws), found.order
    level = sorted(found.totals)[math.ceil(n * LEVEL - 1e-9) - 1]
    line = [order, sum(found.totals) / n, level]
    for share in (0.1, 0.5):
        line.append(next((t + 1 for t, count in enumerate(found.short_by) if count / n >= share), math.inf))
    for bought in (0.0, order):
        short = [need - bought for need in found.needs if need > bought]
        line += [len(short) / n, sum(short) / n]
    if order > 0:
        costs = []
        for packs in range(int(order / PACK) + FURTHER_PACKS + 1):
            bought = packs * PACK
            cost = 0.0
            for need in found.needs:
                cost += SHORTAGE * (need - bought) if need > bought else HOLDING * (bought - need)
            costs.append(cost / n)
        line += [before - after for before, after in pairwise(costs)]
    return line


def plain_cost_order(draws: list[list[float]], on_hand: float, due: dict[int, float], lead: int, review: int) -> float:
    """Try pack after pack of one item until a further one costs more: held until sold, or lost."""
    needs: list[list[float]] = []
    demand, end = 0.0, lead + review
    for path in draws:
        total, supply, before, highest = 0.0, on_hand, 0.0, -math.inf
        cycle = []
        for period, units in enumerate(path[:end], 1):
            supply += due.get(period, 0.0)
            total += units
            if period <= lead:
                before = max(before, total - supply)
            else:
                highest = max(highest, total - supply)
                cycle.append(highest - before)
        needs.append(cycle)
        demand += sum(path) / len(path)
    rate, best, least = demand / len(draws), 0.0, math.inf
    quantity = 0.0
    while True:
        cost = 0.0
        for cycle in needs:
            for need in cycle:
                cost += HOLDING * max(quantity - need, 0.0)
            cost += HOLDING * max(quantity - cycle[-1], 0.0) ** 2 / (2 * rate) + SHORTAGE * max(
                cycle[-1] - quantity, 0.0
            )
        if cost >= least:
            return best
        best, least = quantity, cost
        quantity += PACK


def lean_order(draws: np.ndarray, on_hand: float, due: dict[int, float], lead: int, review: int) -> float:
    """Decide one item's order with array operations over [paths, periods]."""
    end = lead + review
    supply = np.full(HORIZON, on_hand)
    for period, units in due.items():
        supply[period - 1 :] += units
    demand = np.cumsum(draws, axis=1)
    short = demand[:, :end] - supply[:end]
    needs = short[:, lead:].max(axis=1) - np.maximum(short[:, :lead].max(axis=1), 0)
    return in_packs(demand[:, end - 1].tolist(), needs.tolist(), on_hand, due, end)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    draws = world(0, CHUNK)[1]
    each, told = {}, ""
    for target in ("cycle_service_level", "cost"):
        used, passed, orders = 0.0, 0.0, 0
        for first in range(0, count, CHUNK):
            *chunk, policy = world(first, min(CHUNK, count - first), draws)
            cpu, wall = time.process_time(), time.perf_counter()
            lines, _, _ = recommend(*chunk, policy.assign(target_type=target))
            used += time.process_time() - cpu
            passed += time.perf_counter() - wall
            orders += int((lines["order_units"] > 0).sum())
        each[target] = used / count
        told += (
            f"target {target.replace('_', ' ')}: {passed:.1f} s, {used:.1f} s of processor time, "
            f"{1000 * used / count:.3f} ms an item, whole lines, terms and benefits; {orders:,} orders\n"
        )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2

    keys, paths, position, due, terms, policy = world(0, CHUNK)
    expected = {
        target: recommend(keys, paths, position, due, terms, policy.assign(target_type=target))[0]["order_units"]
        for target in each
    }
    by_sku = due.set_index("sku")
    some = range(LOOPED)
    stock = position["on_hand_units"].astype(float).tolist()
    leads = terms["lead_time_periods"].tolist()
    coming = [
        {int(by_sku.at[sku, "periods_ahead"]): float(by_sku.at[sku, "units"])} if sku in by_sku.index else {}
        for sku in keys["sku"].iloc[:LOOPED]
    ]
    loops: dict[str, Callable[[int], object]] = {
        "plain Python, the order alone": lambda i: plain_order(paths[i].tolist(), stock[i], coming[i], leads[i], 7),
        "plain Python, the order of least cost": lambda i: plain_cost_order(
            paths[i].tolist(), stock[i], coming[i], leads[i], 7
        ),
        "plain Python, the whole line": lambda i: plain_line(paths[i].tolist(), stock[i], coming[i], leads[i], 7),
        "lean numpy, the order alone": lambda i: lean_order(paths[i], stock[i], coming[i], leads[i], 7),
        "recommend called per item": lambda i: recommend(
            *(part[i : i + 1] for part in (keys, paths, position)),
            due[due["sku"] == keys["sku"].iloc[i]],
            *(part[i : i + 1] for part in (terms, policy)),
        ),
    }
    text = (
        f"python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} (others worked on the machine where it is above 1)\n"
        f"{count:,} item-locations x {DRAWS} paths x {HORIZON} days in chunks of {CHUNK:,}, "
        f"peak {memory:.2f} GB with the draws\n{told}"
    )
    for name, loop in loops.items():
        cpu = time.process_time()
        for i in some:
            loop(i)
        one = (time.process_time() - cpu) / LOOPED
        target = "cost" if "least cost" in name else "cycle_service_level"
        text += f"{name}: {1000 * one:.3f} ms an item, {one / each[target]:.0f} x\n"
    for name, target, order in (
        (
            "plain",
            "cycle_service_level",
            [plain_order(paths[i].tolist(), stock[i], coming[i], leads[i], 7).order for i in some],
        ),
        (
            "plain least-cost",
            "cost",
            [plain_cost_order(paths[i].tolist(), stock[i], coming[i], leads[i], 7) for i in some],
        ),
        ("lean", "cycle_service_level", [lean_order(paths[i], stock[i], coming[i], leads[i], 7) for i in some]),
    ):
        same = int((np.array(order) == expected[target].to_numpy()[:LOOPED]).sum())
        text += f"the {name} loop orders the same for {same} of {LOOPED} items\n"
    sys.stdout.write(text)
    if count >= 100_000:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
