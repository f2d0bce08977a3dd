"""Panels of any kind through one `train`, and what cannot be right refused with value, place and remedy."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from ml.forecast import Settings, train
from ml.forecast.baselines import train_recent
from ml.forecast.distribution import QUANTILE_COLUMNS
from ml.forecast.ensemble import CLASSES, CombinedForecaster
from ml.schema import KEYS

SMALL = Settings(mean_rows=1500, spread_rows=1000, rounds=10, spread_rounds=4)


def panel(series=4, periods=60, freq="D", start="2024-01-01"):
    generator = np.random.default_rng(0)
    keys = pd.DataFrame({"sku": [f"{number}" for number in range(series)], "location_id": "x"})
    frame = keys.merge(pd.DataFrame({"period_start": pd.date_range(start, periods=periods, freq=freq)}), how="cross")
    return frame.assign(demand_units=generator.poisson(5.0, len(frame)).astype(float))


DEMAND = panel()
COMING = panel(periods=5, start="2024-03-01").drop(columns="demand_units").assign(promotion=1.0)


def fit(frame, freq="D", horizon=5, items=None):
    return train(frame, freq=freq, horizon=horizon, items=items, settings=SMALL)


def changed(column, row, value):
    frame = DEMAND.astype({column: object})
    frame.loc[row, column] = value
    return frame


def stocked(value):
    return DEMAND.assign(is_in_stock=pd.Series([True, value] * (len(DEMAND) // 2), dtype=object))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ([1, 2], "demand is a list: pass a pandas DataFrame"),
        (pd.concat([DEMAND, DEMAND[["sku"]]], axis=1), "column 'sku' twice: keep one"),
        (DEMAND.set_index("sku"), r"lacks the columns \['sku'\]"),
        (DEMAND.iloc[:0], "no rows: give at least one"),
        (DEMAND.assign(demand_units=np.nan), "missing in every row: give the demand"),
        (DEMAND.assign(period_start=DEMAND["period_start"].dt.tz_localize("UTC")), "time zone: pass local calendar"),
        (
            DEMAND.assign(period_start=DEMAND["period_start"] + pd.Timedelta(hours=2)),
            "02:00:00 in row 0 does not start",
        ),
        (DEMAND.assign(period_start=DEMAND["period_start"].dt.to_period("D")), "pandas periods: pass dates"),
        (DEMAND.assign(period_start=range(len(DEMAND))), r"holds numbers \(0 in row 0\): pass dates"),
        (changed("period_start", 3, "31st of May"), "'31st of May' in row 3, which is not a date: write it as"),
        (changed("period_start", 3, None), "period_start is missing in row 3: give every row"),
        (changed("period_start", 3, pd.Timestamp("2204-01-04")), r"2204.* \(row 3\), more than 60 years: correct the"),
        (changed("sku", 3, None), "demand.sku is missing in row 3: every row needs its key"),
        (
            changed("demand_units", 3, np.inf),
            r"infinite \(inf\) in row 3 \(sku '0', location 'x', 2024-01-04.*: correct",
        ),
        (changed("demand_units", 3, -1), r"negative \(-1.0\) in row 3 .*: net or drop it first"),
        (changed("demand_units", 3, 1e40), r"beyond all demand \(1e\+40\) in row 3 .*: look whether the column"),
        (changed("demand_units", 3, "many"), "demand_units holds values that are not numbers .*: pass numbers only"),
        (changed("period_start", 3, pd.Timestamp("2024-01-03")), "sku '0', location 'x', period 2024-01-03.* twice"),
        (stocked("no"), "is_in_stock is 'no' in row 1: pass True, False or None"),
        (stocked(0.5), "is_in_stock is 0.5 in row 1: pass True, False or None"),
        (DEMAND.assign(is_open="yes"), "is_open holds 'yes' in a column of type object: pass a column of True"),
        (DEMAND.assign(price=np.where(DEMAND.index == 3, np.inf, 1.0)), "demand.price is infinite in row 3"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_demand_is_refused_with_value_place_and_remedy(frame, message):
    with pytest.raises(ValueError, match=message):
        fit(frame)


@pytest.mark.parametrize("horizon", [None, "7", float("nan"), 0, 2.5])
def test_an_impossible_horizon_is_named(horizon):
    with pytest.raises(ValueError, match=r"horizon is .*: give a whole number of periods"):
        fit(DEMAND, horizon=horizon)


@pytest.mark.parametrize(("freq", "start"), [("W-MON", "2024-01-02"), ("MS", "2024-01-15")])
def test_periods_that_start_on_another_day_than_the_frequency_says_are_refused(freq, start):
    step = {"W-MON": "7D", "MS": pd.DateOffset(months=1)}[freq]
    with pytest.raises(ValueError, match=f"does not start a period of freq '{freq}': align the dates or pass the freq"):
        fit(panel(freq=step, start=start, periods=20), freq=freq)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"sku": ["0"]}, "items is a dict"),
        (pd.DataFrame({"sku": ["0"]}), r"items lacks the columns \['location_id'\]"),
        (pd.DataFrame({"sku": [0], "location_id": "x"}), "demand.sku holds texts .*items.sku numbers .*same type"),
    ],
)
def test_items_that_fit_no_demand_are_refused(items, message):
    with pytest.raises(ValueError, match=message):
        fit(DEMAND, items=items)


@pytest.fixture(scope="module")
def promoted():
    demand = DEMAND.assign(promotion=(np.arange(len(DEMAND)) % 9 == 0).astype(float))
    return demand, fit(demand)


@pytest.mark.parametrize(
    ("future", "message"),
    [
        (COMING.to_dict(), "future is a dict"),
        (COMING.assign(sku="unknown"), "no row of a known series between 2024-03-01 and 2024-03-05; .*sku 'unknown'"),
        (COMING.assign(period_start=pd.Timestamp("2023-01-01")), "2023-01-01.*: give the periods after the last one"),
        (COMING.assign(promotion="on"), "future.promotion holds values that are not numbers"),
        (pd.concat([COMING, COMING]), "twice: drop one"),
    ],
)
def test_a_future_that_says_nothing_of_the_periods_to_come_is_refused(promoted, future, message):
    demand, model = promoted
    with pytest.raises(ValueError, match=message):
        model.predict(demand, future)


@pytest.fixture(scope="module")
def usual():
    return fit(DEMAND).predict(DEMAND)


@pytest.mark.parametrize(
    "same",
    [
        DEMAND.sample(frac=1.0, random_state=1),
        DEMAND.set_index(np.zeros(len(DEMAND), int)),
        DEMAND.astype({"sku": "category", "location_id": "category"}),
        DEMAND.astype({"sku": "string", "location_id": "string"}),
        DEMAND.assign(demand_units=DEMAND["demand_units"].map(lambda units: Decimal(str(units)))),
        DEMAND.assign(demand_units=DEMAND["demand_units"].astype("Int64")),
        DEMAND.assign(period_start=DEMAND["period_start"].dt.strftime("%Y-%m-%d")),
        DEMAND.assign(period_start=DEMAND["period_start"].dt.date),
        DEMAND.assign(note="text", at=DEMAND["period_start"]),
        DEMAND.assign(is_in_stock=pd.Series([True, None] * (len(DEMAND) // 2), dtype=object)),
        DEMAND.assign(is_in_stock=1),
    ],
    ids=[
        *("unsorted", "index", "category", "string", "Decimal", "Int64", "text dates", "date objects", "more columns"),
        *("flags with gaps", "flags as numbers"),
    ],
)
def test_the_same_demand_in_another_dress_is_forecast_the_same(usual, same):
    found = fit(same).predict(same)
    pd.testing.assert_frame_equal(found, usual, check_dtype=False, check_categorical=False)


def test_whole_number_keys_stay_whole_numbers(usual):
    numbered = DEMAND.astype({"sku": int})
    found = fit(numbered).predict(numbered)
    assert found["sku"].dtype == np.int64
    assert np.array_equal(found["mean_units"], usual["mean_units"])


def check(forecast, rows):
    assert len(forecast) == rows
    values = forecast[["mean_units", *QUANTILE_COLUMNS]].to_numpy()
    assert np.isfinite(values).all()
    assert values.min() >= 0
    assert (np.diff(values[:, 1:], axis=1) >= 0).all()


def test_a_horizon_longer_than_the_history_is_forecast():
    forecast = fit(DEMAND, horizon=3000).predict(DEMAND)
    check(forecast, 4 * 3000)
    assert forecast["mean_units"].mean() == pytest.approx(5.0, rel=0.25)


def test_five_years_of_days_are_forecast():
    long = panel(series=3, periods=1826, start="2019-01-01")
    forecast = fit(long).predict(long)
    check(forecast, 3 * 5)
    assert forecast["mean_units"].mean() == pytest.approx(5.0, rel=0.25)


def test_days_without_rows_at_weekends_do_not_lower_the_days_between():
    traded = DEMAND[DEMAND["period_start"].dt.dayofweek < 5]
    forecast = fit(traded, horizon=7).predict(traded)
    between = forecast[forecast["period_start"].dt.dayofweek < 5]
    assert between["mean_units"].mean() == pytest.approx(5.0, rel=0.25)


@pytest.mark.deep
def test_a_hundred_thousand_series_of_three_points_are_forecast():
    many = panel(series=100_000, periods=3)
    check(fit(many, horizon=2).predict(many), 200_000)


def test_one_point_of_one_series_is_forecast_as_itself():
    forecast = fit(DEMAND.iloc[:1]).predict(DEMAND.iloc[:1])
    assert forecast["mean_units"].to_numpy() == pytest.approx(DEMAND["demand_units"].iloc[0], rel=0.2)
    assert forecast[KEYS].drop_duplicates().to_numpy().tolist() == [["0", "x"]]


def planned(demand, sku="new"):
    fresh = COMING[COMING["sku"] == "0"].assign(sku=sku)
    return pd.concat([COMING[COMING["sku"].isin(demand["sku"])], fresh])


def test_an_item_planned_since_the_training_is_forecast_like_the_others(promoted):
    demand, model = promoted
    forecast = model.predict(demand, planned(demand))
    check(forecast, 5 * 5)
    assert forecast.loc[forecast["sku"] == "new", "mean_units"].mean() == pytest.approx(5.0, rel=0.5)
    others = forecast[forecast["sku"] != "new"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, model.predict(demand, COMING))
    keys, paths = next(
        model.sample_paths(demand, 20, planned(demand), keys=forecast.loc[forecast["sku"] == "new", KEYS])
    )
    assert keys["sku"].unique().tolist() == ["new"]
    assert paths.mean() > 0


def test_an_item_that_left_the_history_but_is_planned_is_forecast(promoted):
    demand, model = promoted
    less = demand[demand["sku"] != "2"]
    assert "2" in set(model.predict(less, COMING)["sku"])


def test_a_baseline_says_zero_of_an_item_without_a_past_and_leaves_it_to_the_others(promoted):
    demand, model = promoted
    recent = train_recent(demand, freq="D", horizon=5)
    alone = recent.predict(demand, planned(demand)).set_index("sku")
    assert (alone.loc["new", "mean_units"] == 0).all()
    assert (alone.loc["0", "mean_units"] > 0).all()
    shares = {one: {"boosted": 0.0, "recent": 1.0} for one in CLASSES}
    mixed = CombinedForecaster({"boosted": model, "recent": recent}, shares).predict(demand, planned(demand))
    own = model.predict(demand, planned(demand))
    is_new = (mixed["sku"] == "new").to_numpy()
    assert np.allclose(mixed.loc[is_new, "mean_units"], own.loc[is_new, "mean_units"], rtol=1e-5)
