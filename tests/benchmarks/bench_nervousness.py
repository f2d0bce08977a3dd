"""How much orders move without a cause that a planner would accept.

    python tests/benchmarks/bench_nervousness.py

One simulated world of smooth to lumpy items, decided again with one thing changed that should change nothing: the seed
of the draws, the seed of the training, a neighbour taken away, and one more day of data (the level alone: what the day
sold is a cause). And 225 items that sell alike, decided in two homes beside different neighbours. The share of orders
that change by more than a pack, and the money moved as a share of the money spent: with every level decided afresh, and
with the levels of the first decision held, as the daily job does.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ml.forecast import DemandForecaster, train
from ml.restock import recommend
from ml.schema import KEYS

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "results" / "nervousness.txt"
DAYS, HORIZON, ITEMS, TWINS, PATHS, HOLD_WITHIN = 300, 28, 300, 225, 500, 0.3


def world(items: int, seed: int, prefix: str) -> pd.DataFrame:
    """Daily demand of items from smooth to lumpy, with a weekly rhythm."""
    rng = np.random.default_rng(seed)
    rate, share = rng.gamma(0.6, 6, items), rng.choice([1.0, 0.5, 0.15, 0.05], items)
    day = np.arange(DAYS)
    weekly = np.where(day % 7 >= 5, 1.4, 0.84)
    happens = rng.random((items, DAYS)) < share[:, None]
    sizes = rng.gamma(2.0, rate[:, None] / 2, (items, DAYS)) * weekly
    return long(rng.poisson(sizes) * happens, [f"{prefix}{number}" for number in range(items)])


def twins() -> pd.DataFrame:
    """Items that sell alike, a few a week."""
    sold = np.random.default_rng(5).poisson(0.4, DAYS)
    return long(np.repeat(sold[None], TWINS, axis=0), [f"twin{number}" for number in range(TWINS)])


def long(units: np.ndarray, skus: list[str]) -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=units.shape[1])
    return pd.DataFrame(
        {
            "sku": np.repeat(skus, len(days)),
            "location_id": "L",
            "period_start": np.tile(days, len(skus)),
            "demand_units": units.ravel().astype(float),
        }
    )


def decide(
    forecaster: DemandForecaster,
    demand: pd.DataFrame,
    seed: int = 0,
    only: str = "",
    published: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return order, level and pack of each item, with terms that its name decides, near the levels published last."""
    keys = demand[KEYS].drop_duplicates()
    keys = keys[keys["sku"].str.startswith(only)].reset_index(drop=True)
    terms, position, policy = conditions(keys, demand)
    if published is not None:
        policy["hold_level_within"] = HOLD_WITHIN
        policy["held_order_up_to_units"] = published["order_up_to_units"].reindex(keys["sku"]).to_numpy()
    nothing = keys.iloc[:0].assign(periods_ahead=pd.Series(dtype=int), units=pd.Series(dtype=float))
    parts = []
    for chunk, paths in forecaster.sample_paths(demand, PATHS, keys=keys, seed=seed):
        lines, _, _ = recommend(chunk, paths, position, nothing, terms, policy, seed=seed)
        parts.append(lines)
    lines = pd.concat(parts).merge(terms[[*KEYS, "order_multiple_units", "unit_cost"]], on=KEYS).set_index("sku")
    return lines[["order_units", "order_up_to_units", "order_multiple_units", "unit_cost"]]


def conditions(keys: pd.DataFrame, demand: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return terms, position and policy; an item's own name draws them, so that neighbours change nothing."""
    unlike = np.array([int(sku[-3:].strip("abcdefghijklmnopqrstuvwxyz") or 0) for sku in keys["sku"]])
    twin = keys["sku"].str.startswith("twin").to_numpy()
    mean = demand.groupby("sku")["demand_units"].mean().reindex(keys["sku"]).to_numpy()
    stock = np.where(twin, 3.0, np.round(mean * (unlike * 7 % 23)))
    terms = keys.assign(
        supplier_id="S",
        lead_time_periods=7,
        lead_time_samples=pd.Series([[5.0, 6.0, 7.0, 7.0, 8.0, 10.0]] * len(keys)),
        review_periods=7,
        next_order_in_periods=0,
        moq_units=0.0,
        order_multiple_units=np.where(twin, 1.0, np.array([1.0, 6.0, 12.0])[unlike % 3]),
        unit_cost=np.where(twin, 4.0, 1.0 + unlike % 17),
    )
    position = keys.assign(on_hand_units=stock, reserved_units=0.0, backordered_units=0.0)
    policy = keys.assign(
        target_type="cost",
        target_value=np.nan,
        unmet_demand="lost_sales",
        holding_cost=terms["unit_cost"] * 0.25 / 365,
        shortage_cost=terms["unit_cost"] * 0.6,
    )
    return terms, position, policy


def moved(before: pd.DataFrame, after: pd.DataFrame, column: str = "order_units") -> tuple[float, float]:
    """Return the share of items that change by more than a pack, and the money moved over the money spent, in %."""
    both = before.join(after, rsuffix="_after", how="inner")
    both = both[(both["order_units"] > 0) | (both["order_units_after"] > 0)]
    change = (both[f"{column}_after"] - both[column]).abs()
    spent = (both["order_units"] * both["unit_cost"]).sum()
    return 100 * (change > both["order_multiple_units"]).mean(), 100 * (change * both["unit_cost"]).sum() / spent


def main() -> None:
    """Measure every change and keep the table."""
    started = time.perf_counter()
    demand = world(ITEMS, 1, "a")
    earlier = demand[demand["period_start"] < demand["period_start"].max()]

    def trained(history: pd.DataFrame, seed: int = 0) -> DemandForecaster:
        return train(history, freq="D", horizon=HORIZON, seed=seed)

    champion = trained(earlier)
    usual = decide(champion, earlier)
    others = {
        "other seed of the training (mean of 2)": [trained(earlier, seed) for seed in (1, 2)],
        "a neighbour less": [trained(earlier[earlier["sku"] != "a7"])],
    }

    def changes(published: pd.DataFrame | None) -> dict[str, tuple[float, float]]:
        seeds = [moved(usual, decide(champion, earlier, seed, published=published)) for seed in range(1, 6)]
        rows = {"other seed of the draws (mean of 5)": seeds}
        for name, models in others.items():
            rows[name] = [moved(usual, decide(model, earlier, published=published)) for model in models]
        later = decide(champion, demand, published=published)
        rows["one more day, the level"] = [moved(usual, later, "order_up_to_units")]
        return {name: tuple(np.mean(found, axis=0)) for name, found in rows.items()}

    afresh, held = changes(None), changes(usual)
    spent = []
    for seed, prefix in ((2, "b"), (3, "c")):
        home = pd.concat([world(ITEMS // 3, seed, prefix), twins()])
        orders = decide(trained(home), home, only="twin")
        spent.append(float((orders["order_units"] * orders["unit_cost"]).sum()))
    out = [f"{'':40}{'every level afresh':>32}{'levels held':>32}", f"{'':40}" + "  more than a pack   money moved" * 2]
    for name in afresh:
        found = (*afresh[name], *held[name])
        out.append(f"{name:40}" + "".join(f"{share:14.1f} %{money:14.1f} %" for share, money in (found[:2], found[2:])))
    money = (usual["order_units"] * usual["unit_cost"]).sum()
    out += [
        f"orders: {(usual['order_units'] > 0).sum()} of {len(usual)} items, money {money:,.0f}",
        f"225 items that sell alike, in two homes: {spent[0]:,.0f} and {spent[1]:,.0f}, apart by "
        f"{100 * abs(spent[1] / spent[0] - 1):.1f} %",
    ]
    text = "\n".join(out) + "\n"
    sys.stdout.write(text + f"{time.perf_counter() - started:.0f} s\n")
    RESULTS.write_text(text)


if __name__ == "__main__":
    main()
