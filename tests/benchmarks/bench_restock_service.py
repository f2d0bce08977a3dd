"""Service that chosen levels achieve on fresh demand, smooth to lumpy, beside the textbook normal formula.

    python tests/benchmarks/bench_restock_service.py

Demand is drawn here, so that its distribution is known. Each item sees 500 paths, as many as a home; its level is then
held against the same 100,000 fresh draws. The normal formula is given the mean and the standard deviation of the same
500 paths. Unmet demand waits; lead time 10 days, a week from order to order. Kept in
tests/benchmarks/results/restock_service.txt.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ml.inventory_theory import fill_rate_factor, normal_quantile
from ml.restock import recommend

RESULTS = Path(__file__).parent / "results" / "restock_service.txt"
LEAD, REVIEW, PATHS, ITEMS, FRESH = 10, 7, 500, 100, 100_000
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
KINDS: dict[str, Draw] = {
    "smooth": lambda rng, shape: rng.poisson(8.0, shape),
    "erratic": lambda rng, shape: rng.negative_binomial(0.8, 0.1, shape),
    "intermittent": lambda rng, shape: rng.poisson(0.25, shape),
    "lumpy": lambda rng, shape: rng.binomial(1, 0.15, shape) * (1 + rng.negative_binomial(0.6, 0.05, shape)),
}
TARGETS = [(kind, value) for kind in ("cycle_service_level", "fill_rate") for value in (0.9, 0.95, 0.99)]


def achieved(kind: str, levels: np.ndarray, before: np.ndarray, until: np.ndarray) -> np.ndarray:
    """Return each level's share of cycles without a stock-out, or of units served at once."""
    if kind == "cycle_service_level":
        ordered = np.sort(until)
        return np.searchsorted(ordered, levels, side="right") / until.size
    asked = (until - before).mean()
    return np.array(
        [1 - (np.maximum(until - s, 0) - np.maximum(before - s, 0)).mean() / asked for s in levels], dtype=float
    )


def normal_levels(kind: str, value: float, paths: np.ndarray) -> np.ndarray:
    """Return mean + k·sd of the protection interval, whole units."""
    sums = paths[:, :, : LEAD + REVIEW].sum(axis=2)
    mean, sd = sums.mean(axis=1), sums.std(axis=1, ddof=1)
    if kind == "cycle_service_level":
        factor = np.full(len(mean), normal_quantile(value))
    else:
        cycle = paths[:, :, LEAD : LEAD + REVIEW].sum(axis=2).mean(axis=1)
        factor = np.array([fill_rate_factor(value, q, s, exact=False) for q, s in zip(cycle, sd, strict=True)])
    return np.ceil(mean + factor * sd - 1e-9)


def measure(name: str) -> list[str]:
    """Return a row per target of one kind of demand."""
    rng = np.random.default_rng(7)
    paths = KINDS[name](rng, (ITEMS, PATHS, LEAD + REVIEW)).astype(np.float32)
    fresh = KINDS[name](rng, (FRESH, LEAD + REVIEW))
    before, until = fresh[:, :LEAD].sum(axis=1), fresh.sum(axis=1)
    keys = pd.DataFrame({"sku": [f"s{item:03d}" for item in range(ITEMS)], "location_id": "L"})
    rows = []
    for kind, value in TARGETS:
        lines, _, _ = recommend(
            keys,
            paths,
            keys.assign(on_hand_units=0.0),
            keys.assign(periods_ahead=1, units=0.0),
            keys.assign(supplier_id="S", lead_time_periods=LEAD, review_periods=REVIEW, order_multiple_units=1),
            keys.assign(target_type=kind, target_value=value, unmet_demand="backorders"),
        )
        ours = lines["order_units"].to_numpy()
        found = achieved(kind, ours, before, until)
        one_less = achieved(kind, ours - 1, before, until)
        textbook = achieved(kind, normal_levels(kind, value, paths), before, until)
        low, high = np.quantile(found, [0.05, 0.95])
        rows.append(
            f"{name:13}{kind:21}{value:6.2f}{found.mean():10.4f}  [{low:.4f}, {high:.4f}]{one_less.mean():12.4f}"
            f"{textbook.mean():12.4f}{100 * (found.mean() - value):+9.2f}{100 * (textbook.mean() - value):+9.2f}"
        )
    return rows


def main() -> None:
    """Measure every kind of demand and keep the table."""
    out = [
        f"python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores",
        f"{ITEMS} items of each kind, {PATHS} paths each, {FRESH:,} fresh cycles; brackets hold nine of ten items",
        "",
        f"{'demand':13}{'target':21}{'asked':>6}{'ours':>10}{'':20}{'unit less':>12}{'normal':>12}"
        f"{'ours −':>9}{'normal −':>9} points",
        *(row for name in KINDS for row in measure(name)),
    ]
    sys.stdout.write("\n".join(out) + "\n")
    RESULTS.write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
