import numpy as np
import pandas as pd
import pytest

from ml.backtest.monitoring import (
    accuracy_by_lag,
    bias_alarms,
    calibration_by_level,
    drift,
    matched,
    population_stability,
)
from ml.forecast.distribution import QUANTILE_COLUMNS


def archive(scale=1.0, periods=28, series=20, seed=0):
    """Forecasts of the true mean times `scale`, one step ahead, and what happened."""
    generator = np.random.default_rng(seed)
    days = pd.date_range("2024-03-01", periods=periods)
    keys = pd.DataFrame({"sku": [f"p{n}" for n in range(series)], "location_id": "x"})
    frame = keys.merge(pd.DataFrame({"period_start": days}), how="cross")
    mean = np.repeat(generator.gamma(2.0, 3.0, series), periods)
    actuals = frame.assign(demand_units=generator.poisson(mean).astype(float))
    forecasts = frame.assign(periods_ahead=1, mean_units=mean * scale)
    for name in QUANTILE_COLUMNS:
        forecasts[name] = mean * scale
    return forecasts, actuals


def alarms(scale, seed=0):
    forecasts, actuals = archive(scale, seed=seed)
    return bias_alarms(matched(forecasts, actuals).assign(region="north"), "region")


@pytest.mark.parametrize("scale", [1.3, 0.7])
def test_the_alarm_fires_on_a_bias_of_thirty_percent(scale):
    table = alarms(scale)
    assert table["alarm"].all()
    assert table["bias"].iloc[0] == pytest.approx(scale - 1.0, abs=0.08)


def test_the_alarm_is_quiet_on_clean_forecasts():
    assert sum(alarms(1.0, seed)["alarm"].iloc[0] for seed in range(40)) <= 1


def test_two_forecasts_of_one_period_are_refused():
    forecasts, actuals = archive()
    both = pd.concat([forecasts, forecasts.assign(periods_ahead=2)])
    with pytest.raises(ValueError, match="two forecasts of"):
        bias_alarms(matched(both, actuals), "location_id")


def test_periods_out_of_stock_are_not_matched():
    forecasts, actuals = archive()
    some = actuals.assign(is_in_stock=actuals["period_start"] < pd.Timestamp("2024-03-11"))
    assert len(matched(forecasts, some)) == 20 * 10


def test_forecasts_without_an_actual_yet_wait():
    forecasts, actuals = archive()
    assert len(matched(forecasts, actuals[actuals["period_start"] < pd.Timestamp("2024-03-04")])) == 60


def test_accuracy_has_one_row_per_lag():
    forecasts, actuals = archive()
    both = pd.concat([forecasts, forecasts.assign(periods_ahead=7, mean_units=0.0)])
    table = accuracy_by_lag(matched(both, actuals)).set_index("periods_ahead")
    assert table.index.tolist() == [1, 7]
    assert table.loc[7, "bias"] == -1.0
    assert abs(table.loc[1, "bias"]) < 0.1


def test_stability_of_a_sample_with_itself_is_zero():
    values = np.random.default_rng(0).normal(size=500)
    assert population_stability(values, values) == pytest.approx(0.0)


def test_a_shifted_column_has_drifted_and_a_steady_one_has_not():
    generator = np.random.default_rng(1)
    then = pd.DataFrame({"price": generator.normal(5, 1, 900), "units": generator.poisson(2, 900)})
    now = pd.DataFrame({"price": generator.normal(7, 1, 900), "units": generator.poisson(2, 900)})
    table = drift(then, now, ["price", "units"]).set_index("column")
    assert table.loc["price", "drifted"]
    assert not table.loc["units", "drifted"]


def test_few_rows_do_not_drift_by_chance():
    generator = np.random.default_rng(2)
    drifted = [
        drift(*(pd.DataFrame({"x": generator.normal(size=20)}) for _ in range(2)), ["x"])["drifted"].iloc[0]
        for _ in range(50)
    ]
    assert not any(drifted)


def test_each_level_says_how_often_it_was_not_exceeded():
    forecasts, actuals = archive()
    table = calibration_by_level(matched(forecasts.assign(q50_units=1e6, q05_units=-1.0), actuals)).set_index("level")
    assert table.loc[0.5, ["below", "upto", "gap"]].tolist() == [1.0, 1.0, 0.5]
    assert table.loc[0.05, ["below", "upto", "gap"]].tolist() == [0.0, 0.0, -0.05]


def test_the_error_is_set_against_that_of_a_simple_forecast_where_there_is_one():
    forecasts, actuals = archive()
    pairs = matched(forecasts, actuals)
    assert accuracy_by_lag(pairs)["to_naive"].isna().all()
    far = pairs.assign(naive_units=pairs["actual_units"] + 100.0)
    far.loc[far.index[0], ["mean_units", "naive_units"]] = [1e9, np.nan]
    assert accuracy_by_lag(far)["to_naive"].iloc[0] < 0.1


def test_stability_by_hand():
    then, now = np.array([1.0, 1.0, 2.0, 2.0]), np.array([1.0, 2.0, 2.0, 2.0])
    expected = (0.25 - 0.5) * np.log(0.25 / 0.5) + (0.75 - 0.5) * np.log(0.75 / 0.5)
    assert population_stability(then, now, bins=2) == pytest.approx(expected)
