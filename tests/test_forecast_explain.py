import dataclasses

import numpy as np
import pandas as pd
import pytest

from ml.backtest import BacktestSetup, evaluate
from ml.forecast import Settings, train
from ml.forecast.baselines import train_seasonal_naive
from ml.forecast.explain import GROUPS, contributions, group_of, importance
from ml.forecast.features import FeaturePlan
from ml.forecast.plots import (
    as_png,
    calibration_curve,
    calibration_of_sums,
    contribution_chart,
    error_by_lag,
    fan_charts,
    importance_chart,
    typical_and_worst,
)
from ml.panel import Frequency
from ml.schema import KEYS

SMALL = Settings(mean_rows=4000, spread_rows=3000, rounds=40, learning_rate=0.15, spread_rounds=10, spread_rate=0.3)


@pytest.fixture(scope="module")
def demand():
    generator = np.random.default_rng(3)
    periods = pd.date_range("2024-01-01", periods=150)
    weekday = np.array([1, 1, 1, 1, 1, 2, 2])[np.arange(150) % 7]
    parts = []
    for number in range(8):
        promotion = (generator.random(150) < 0.2).astype(float)
        units = generator.poisson(5.0 * (number + 1) * weekday * (1 + promotion)).astype(float)
        parts.append(
            pd.DataFrame(
                {
                    "sku": f"p{number}",
                    "location_id": "x",
                    "period_start": periods,
                    "demand_units": units,
                    "is_promotion": promotion,
                    "is_open": np.arange(150) % 30 != 0,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def model(demand):
    return train(demand, freq="D", horizon=7, settings=SMALL)


def planned(demand, flag):
    coming = pd.date_range(demand["period_start"].max() + pd.Timedelta(days=1), periods=7)
    days = pd.DataFrame({"period_start": coming, "is_promotion": flag, "is_open": [True] * 6 + [False]})
    return demand[KEYS].drop_duplicates().merge(days, how="cross")


@pytest.mark.parametrize(("boosters", "level_share"), [(2, 0.0), (2, 0.4), (1, 0.4), (0, 0.0)])
def test_contributions_add_up_to_the_forecast(demand, model, boosters, level_share):
    model = dataclasses.replace(model, mean_models=model.mean_models[:boosters], level_share=level_share)
    future = planned(demand, 1.0)
    split = contributions(model, demand, future)
    total = split["level_units"] + split[[f"{name}_units" for name in GROUPS]].sum(axis=1)
    assert np.allclose(total, split["mean_units"], atol=1e-4)
    predicted = model.predict(demand, future)
    assert np.allclose(split["mean_units"], predicted["mean_units"], rtol=1e-3, atol=1e-3)


def test_a_promotion_is_credited_to_the_promotion(demand, model):
    loud, calm = (
        contributions(model, demand, planned(demand, flag), keys=pd.DataFrame({"sku": ["p4"], "location_id": "x"}))
        for flag in (1.0, 0.0)
    )
    gain = (loud["mean_units"] - calm["mean_units"]).sum()
    credited = (loud["price_and_promotion_units"] - calm["price_and_promotion_units"]).sum()
    assert gain > 0
    assert credited == pytest.approx(gain, rel=0.35)


@pytest.mark.parametrize(
    ("feature", "group"),
    [
        ("covariate_unit_price", "price_and_promotion"),
        ("change_unit_price", "price_and_promotion"),
        ("until_is_promotion", "price_and_promotion"),
        ("near_is_event", "events"),
        ("static_unit_price", "attributes"),
        ("weekday", "season"),
        ("season_mean_4", "season"),
        ("time_of_year", "season"),
        ("mean_28", "trend"),
        ("covariate_temperature", "other"),
    ],
)
def test_each_feature_is_told_under_the_name_a_manager_gives_it(feature, group):
    names = ["unit_price", "is_promotion", "is_event", "temperature"]
    plan = FeaturePlan(
        Frequency.of("D"), 7, names, ["is_promotion", "is_event"], ["is_event"], True, ["unit_price"], {}
    )
    assert feature in plan.names()
    assert group_of(feature, plan) == group


def test_a_lower_price_is_credited_to_the_price():
    generator = np.random.default_rng(4)
    days = pd.date_range("2024-01-01", periods=160)
    keys = pd.DataFrame({"sku": [f"p{number}" for number in range(10)], "location_id": "x"})
    demand = keys.merge(pd.DataFrame({"period_start": days}), how="cross")
    demand["unit_price"] = np.where(generator.random(len(demand)) < 0.3, 2.0, 4.0)
    demand["demand_units"] = generator.poisson(40.0 / demand["unit_price"]).astype(float)
    model = train(demand, freq="D", horizon=7, settings=SMALL)
    coming = keys.merge(pd.DataFrame({"period_start": days[-1] + pd.to_timedelta(np.arange(1, 8), "D")}), how="cross")
    cheap, dear = (contributions(model, demand, coming.assign(unit_price=price)) for price in (2.0, 4.0))
    gain = cheap["mean_units"].mean() - dear["mean_units"].mean()
    assert gain > 4.0
    credited = (cheap["price_and_promotion_units"] - dear["price_and_promotion_units"]).mean()
    assert credited == pytest.approx(gain, rel=0.3)


def test_a_closed_day_explains_itself_as_zero(demand, model):
    split = contributions(model, demand, planned(demand, 0.0))
    assert (split.groupby("sku")["mean_units"].last() == 0).all()


def test_importance_puts_what_moves_most_first(demand, model):
    split = contributions(model, demand, planned(demand, 1.0))
    moved = importance(split).set_index("group")
    assert moved["mean_absolute_units"].is_monotonic_decreasing
    assert moved.index[0] in ("season", "price_and_promotion")
    assert moved.loc["season", "mean_units"] == pytest.approx(split["season_units"].mean())
    assert set(moved.index) == set(GROUPS)


def test_figures_are_made_of_an_evaluation(demand, model):
    scored = evaluate(
        {"naive": train_seasonal_naive},
        demand,
        BacktestSetup(freq="D", horizon=7, windows=1, step=7, spans=(3, 7), keep_forecasts=True),
    )
    chosen = typical_and_worst(scored.series, "naive", each=2)
    assert set(chosen["choice"]) == {"typical", "worst"}
    split = contributions(model, demand)
    figures = [
        fan_charts(demand, scored.forecasts, chosen),
        calibration_curve(scored.calibration, "naive"),
        calibration_of_sums(scored.sums, "naive"),
        error_by_lag(scored.horizons),
        contribution_chart(split, "p1", "x"),
        importance_chart(importance(split)),
    ]
    assert all(as_png(figure).startswith(b"\x89PNG") for figure in figures)
