"""Totals and items at yearly peaks and in quiet weeks, from histories of one and two years.

    python tests/benchmarks/bench_season.py [vn2] [m5] [pasta] [--label NAME]

Public data under BENCH_DATA, each cut to 13 or 25 months (57 or 110 weeks) before an origin: what a home knows in its
first and second year. The mean of one booster is scored, on cells in stock and open days alone. Origins lie before the
windows that bench_forecast.py quotes. Results are kept as forecast_season_NAME.csv; the table holds NAME ("now") beside
"before", where that was measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import numpy as np
import pandas as pd
from bench_forecast import DATA, RESULTS, m5_frames, report

from ml.forecast import Settings, train
from ml.schema import KEYS

SMALLER = Settings(mean_boosters=1, mean_rows=60_000, spread_rows=40_000)
# kind of origin, periods of history -> origins, the last day or week that may be seen.
VN2 = {
    ("peak", 57): ("2022-10-17", "2022-10-31", "2022-11-28", "2022-12-26", "2023-01-09"),
    ("quiet", 57): ("2022-08-08", "2023-03-13", "2023-05-15", "2023-07-10"),
    ("peak", 110): ("2023-10-30", "2023-11-27", "2023-12-11"),
    ("quiet", 110): ("2023-06-12", "2023-08-14"),
}
M5 = {
    ("peak", 395): ("2012-11-18", "2014-12-07"),
    ("quiet", 395): ("2013-06-16",),
    ("peak", 760): ("2013-11-10", "2014-11-23"),
    ("quiet", 760): ("2014-05-18",),
}
PASTA = {
    ("peak", 395): ("2015-12-06", "2016-11-20", "2017-12-03", "2018-01-07"),
    ("quiet", 395): ("2016-07-03", "2017-04-02"),
    ("peak", 760): ("2016-12-04", "2017-11-19"),
    ("quiet", 760): ("2017-06-04",),
}


def vn2_frames() -> tuple[pd.DataFrame, pd.DataFrame, str, int]:
    """Return demand, attributes, frequency and horizon."""
    folder = DATA / "vn2"
    sales = pd.read_csv(folder / "sales.csv").melt(["Store", "Product"], var_name="week", value_name="demand_units")
    flags = pd.read_csv(folder / "in_stock.csv").melt(["Store", "Product"], var_name="week", value_name="is_in_stock")
    demand = sales.merge(flags, on=["Store", "Product", "week"], how="left", validate="one_to_one")
    names = {"Product": "sku", "Store": "location_id"}
    demand = demand.rename(columns=names).assign(period_start=lambda f: pd.to_datetime(f["week"])).drop(columns="week")
    items = pd.read_csv(folder / "master.csv").rename(columns=names)
    for column in items.columns.drop(KEYS):
        items[column] = items[column].astype(str)
    return demand, items, "W-MON", 8


def m5_all() -> tuple[pd.DataFrame, pd.DataFrame, str, int]:
    """Return demand with its calendar, attributes, frequency and horizon."""
    units = pd.read_csv(DATA / "m5" / "store_dept_daily_units.csv")
    calendar = pd.read_csv(DATA / "m5" / "calendar.csv", parse_dates=["date"])
    keys = pd.DataFrame({"sku": units["dept_id"], "location_id": units["store_id"]})
    values = units.iloc[:, 2:].to_numpy(dtype=float)
    demand, _ = m5_frames(values, keys, calendar, values.shape[1])
    items = keys.assign(state=keys["location_id"].str[:2], category=keys["sku"].str.split("_").str[0])
    return demand, items, "D", 56


def pasta_frames() -> tuple[pd.DataFrame, pd.DataFrame, str, int]:
    """Return demand with promotions and closed days, attributes, frequency and horizon."""
    table = pd.read_csv(DATA / "pasta" / "hierarchical_sales_data.csv", parse_dates=["DATE"]).set_index("DATE")
    table = table.reindex(pd.date_range(table.index.min(), table.index.max()))
    names = [column[4:] for column in table if column.startswith("QTY_")]
    parts = [
        pd.DataFrame(
            {
                "sku": name,
                "location_id": "shop",
                "period_start": table.index,
                "demand_units": table[f"QTY_{name}"].fillna(0.0).to_numpy(),
                "is_promotion": table[f"PROMO_{name}"].fillna(0.0).to_numpy(),
                "is_open": table[f"QTY_{name}"].notna().to_numpy(),
            }
        )
        for name in names
    ]
    items = pd.DataFrame({"sku": names, "location_id": "shop", "brand": [name.split("_")[0] for name in names]})
    return pd.concat(parts, ignore_index=True), items, "D", 56


SETS = {"vn2": (vn2_frames, VN2), "m5": (m5_all, M5), "pasta": (pasta_frames, PASTA)}


def score(demand: pd.DataFrame, items: pd.DataFrame, freq: str, horizon: int, origin: str, length: int) -> dict:
    """Return the errors of one training, as shares of the actual total (`total`, signed) or in units.

    Those in `_silent` are of the same boosters without last year's say.
    """
    periods = np.sort(demand["period_start"].unique())
    place = int(np.flatnonzero(periods == np.datetime64(origin))[0])
    past = demand[demand["period_start"].isin(periods[place + 1 - length : place + 1])].reset_index(drop=True)
    coming = demand[demand["period_start"].isin(periods[place + 1 : place + 1 + horizon])].reset_index(drop=True)
    future = coming.drop(columns=[name for name in ("demand_units", "is_in_stock") if name in coming])
    clock = time.perf_counter()
    model = train(past, freq=freq, horizon=horizon, items=items, settings=SMALLER)
    seconds = time.perf_counter() - clock
    told = None if freq.startswith("W") else future
    first = periods[place + 1 : place + 1 + horizon // 2]
    figures = errors(model.predict(past, told), coming, first)
    silent = errors(dataclasses.replace(model, season=None).predict(past, told), coming, first)
    season = model.season
    return {
        **figures,
        **{f"{name}_silent": silent[name] for name in ("total_half", "total", "wape", "pinball")},
        "trust": 0.0 if season is None else season.trust,
        "seconds": seconds,
    }


def errors(forecast: pd.DataFrame, coming: pd.DataFrame, half: np.ndarray) -> dict:
    """Return the errors of one forecast; `half` are the periods of the first half of the horizon."""
    scored = coming.merge(forecast, on=[*KEYS, "period_start"])
    for flag in ("is_in_stock", "is_open"):
        if flag in scored:
            scored = scored[scored[flag].fillna(True).astype(bool)]
    actual, mean = scored["demand_units"], scored["mean_units"]
    levels = [round(float(name[1:3]) / 100, 2) for name in scored if name.startswith("q") and name.endswith("_units")]
    loss = [
        np.maximum(level * (actual - quantile), (level - 1) * (actual - quantile)).mean()
        for level, quantile in zip(
            levels, (scored[f"q{round(100 * level):02d}_units"] for level in levels), strict=True
        )
    ]
    first = scored["period_start"].isin(half)
    return {
        "total_half": mean[first].sum() / actual[first].sum() - 1,
        "total": mean.sum() / actual.sum() - 1,
        "wape": (actual - mean).abs().sum() / actual.sum(),
        "rmse": float(np.sqrt(((actual - mean) ** 2).mean())),
        "pinball": float(np.mean(loss)),
        "under_q90": float((actual <= scored["q90_units"]).mean()),
    }


def table_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of absolute errors of totals, and of the other figures, per data set, length and kind."""
    rows = rows.copy()
    for name in [column for column in rows if column.startswith("total")]:
        rows[name] = rows[name].abs()
    return rows.drop(columns="origin").groupby(["set", "periods", "kind"], sort=False).mean()


def main() -> None:
    """Measure the sets named, or all, and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*", default=[])
    parser.add_argument("--label", default="now")
    wanted = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"forecast_season_{wanted.label}.csv"
    kept = pd.read_csv(path) if path.exists() else None
    for name in wanted.sets or list(SETS):
        if not (DATA / name).is_dir():
            print(f"{name}: no data under {DATA / name}; set BENCH_DATA. Left out.")
            continue
        frames, origins = SETS[name]
        demand, items, freq, horizon = frames()
        rows = []
        for (kind, length), days in origins.items():
            for origin in days:
                figures = score(demand, items, freq, horizon, origin, length)
                rows.append({"set": name, "kind": kind, "periods": length, "origin": origin, **figures})
                print(rows[-1], flush=True)
        if not rows:
            continue
        found = pd.DataFrame(rows)
        kept = found if kept is None else pd.concat([kept[kept["set"] != name], found], ignore_index=True)
        kept.round(4).to_csv(path, index=False)
    if wanted.label != "now":
        return
    lines = [
        "Means of one booster from short histories: mean absolute error of the total over half the horizon and all of",
        "it (8 weeks, 56 days), WAPE and RMSE of cells, mean pinball of 11 levels, share of cells at or under q90",
    ]
    for label in ("before", "now"):
        source = RESULTS / f"forecast_season_{label}.csv"
        if source.exists():
            found = pd.read_csv(source)
            lines += ["", label, table_of(found).round(3).to_string(), "", f"{label}, every origin (totals signed)"]
            lines += [found.round(3).to_string(index=False)]
    report("season", lines)


if __name__ == "__main__":
    main()
