import dataclasses

import numpy as np
import pandas as pd
import pytest

from ml.forecast.features import FeatureBuilder, FeaturePlan, History, static_features
from ml.panel import Frequency, build_panel


def frame(values, start="2024-01-01", freq="D", sku="a", location_id="north", **more):
    periods = pd.date_range(start, periods=len(values), freq=freq)
    return pd.DataFrame(
        {"sku": sku, "location_id": location_id, "period_start": periods, "demand_units": values, **more}
    )


def plan(horizon=7, freq="D", flags=(), covariates=(), yearly=False):
    return FeaturePlan(Frequency.of(freq), horizon, list(covariates), list(flags), [], yearly, [], {})


def builder(demand, wanted, ahead=0, future=None):
    panel = build_panel(demand, wanted.frequency, ahead=ahead, future=future)
    history = History(panel, ~panel.bound)
    return FeatureBuilder(history, wanted, np.zeros((panel.series, 0), np.float32), np.ones(panel.series))


def test_trailing_means_are_those_of_pandas():
    values = np.random.default_rng(0).poisson(3.0, 60).astype(float)
    history = History(build_panel(frame(values), Frequency.of("D")))
    ends = np.arange(60)
    expected = pd.Series(values).rolling(7, min_periods=1).mean()
    assert np.allclose(history.mean(np.zeros(60, int), ends, 7), expected)


def test_seasonal_sums_take_the_same_weekday_only():
    values = np.arange(28.0)
    history = History(build_panel(frame(values), Frequency.of("D")))
    total, count = history.phase(np.array([0]), np.array([24]), 3)
    assert (total[0], count[0]) == (24 + 17 + 10, 3)


def test_seasonal_sums_stop_at_the_left_edge():
    history = History(build_panel(frame(np.arange(28.0)), Frequency.of("D")))
    total, count = history.phase(np.array([0]), np.array([8]), 5)
    assert (total[0], count[0]) == (8 + 1, 2)


@pytest.mark.parametrize("yearly", [False, True])
def test_no_feature_sees_past_its_origin(yearly):
    generator = np.random.default_rng(1)
    values = generator.poisson(4.0, 800).astype(float)
    promotion = (generator.random(800) < 0.2).astype(float)
    wanted = plan(28, flags=["is_promotion"], covariates=["is_promotion"], yearly=yearly)
    origins = np.array([760, 765, 771])
    ahead = np.tile(np.arange(1, 29), (3, 1))
    rows = np.zeros(3, int)
    clean = builder(frame(values, is_promotion=promotion), wanted).build(rows, origins, ahead)
    corrupted = values.copy()
    corrupted[761:] = 9e6
    dirty = builder(frame(corrupted, is_promotion=promotion), wanted).build(rows, origins, ahead)
    seen = slice(0, 28)
    assert np.array_equal(clean.features[seen], dirty.features[seen], equal_nan=True)
    assert np.array_equal(clean.baseline[seen], dirty.baseline[seen])
    assert not np.array_equal(clean.features[28:], dirty.features[28:], equal_nan=True)


def test_features_do_not_depend_on_the_unit_of_measure():
    values = np.random.default_rng(2).poisson(4.0, 100).astype(float)
    wanted = plan()
    origins, ahead = np.array([95]), np.arange(1, 8)[None, :]
    one = builder(frame(values), wanted)
    one.prior[:] = 4.0
    many = builder(frame(values * 1000), wanted)
    many.prior[:] = 4000.0
    a, b = (each.build(np.zeros(1, int), origins, ahead) for each in (one, many))
    free = [place for place, name in enumerate(wanted.names()) if name != "scale"]
    assert np.allclose(a.features[:, free], b.features[:, free], rtol=1e-4, equal_nan=True)
    assert np.allclose(b.baseline, 1000 * a.baseline)


def test_a_cold_row_knows_nothing_but_calendar_and_attributes():
    wanted = plan()
    built = builder(frame(np.arange(100.0)), wanted).build(
        np.zeros(1, int), np.array([90]), np.array([[3]]), np.array([True])
    )
    known = {name for name, value in zip(wanted.names(), built.features[0], strict=True) if np.isfinite(value)}
    assert known == {"horizon", "phase", "weekday", "day_of_month"}
    assert built.baseline[0] == pytest.approx(1.0)


def test_feature_names_match_the_columns():
    wanted = plan(flags=["is_promotion"], covariates=["is_promotion", "unit_price"], yearly=True)
    demand = frame(np.ones(50), is_promotion=0.0, unit_price=2.0)
    built = builder(demand, wanted).build(np.zeros(1, int), np.array([40]), np.array([[1]]))
    assert built.features.shape[1] == len(wanted.names())


def test_text_attributes_become_codes_and_unseen_values_unknown():
    keys = pd.DataFrame({"sku": ["a", "b"], "location_id": ["x", "x"]})
    items = keys.assign(category=["tea", "coffee"], unit_cost=[1.0, 2.0])
    matrix, names, codes = static_features(keys, items)
    assert codes["category"] == {"coffee": 0, "tea": 1}
    again, _, _ = static_features(keys, items.assign(category=["tea", "cocoa"]), codes)
    place = names.index("category")
    assert again[0, place] == matrix[0, place]
    assert np.isnan(again[1, place])


def test_a_text_that_names_each_series_is_no_attribute():
    keys = pd.DataFrame({"sku": [f"s{number}" for number in range(100)], "location_id": "x"})
    _, names, _ = static_features(keys, keys.assign(product_name=[f"name {number}" for number in range(100)]))
    assert names == []


@pytest.mark.parametrize(("floor", "known"), [(0.1, True), (0.0, False)])
def test_a_season_that_starts_from_nothing_has_a_yearly_ratio(floor, known):
    units = np.zeros(800)
    units[[*range(400, 410), *range(36, 46)]] = 10.0
    wanted = dataclasses.replace(plan(28, yearly=True), year_floor=floor)
    columns = builder(frame(units), wanted).build(np.array([0]), np.array([750]), np.array([[18]])).features[0]
    ratios = columns[[wanted.names().index(name) for name in ("year_level", "year_value", "year_date", "year2_level")]]
    assert np.isfinite(ratios).all() == known
    if known:
        yearly = floor * 10.0 * 10.0 / 364.0
        assert ratios[1] == pytest.approx((10.0 + yearly) / yearly)
