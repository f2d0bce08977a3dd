"""Speed of the forecaster: against mlforecast with the same booster, and on 30,000 series.

    python tests/benchmarks/bench_forecast_speed.py [peer] [scale]

The peer comparison reads the m5 set from BENCH_DATA; the scale run makes its own panel. Ratios within one run count,
absolute times depend on what else the machine does.
"""

from __future__ import annotations

import dataclasses
import resource
import sys
import time
import warnings

import numpy as np
import pandas as pd
from bench_forecast import DATA, m5_frames, report

from ml import metrics
from ml.forecast import Settings, train
from ml.forecast.boosters import predict_mean
from ml.forecast.distribution import STANDARD_PATHS
from ml.forecast.features import FeatureBuilder
from ml.forecast.training import Training
from ml.panel import Frequency, build_panel
from ml.schema import KEYS

SHIPPED = Settings()
SLOW_ROUNDS, SLOW_RATE = 200, 0.08


def peer() -> None:
    """Features, training and 28 days ahead of the mean: ours and mlforecast with the same booster, in one run."""
    if not (DATA / "m5").is_dir():
        print(f"peer: no data under {DATA / 'm5'}; set BENCH_DATA. Left out.")
        return
    folder = DATA / "m5"
    units = pd.read_csv(folder / "store_dept_daily_units.csv")
    calendar = pd.read_csv(folder / "calendar.csv", parse_dates=["date"])
    values = units.iloc[:, 2:].to_numpy(dtype=float)
    keys = pd.DataFrame({"sku": units["dept_id"], "location_id": units["store_id"]})
    runs = {
        "ours": lambda past: _ours(past, SHIPPED.rounds, SHIPPED.learning_rate),
        "ours, slow booster": lambda past: _ours(past, SLOW_ROUNDS, SLOW_RATE),
        "ours, whole distribution": _whole,
        "mlforecast": lambda past: _mlforecast(past, SHIPPED.rounds, SHIPPED.learning_rate),
        "mlforecast, slow booster": lambda past: _mlforecast(past, SLOW_ROUNDS, SLOW_RATE),
    }
    rows = []
    # The first window warms libraries and caches up and is left out.
    for start in (1549, 1577, 1605, 1633):
        past, _ = m5_frames(values, keys, calendar, start)
        past = past[[*KEYS, "period_start", "demand_units"]]
        actual = values[:, start : start + 28]
        for name, run in runs.items():
            clock, work = time.perf_counter(), time.process_time()
            mean = keys.merge(run(past), on=KEYS, how="left").iloc[:, len(KEYS) :].to_numpy()
            seconds, worked = time.perf_counter() - clock, time.process_time() - work
            scores = metrics.rmsse(actual, mean, values[:, :start])
            rows.append((start + 1, name, seconds, worked, metrics.wape(actual, mean), float(np.mean(scores))))
    table = pd.DataFrame(rows, columns=["first_day", "forecaster", "seconds", "cpu_seconds", "WAPE", "RMSSE"])
    table = table[table["first_day"] > 1550]
    mean = table.groupby("forecaster", sort=False)[["seconds", "cpu_seconds", "WAPE", "RMSSE"]].mean()
    work = mean["cpu_seconds"]
    report(
        "speed_peer",
        [
            "m5: 70 series x 1,600 days, horizon 28, no covariates; XGBoost hist, the same booster for both:",
            f"the shipped settings ({SHIPPED.rounds} rounds at rate {SHIPPED.learning_rate}, depth {SHIPPED.depth}) "
            f"and a slow one ({SLOW_ROUNDS} rounds at {SLOW_RATE}).",
            f"Ours fits it {SHIPPED.mean_boosters} times, on rows drawn anew, and takes the mean, as shipped.",
            "mlforecast with lags 1 ... 7, 14, 28, rolling means, day of week, month, year, recursive.",
            "Whole distribution: `train` and `predict` as shipped, with quantiles and dependence, which others lack.",
            "",
            table.round(3).to_string(index=False),
            "",
            mean.round(3).to_string(),
            "",
            "processor time of features, training and forecast of the mean over that of mlforecast (aim 0.5): "
            f"shipped {work['ours'] / work['mlforecast']:.2f}, "
            f"slow booster {work['ours, slow booster'] / work['mlforecast, slow booster']:.2f}, "
            f"shipped over the slow mlforecast {work['ours'] / work['mlforecast, slow booster']:.2f}",
        ],
    )


def _ours(past: pd.DataFrame, rounds: int, rate: float) -> pd.DataFrame:
    """Return the mean of 28 days, a row a series: as `train` and `predict`, with a given booster."""
    settings = dataclasses.replace(SHIPPED, rounds=rounds, learning_rate=rate)
    panel = build_panel(past, Frequency.of("D"))
    training = Training(panel, None, 28, 0, settings)
    builder = FeatureBuilder(training.history, training.plan, training.statics, np.ones(panel.series))
    models = training.mean_models(builder, settings)
    every = np.arange(panel.series)
    coming = np.tile(np.arange(1, 29), (panel.series, 1))
    row = builder.build(every, np.full(panel.series, panel.length - 1), coming)
    mean = predict_mean(models, row.features, row.scale, row.baseline).reshape(-1, 28)
    return pd.concat([panel.keys, pd.DataFrame(mean)], axis=1)


def _whole(past: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of 28 days, a row a series, of the forecaster as it is shipped."""
    forecast = train(past, freq="D", horizon=28).predict(past)
    return forecast.pivot(index=KEYS, columns="period_start", values="mean_units").reset_index()


def _mlforecast(past: pd.DataFrame, rounds: int, rate: float) -> pd.DataFrame:
    """Return the mean of 28 days, a row a series, of mlforecast."""
    import xgboost
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean

    frame = pd.DataFrame(
        {
            "unique_id": past["sku"] + "|" + past["location_id"],
            "ds": past["period_start"],
            "y": past["demand_units"].astype(float),
        }
    )
    booster = xgboost.XGBRegressor(
        n_estimators=rounds,
        learning_rate=rate,
        max_depth=SHIPPED.depth,
        objective="reg:tweedie",
        tweedie_variance_power=1.3,
        tree_method="hist",
        max_bin=128,
        subsample=0.8,
        colsample_bynode=0.6,
        min_child_weight=20,
        reg_lambda=2.0,
        random_state=0,
    )
    model = MLForecast(
        models={"mean": booster},
        freq="D",
        lags=[1, 2, 3, 4, 5, 6, 7, 14, 28],
        lag_transforms={1: [RollingMean(7), RollingMean(28), RollingMean(56)], 7: [RollingMean(28)]},
        date_features=["dayofweek", "day", "dayofyear"],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(frame)
        answer = model.predict(28)
    wide = answer.pivot(index="unique_id", columns="ds", values="mean").reset_index()
    wide[KEYS] = wide.pop("unique_id").str.split("|", expand=True).to_numpy()
    return wide[[*KEYS, *wide.columns[: -len(KEYS)]]]


def scale(series: int = 30_000, days: int = 730) -> None:
    """Train, predict and stream 500 paths for 30,000 daily series of two years; a third of it for the slope."""
    lines = []
    for count in (series // 3, series):
        generator = np.random.default_rng(0)
        level = np.exp(generator.normal(0.0, 1.3, count))[:, None]
        weekday = np.array([0.8, 0.9, 1.0, 1.0, 1.2, 1.4, 0.7])[np.arange(days) % 7][None, :]
        units = generator.poisson(generator.gamma(0.7, level * weekday / 0.7)).astype(np.float32)
        names = np.array([f"item{number:06d}" for number in range(count)], dtype=object)
        demand = pd.DataFrame(
            {
                "sku": np.repeat(names, days),
                "location_id": "depot",
                "period_start": np.tile(pd.date_range("2023-01-01", periods=days).to_numpy(), count),
                "demand_units": units.reshape(-1),
                "is_in_stock": generator.random(units.size) > 0.02,
                "is_promotion": (generator.random(units.size) < 0.05).astype(np.float32),
            }
        )
        clock = time.perf_counter()
        model = train(demand, freq="D", horizon=28)
        trained = time.perf_counter()
        model.predict(demand)
        predicted = time.perf_counter()
        drawn = sum(paths.shape[0] for _, paths in model.sample_paths(demand, STANDARD_PATHS))
        done = time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        lines.append(
            f"{drawn:6d} series x {days} days ({len(demand) / 1e6:.1f} M rows): train {trained - clock:.0f} s, predict "
            f"{predicted - trained:.0f} s, {STANDARD_PATHS} paths {done - predicted:.0f} s, "
            f"together {done - clock:.0f} s; peak {peak:.1f} GB with the input frame"
        )
        print(lines[-1], flush=True)
    report("scale", ["scale: horizon 28; target 10 min, 8 GB, linear in rows", "", *lines])


def main(wanted: list[str]) -> None:
    """Run the benchmarks named, or both."""
    for name in wanted or ["peer", "scale"]:
        {"peer": peer, "scale": scale}[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
