import dataclasses

import numpy as np
import pandas as pd
import pytest

from ml.panel import FeatureBuilder, FeaturePlan, Frequency, History, build_panel, check_items, static_features


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


@pytest.mark.parametrize("freq", ["D", "W-MON", "W-SUN", "MS"])
def test_ordinals_count_periods_and_give_the_dates_back(freq):
    dates = pd.date_range("2023-11-01", periods=40, freq=freq)
    ordinals = Frequency.of(freq).ordinals(dates)
    assert (np.diff(ordinals) == 1).all()
    assert (Frequency.of(freq).periods(ordinals) == dates).all()


def test_an_unknown_frequency_is_named():
    with pytest.raises(ValueError, match="freq is 'fortnight': use 'D'"):
        Frequency.of("fortnight")


def test_a_date_off_the_grid_is_named():
    with pytest.raises(ValueError, match=r"2024-01-02.*does not start a period of freq 'W-MON'"):
        build_panel(frame([1.0, 2.0], start="2024-01-02", freq="7D"), Frequency.of("W-MON"))


def test_negative_demand_is_refused_with_value_place_and_remedy():
    with pytest.raises(ValueError, match=r"negative \(-3.0\) in row 1 .*sku 'a'.*net or drop"):
        build_panel(frame([1.0, -3.0]), Frequency.of("D"))


def test_infinite_demand_is_refused():
    with pytest.raises(ValueError, match="infinite"):
        build_panel(frame([1.0, np.inf]), Frequency.of("D"))


def test_a_key_twice_is_refused():
    with pytest.raises(ValueError, match=r"sku 'a', location 'north'.*twice"):
        build_panel(pd.concat([frame([1.0, 2.0]), frame([5.0])]), Frequency.of("D"))


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match=r"lacks the columns \['demand_units'\]"):
        build_panel(frame([1.0]).drop(columns="demand_units"), Frequency.of("D"))


def test_a_missing_key_is_refused():
    broken = frame([1.0, 2.0]).assign(sku=["a", None])
    with pytest.raises(ValueError, match="sku is missing in row 1"):
        build_panel(broken, Frequency.of("D"))


def test_text_in_a_number_column_is_refused():
    broken = frame([1.0, 2.0]).astype({"demand_units": object})
    broken.loc[1, "demand_units"] = "many"
    with pytest.raises(ValueError, match="no numbers"):
        build_panel(broken, Frequency.of("D"))


def test_a_period_without_a_row_is_not_observed():
    gappy = frame([1.0, 2.0, 3.0]).drop(index=1)
    assert np.isnan(build_panel(gappy, Frequency.of("D")).demand[0, 1])


def test_a_closed_day_is_not_an_observation_of_zero():
    panel = build_panel(frame([1.0, 0.0, 3.0], is_open=[True, False, True]), Frequency.of("D"))
    assert np.isnan(panel.demand[0, 1])
    assert panel.closed[0].tolist() == [False, True, False]


def test_a_shop_closed_on_one_weekday_stays_closed_ahead():
    opened = [day % 7 != 5 for day in range(28)]
    panel = build_panel(frame(np.ones(28), is_open=opened), Frequency.of("D"), ahead=7)
    assert panel.closed[0, 28:].tolist() == [False] * 5 + [True, False]


def test_a_price_not_given_ahead_carries_its_last_value():
    panel = build_panel(frame(np.ones(10), unit_price=np.arange(10.0) + 0.5), Frequency.of("D"), ahead=3)
    assert panel.covariates["unit_price"][0, 10:].tolist() == [9.5, 9.5, 9.5]


def test_a_future_row_twice_is_refused():
    future = frame([0.0, 0.0], start="2024-01-11", unit_price=1.0).drop(columns="demand_units")
    with pytest.raises(ValueError, match="twice: drop one"):
        build_panel(frame(np.ones(10), unit_price=1.0), Frequency.of("D"), ahead=3, future=pd.concat([future, future]))


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


def test_an_infinite_covariate_is_refused():
    with pytest.raises(ValueError, match=r"demand.unit_price is infinite in row 1"):
        build_panel(frame([1.0, 2.0], unit_price=[1.0, np.inf]), Frequency.of("D"))


def test_an_item_twice_is_refused():
    with pytest.raises(ValueError, match="twice: keep one row"):
        check_items(pd.DataFrame({"sku": ["a", "a"], "location_id": ["x", "x"]}))


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
