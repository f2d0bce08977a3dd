"""Speed of restock decisions: streamed chunks of item-locations against plain loops over items.

    python tests/benchmarks/bench_restock.py [item-locations]   default 100,000, kept in tests/benchmarks/results

Demand draws are made here and not timed; every chunk is a fresh copy of the same ones.
Ratios are of processor time in one run.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ml.restock import recommend

RESULTS = Path(__file__).parent / "results" / "restock_speed.txt"
CHUNK, DRAWS, HORIZON, LEVEL = 2000, 500, 28, 0.95
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
        moq_units=6.0,
        order_multiple_units=6.0,
        unit_cost=2.5,
    )
    policy = keys.assign(
        target_type="cycle_service_level",
        target_value=LEVEL,
        unmet_demand="lost_sales",
        holding_cost=0.002,
        shortage_cost=1.0,
    )
    return keys, paths, position, orders, terms, policy


def plain_order(draws: list[list[float]], on_hand: float, due: dict[int, float], lead: int, review: int) -> float:
    """One item in plain Python: the same pipeline, path by path and period by period."""
    totals, needs = [], []
    short_by = [0] * HORIZON
    end = lead + review
    counted = sum(units for period, units in due.items() if period <= end)
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
    place = math.ceil(len(draws) * LEVEL - 1e-9) - 1
    wanted = min(max(sorted(totals)[place] - on_hand - counted, 0.0), max(sorted(needs)[place], 0.0))
    return math.ceil(max(wanted, 6.0) / 6) * 6.0 if wanted > 0 else 0.0


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    used, passed, orders = 0.0, 0.0, 0
    draws = world(0, CHUNK)[1]
    for first in range(0, count, CHUNK):
        chunk = world(first, min(CHUNK, count - first), draws)
        cpu, wall = time.process_time(), time.perf_counter()
        lines, _, _ = recommend(*chunk)
        used += time.process_time() - cpu
        passed += time.perf_counter() - wall
        orders += int((lines["order_units"] > 0).sum())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2

    keys, paths, position, due, terms, policy = world(0, CHUNK)
    expected = recommend(keys, paths, position, due, terms, policy)[0]["order_units"].to_numpy()
    by_sku = due.set_index("sku")
    some = 60
    cpu = time.process_time()
    found = []
    for i in range(some):
        sku = keys["sku"].iloc[i]
        own = {int(by_sku.at[sku, "periods_ahead"]): float(by_sku.at[sku, "units"])} if sku in by_sku.index else {}
        lead = int(terms["lead_time_periods"].iloc[i])
        found.append(plain_order(paths[i].tolist(), float(position["on_hand_units"].iloc[i]), own, lead, 7))
    plain = (time.process_time() - cpu) / some
    cpu = time.process_time()
    for i in range(some):
        recommend(keys.iloc[i : i + 1], paths[i : i + 1], position, due, terms, policy)
    one_by_one = (time.process_time() - cpu) / some
    each = used / count
    text = (
        f"{count:,} item-locations x {DRAWS} paths x {HORIZON} days in chunks of {CHUNK:,}: "
        f"{passed:.1f} s, {used:.1f} s of processor time, peak {memory:.2f} GB with the draws; {orders:,} orders\n"
        f"an item: {1000 * each:.3f} ms; plain Python loop {1000 * plain:.1f} ms = {plain / each:.0f} x; "
        f"recommend called per item {1000 * one_by_one:.1f} ms = {one_by_one / each:.0f} x\n"
        f"the plain loop orders the same for {int((np.array(found) == expected[:some]).sum())} of {some} items\n"
    )
    sys.stdout.write(text)
    if count >= 100_000:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
