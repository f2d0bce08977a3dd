import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from ml.forecast import DemandForecaster, Settings, boosters, load, storage, train
from ml.forecast.baselines import train_recent, train_seasonal_naive
from ml.forecast.boosters import Block, best_level_share, fit_mean_judged
from ml.forecast.distribution import (
    KNOTS,
    QUANTILE_COLUMNS,
    STANDARD_PATHS,
    Dependence,
    grid_quantiles,
    grid_weights,
    match_sums,
    quantile_grid,
    shuffle_grid,
)
from ml.forecast.features import FeatureBuilder
from ml.forecast.training import Training
from ml.panel import Frequency, build_panel
from ml.schema import KEYS

SMALL = Settings(mean_rows=6000, spread_rows=4000, rounds=40, learning_rate=0.15, spread_rounds=15, spread_rate=0.3)
HORIZON = 14


def shop(series=12, days=160, seed=0, unlike=0.0):
    """Series of four sizes with a weekday pattern, alike within a size but for a log-normal factor."""
    generator = np.random.default_rng(seed)
    frames = []
    pattern = np.array([0.6, 0.7, 0.8, 1.0, 1.4, 1.8, 0.7])
    periods = pd.date_range("2024-01-01", periods=days)
    for number in range(series):
        level = [2.0, 8.0, 30.0, 0.1][number % 4] * np.exp(unlike * generator.standard_normal())
        values = generator.poisson(level * pattern[np.arange(days) % 7]).astype(float)
        frames.append(
            pd.DataFrame(
                {"sku": f"p{number:02d}", "location_id": "north", "period_start": periods, "demand_units": values}
            )
        )
    return pd.concat(frames, ignore_index=True)


def items_of(demand):
    return (
        demand[KEYS].drop_duplicates().assign(size=lambda f: [int(s[1:]) % 4 for s in f["sku"]]).reset_index(drop=True)
    )


@pytest.fixture(scope="module")
def demand():
    return shop()


@pytest.fixture(scope="module")
def fitted(demand):
    return train(demand, freq="D", horizon=HORIZON, items=items_of(demand), settings=SMALL)


@pytest.fixture(scope="module")
def predicted(demand, fitted):
    return fitted.predict(demand)


def test_every_series_gets_every_period_of_the_horizon(demand, predicted):
    assert len(predicted) == 12 * HORIZON
    assert predicted["period_start"].min() == demand["period_start"].max() + pd.Timedelta(days=1)
    assert not predicted.duplicated([*KEYS, "period_start"]).any()


def test_quantiles_never_cross_and_are_never_negative(predicted):
    quantiles = predicted[list(QUANTILE_COLUMNS)].to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert quantiles.min() >= 0
    assert np.isfinite(predicted["mean_units"]).all()


def test_the_weekday_pattern_and_the_level_are_learnt(predicted):
    means = predicted.set_index("sku").loc["p02"]
    by_day = means.groupby(means["period_start"].dt.dayofweek)["mean_units"].mean()
    assert by_day.idxmax() == 5
    assert means["mean_units"].mean() == pytest.approx(30.0, rel=0.2)


def test_paths_have_exactly_the_forecast_mean_and_quantiles(demand, fitted, predicted):
    keys, paths = next(fitted.sample_paths(demand, STANDARD_PATHS))
    assert paths.dtype == np.float32
    assert paths.shape == (12, STANDARD_PATHS, HORIZON)
    means = predicted["mean_units"].to_numpy().reshape(12, HORIZON)
    assert keys["sku"].tolist() == sorted(demand["sku"].unique())
    assert np.allclose(paths.mean(axis=1, dtype=np.float64), means, rtol=1e-5)
    medians = predicted["q50_units"].to_numpy().reshape(12, HORIZON)
    assert np.allclose(grid_quantiles(np.sort(paths, axis=1).transpose(0, 2, 1), [0.5])[:, :, 0], medians)


def test_one_more_item_changes_no_other_paths(demand, fitted):
    _, alone = next(fitted.sample_paths(demand[demand["sku"] == "p02"], 50, seed=3))
    keys, together = next(fitted.sample_paths(demand, 50, seed=3))
    place = keys["sku"].tolist().index("p02")
    assert np.array_equal(alone[0], together[place])


def test_paths_of_chosen_keys_are_those_of_all(demand, fitted):
    wanted = pd.DataFrame({"sku": ["p05", "p01"], "location_id": "north"})
    keys, some = next(fitted.sample_paths(demand, 20, keys=wanted))
    every, paths = next(fitted.sample_paths(demand, 20))
    assert keys["sku"].tolist() == ["p05", "p01"]
    assert np.array_equal(some[0], paths[every["sku"].tolist().index("p05")])


def test_paths_for_an_unknown_key_are_refused(demand, fitted):
    with pytest.raises(ValueError, match="sku 'zz'"):
        fitted.sample_paths(demand, 20, keys=pd.DataFrame({"sku": ["zz"], "location_id": ["north"]}))


def test_another_seed_gives_another_order_of_the_same_values(demand, fitted):
    _, one = next(fitted.sample_paths(demand, 30, seed=1))
    _, two = next(fitted.sample_paths(demand, 30, seed=2))
    assert not np.array_equal(one, two)
    assert np.array_equal(np.sort(one, axis=1), np.sort(two, axis=1))


def test_the_same_seed_trains_the_same_forecaster(demand, predicted):
    again = train(demand, freq="D", horizon=HORIZON, items=items_of(demand), settings=SMALL).predict(demand)
    pd.testing.assert_frame_equal(again, predicted)


def test_the_order_of_rows_does_not_matter(demand, fitted, predicted):
    shuffled = demand.sample(frac=1.0, random_state=1)
    pd.testing.assert_frame_equal(fitted.predict(shuffled), predicted)


def test_a_saved_forecaster_forecasts_the_same_after_loading(demand, fitted, predicted, tmp_path):
    fitted.save(tmp_path)
    loaded = load(tmp_path)
    pd.testing.assert_frame_equal(loaded.predict(demand), predicted)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".ubj", ".json", ".npz"}


def test_loading_an_empty_folder_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="holds no forecaster"):
        load(tmp_path)


def test_a_forecaster_of_another_format_is_refused(fitted, tmp_path):
    fitted.save(tmp_path)
    document = json.loads((tmp_path / "forecaster.json").read_text())
    (tmp_path / "forecaster.json").write_text(json.dumps({**document, "format": 999}))
    with pytest.raises(ValueError, match="format 999"):
        load(tmp_path)


def test_predicting_newer_history_does_not_refit(demand, fitted):
    newer = shop(days=170)
    before = [model.save_raw() for model in fitted.mean_models]
    forecast_frame = fitted.predict(newer)
    assert forecast_frame["period_start"].min() == newer["period_start"].max() + pd.Timedelta(days=1)
    assert [model.save_raw() for model in fitted.mean_models] == before


def test_history_with_a_series_the_training_never_saw_is_forecast(demand, fitted):
    stranger = demand[demand["sku"] == "p02"].assign(sku="stranger")
    known = fitted.predict(pd.concat([demand, stranger]))
    assert known[known["sku"] == "stranger"]["mean_units"].mean() == pytest.approx(30.0, rel=0.3)


def test_a_brand_new_item_borrows_from_its_like_and_is_less_sure(demand):
    wide = shop(series=60, unlike=0.5)
    items = items_of(wide)
    fresh = pd.DataFrame({"sku": ["new"], "location_id": ["north"], "size": [2]})
    model = train(wide, freq="D", horizon=7, items=pd.concat([items, fresh]), settings=SMALL)
    frame = model.predict(wide).set_index("sku")
    new, like = frame.loc["new"], frame.loc["p02"]
    assert 15.0 < new["mean_units"].mean() < 70.0
    width = [(f["q95_units"] - f["q05_units"]).mean() / f["mean_units"].mean() for f in (new, like)]
    assert width[0] > 1.3 * width[1]


def test_nothing_leaks_from_after_the_training_data(demand, predicted, fitted):
    cut = demand["period_start"].max() - pd.Timedelta(days=20)
    past = demand[demand["period_start"] <= cut]
    assert fitted.predict(past)["period_start"].max() == cut + pd.Timedelta(days=HORIZON)
    corrupted = demand.copy()
    corrupted.loc[corrupted["period_start"] > cut, "demand_units"] *= 1000.0
    one, two = (
        train(frame[frame["period_start"] <= cut], freq="D", horizon=HORIZON, settings=SMALL).predict(
            frame[frame["period_start"] <= cut]
        )
        for frame in (demand, corrupted)
    )
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize(
    ("values", "freq"),
    [([3.0, 1.0, 2.0], "D"), ([0.0] * 90, "D"), ([5.0], "MS"), ([1.0, np.nan, 4.0] * 15, "W-MON"), ([2.5] * 40, "MS")],
)
def test_short_all_zero_and_gappy_series_are_forecast(values, freq):
    periods = pd.date_range("2020-01-06" if freq == "W-MON" else "2020-01-01", periods=len(values), freq=freq)
    panel = pd.DataFrame({"sku": "a", "location_id": "x", "period_start": periods, "demand_units": values})
    frame = train(panel, freq=freq, horizon=5, settings=SMALL).predict(panel)
    assert len(frame) == 5
    assert np.isfinite(frame["mean_units"]).all()
    known = np.nan_to_num(values)
    assert 0 <= frame["mean_units"].max() <= 3 * max(known.max(), 0.5)


@pytest.mark.parametrize(
    ("freq", "start", "periods", "year", "horizon"),
    [("W-MON", "2021-01-04", 156, 52, 8), ("MS", "2019-01-01", 60, 12, 6)],
)
def test_weekly_and_monthly_panels_repeat_their_year(freq, start, periods, year, horizon):
    generator = np.random.default_rng(0)
    level = generator.uniform(5.0, 60.0, (30, 1))
    season = 1.0 + 0.6 * np.sin(2 * np.pi * np.arange(periods + horizon) / year)
    keys = pd.DataFrame({"sku": [f"p{number:02d}" for number in range(30)], "location_id": "x"})
    panel = keys.merge(pd.DataFrame({"period_start": pd.date_range(start, periods=periods, freq=freq)}), how="cross")
    panel["demand_units"] = generator.poisson(level * season[:periods]).reshape(-1).astype(float)
    frame = train(panel, freq=freq, horizon=horizon, settings=SMALL).predict(panel)
    assert frame["period_start"].min() == panel["period_start"].max() + pd.tseries.frequencies.to_offset(freq)
    coming = level * season[periods:]
    error = np.abs(frame["mean_units"].to_numpy().reshape(30, horizon) - coming).sum() / coming.sum()
    assert error < 0.6 * np.abs(level - coming).sum() / coming.sum()


def test_a_series_that_never_sold_is_forecast_near_zero(demand):
    dead = demand[demand["sku"] == "p00"].assign(sku="dead", demand_units=0.0)
    both = pd.concat([demand, dead])
    frame = train(both, freq="D", horizon=7, settings=SMALL).predict(both).set_index("sku")
    assert frame.loc["dead", "mean_units"].mean() < 0.05


def test_a_discontinued_series_is_forecast_as_zero(demand, fitted):
    last = demand["period_start"].max() - pd.Timedelta(days=60)
    ended = demand[(demand["sku"] != "p02") | (demand["period_start"] < last)]
    frame = fitted.predict(ended).set_index("sku")
    assert (frame.loc["p02", ["mean_units", "q95_units"]] == 0).all(axis=None)
    assert frame.loc["p06", "mean_units"].min() > 0


def test_closed_days_are_forecast_as_zero(demand):
    opened = demand.assign(is_open=demand["period_start"].dt.dayofweek != 6)
    opened.loc[~opened["is_open"], "demand_units"] = 0.0
    model = train(opened, freq="D", horizon=HORIZON, settings=SMALL)
    frame = model.predict(opened)
    sundays = frame["period_start"].dt.dayofweek == 6
    assert (frame.loc[sundays, ["mean_units", "q95_units"]] == 0).all(axis=None)
    assert (frame.loc[~sundays & (frame["sku"] == "p02"), "mean_units"] > 5).all()
    _, paths = next(model.sample_paths(opened, 10))
    assert (paths[:, :, sundays.to_numpy()[:HORIZON]] == 0).all()


def test_a_planned_promotion_lifts_the_forecast():
    generator = np.random.default_rng(5)
    panel = shop(series=8, days=200, seed=4)
    panel["is_promotion"] = (generator.random(len(panel)) < 0.15).astype(float)
    panel["demand_units"] = generator.poisson(6.0 * (1 + 2 * panel["is_promotion"])).astype(float)
    model = train(panel, freq="D", horizon=7, settings=SMALL)
    coming = pd.date_range(panel["period_start"].max() + pd.Timedelta(days=1), periods=7)
    keys = panel[KEYS].drop_duplicates()
    future = keys.merge(pd.DataFrame({"period_start": coming}), how="cross")
    calm, loud = (model.predict(panel, future.assign(is_promotion=flag))["mean_units"].mean() for flag in (0.0, 1.0))
    assert loud / calm == pytest.approx(3.0, rel=0.2)


def censored(panel, seed=0):
    """Cut demand at a stock that is often too small on busy days."""
    generator = np.random.default_rng(seed)
    stock = np.where(generator.random(len(panel)) < 0.3, generator.uniform(0.5, 1.5, len(panel)) * 10.0, 1e9)
    cut = panel["demand_units"].to_numpy() >= stock
    return panel.assign(demand_units=np.minimum(panel["demand_units"], np.floor(stock)), is_in_stock=~cut)


def test_stock_outs_do_not_pull_the_forecast_down():
    generator = np.random.default_rng(6)
    periods = pd.date_range("2024-01-01", periods=200)
    panel = pd.concat(
        [
            pd.DataFrame(
                {
                    "sku": f"p{number}",
                    "location_id": "x",
                    "period_start": periods,
                    "demand_units": generator.poisson(10.0, 200).astype(float),
                }
            )
            for number in range(15)
        ],
        ignore_index=True,
    )
    seen = censored(panel)
    ignored = seen.drop(columns="is_in_stock")
    told = train(seen, freq="D", horizon=7, settings=SMALL).predict(seen)["mean_units"].mean()
    naive = train(ignored, freq="D", horizon=7, settings=SMALL).predict(ignored)["mean_units"].mean()
    assert naive < 9.6
    assert told == pytest.approx(10.0, rel=0.03)


@pytest.mark.parametrize("horizon", [0, -3, 2.5])
def test_an_impossible_horizon_is_refused(demand, horizon):
    with pytest.raises(ValueError, match="horizon is"):
        train(demand, freq="D", horizon=horizon)


def test_negative_demand_is_refused_before_training(demand):
    broken = demand.copy()
    broken.loc[5, "demand_units"] = -1.0
    with pytest.raises(ValueError, match="negative"):
        train(broken, freq="D", horizon=3)


def test_the_grid_reproduces_the_quantiles_it_is_made_of():
    knots = np.arange(1.0, 15.0)[None, :].astype(np.float32)
    grid = knots @ grid_weights(KNOTS, 1000)
    for place, level in enumerate(KNOTS[:-1]):
        assert grid[0, int(level * 1000)] == pytest.approx(knots[0, place], abs=0.05)
    assert (np.diff(grid[0]) >= -1e-5).all()


def test_a_quantile_grid_has_the_mean_it_is_given():
    generator = np.random.default_rng(0)
    mean = generator.gamma(0.5, 5.0, 300)
    knots = (mean[:, None] * np.sort(generator.gamma(0.5, 2.0, (300, len(KNOTS))), axis=1)).astype(np.float32)
    for counted in (False, True):
        grid = quantile_grid(knots, mean, 200, np.full(300, counted))
        assert np.allclose(grid.mean(axis=1), mean, rtol=1e-3, atol=1e-5)
        assert (np.diff(grid, axis=1) >= -1e-6).all()
        assert grid.min() >= 0


def test_counts_get_whole_quantiles():
    knots = np.linspace(0.0, 6.3, len(KNOTS), dtype=np.float32)[None, :]
    grid = quantile_grid(knots, np.array([2.5]), 200, np.array([True]))
    quantiles = grid_quantiles(grid)
    assert np.array_equal(quantiles, np.rint(quantiles))


def test_a_grid_has_demand_as_often_as_it_is_told():
    knots = np.tile(np.linspace(3.0, 30.0, len(KNOTS), dtype=np.float32), (3, 1))
    sold = np.array([0.02, 0.4, 1.0])
    grid = quantile_grid(knots, 12.0 * sold, 500, np.full(3, True), sold)
    assert (grid > 0).mean(axis=1) == pytest.approx(sold)
    assert np.allclose(grid.mean(axis=1), 12.0 * sold, rtol=1e-5)
    assert grid[grid > 0].min() > 0.9


def test_demand_in_whole_units_is_no_rarer_than_its_mean_allows():
    grid = quantile_grid(np.ones((1, len(KNOTS)), np.float32), np.array([0.05]), 500, np.array([True]), np.array([0.9]))
    assert grid.sum() == pytest.approx(25.0)
    assert set(np.unique(grid)) == {0.0, 1.0}


def test_rare_demand_is_forecast_as_often_as_it_comes_and_its_sums_hold_what_they_promise():
    generator = np.random.default_rng(3)
    days, series = 300, 150
    units = generator.poisson(8.0, (series, days)) * (generator.random((series, days)) < 0.08)
    keys = pd.DataFrame({"sku": [f"p{number:03d}" for number in range(series)], "location_id": "x"})
    panel = keys.merge(pd.DataFrame({"period_start": pd.date_range("2024-01-01", periods=days)}), how="cross")
    panel["demand_units"] = units.reshape(-1).astype(float)
    past = panel[panel["period_start"] < pd.Timestamp("2024-01-01") + pd.Timedelta(days=days - 28)]
    settings = Settings(mean_rows=40_000, spread_rows=20_000, rounds=40, spread_rounds=20, spread_rate=0.3)
    _, paths = next(train(past, freq="D", horizon=28, settings=settings).sample_paths(past, 200))
    assert paths.mean() == pytest.approx(0.64, rel=0.15)
    assert (paths > 0).mean() == pytest.approx(0.08, rel=0.2)
    sums, wanted = np.sort(paths.sum(axis=2), axis=1), units[:, -28:].sum(axis=1)
    for level in (0.2, 0.5, 0.8):
        assert (wanted <= sums[:, int(200 * level) - 1]).mean() == pytest.approx(level, abs=0.12)


def test_dependent_periods_make_sums_wider():
    grid = np.sort(np.random.default_rng(0).gamma(2.0, 2.0, (40, 10, 300)).astype(np.float32), axis=2)
    keys = [(f"s{number}", "x") for number in range(40)]
    spreads = [
        shuffle_grid(grid, keys, [Dependence(level, 0.0, 0.0, 0.0)] * 40, 0).sum(axis=2).std(axis=1).mean()
        for level in (0.0, 0.5)
    ]
    assert spreads[1] > 1.5 * spreads[0]


def test_series_that_share_a_shock_make_totals_wider():
    grid = np.sort(np.random.default_rng(0).gamma(2.0, 2.0, (40, 5, 300)).astype(np.float32), axis=2)
    keys = [(f"s{number}", "x") for number in range(40)]
    totals = [
        shuffle_grid(grid, keys, [Dependence(0.0, 0.0, 0.0, shared)] * 40, 0).sum(axis=0).std(axis=0).mean()
        for shared in (0.0, 0.4)
    ]
    assert totals[1] > 2.0 * totals[0]


def test_the_dependence_of_simulated_scores_is_found_again():
    truth = Dependence(0.3, 0.4, 0.8, 0.0)
    generator = np.random.default_rng(0)
    scores = np.stack([truth.scores(generator, 1, 12)[:, 0] for _ in range(3000)]).astype(float)
    horizons = np.tile(np.arange(1, 13), (3000, 1))
    found = Dependence.fit(scores, horizons, np.arange(3000))
    assert found.level + found.wave * found.decay**6 == pytest.approx(0.3 + 0.4 * 0.8**6, abs=0.05)


def test_sums_are_matched_though_counts_hide_the_dependence():
    generator = np.random.default_rng(0)
    rate = generator.gamma(2.0, 0.15, (1500, 1))
    actual = generator.poisson(np.repeat(rate, 12, axis=1)).astype(float)
    draws = generator.poisson(generator.gamma(2.0, 0.15, 4000))
    grid = np.tile(np.quantile(draws, (np.arange(100) + 0.5) / 100, method="inverted_cdf"), (1500, 12, 1))
    horizons = np.tile(np.arange(1, 13), (1500, 1))
    found = match_sums(Dependence(0.0, 0.0, 0.0, 0.0), grid.astype(np.float32), horizons, actual, generator)
    assert found.level > 0.1


@pytest.mark.parametrize("model_spec", [train_seasonal_naive, train_recent])
def test_baselines_answer_with_the_same_columns(demand, predicted, model_spec):
    model = model_spec(demand, freq="D", horizon=HORIZON)
    frame = model.predict(demand)
    assert list(frame.columns) == list(predicted.columns)
    assert len(frame) == len(predicted)
    assert (np.diff(frame[list(QUANTILE_COLUMNS)].to_numpy(), axis=1) >= 0).all()
    _, paths = next(model.sample_paths(demand, 20))
    assert paths.shape == (12, 20, HORIZON)


def test_the_seasonal_naive_repeats_the_last_week(demand):
    frame = train_seasonal_naive(demand, freq="D", horizon=HORIZON).predict(demand)
    last = demand[demand["sku"] == "p02"]["demand_units"].to_numpy()[-7:]
    assert frame[frame["sku"] == "p02"]["mean_units"].tolist() == [*last, *last]


def test_importing_the_forecaster_loads_no_heavy_library():
    import subprocess
    import sys

    code = (
        "import sys, ml.forecast, ml.backtest, ml.backtest.gate;"
        "print([m for m in ('xgboost','tensorflow','matplotlib','scipy','statsforecast') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_forecaster_is_what_the_module_returns(fitted):
    assert isinstance(fitted, DemandForecaster)
    assert fitted.horizon == HORIZON
    assert storage.FORMAT == 3


@pytest.mark.parametrize("rounds", [1, 6])
def test_a_training_may_have_fewer_than_ten_rounds(demand, rounds):
    few = Settings(mean_rows=2000, spread_rows=1500, rounds=rounds, spread_rounds=3)
    model = train(demand, freq="D", horizon=HORIZON, settings=few)
    assert {one.num_boosted_rounds() for one in model.mean_models} == {rounds + boosters.BALANCE_ROUNDS}
    assert np.isfinite(model.predict(demand)["mean_units"]).all()


def test_the_boosters_of_the_mean_are_drawn_anew_and_the_forecast_is_their_mean(demand, fitted):
    assert len(fitted.mean_models) == Settings().mean_boosters == 2
    alone = [
        dataclasses.replace(fitted, mean_models=[model]).predict(demand)["mean_units"] for model in fitted.mean_models
    ]
    assert np.abs(alone[0] / alone[1] - 1.0).mean() > 0.01
    assert np.allclose(fitted.predict(demand)["mean_units"], (alone[0] + alone[1]) / 2, rtol=1e-3, atol=1e-3)


def test_more_boosters_depend_less_on_the_seed(demand):
    def spread(boosters):
        settings = dataclasses.replace(SMALL, mean_boosters=boosters)
        means = [
            train(demand, freq="D", horizon=HORIZON, seed=seed, settings=settings).predict(demand)["mean_units"]
            for seed in range(4)
        ]
        return np.std(means, axis=0).mean()

    assert spread(4) < 0.8 * spread(1)


def test_a_forecaster_of_the_format_with_one_booster_of_the_mean_is_read(demand, fitted, tmp_path):
    fitted.save(tmp_path)
    (tmp_path / "mean_1.ubj").unlink()
    (tmp_path / "mean_0.ubj").rename(tmp_path / "mean.ubj")
    document = json.loads((tmp_path / "forecaster.json").read_text())
    del document["settings"]["mean_boosters"], document["boosters"]
    (tmp_path / "forecaster.json").write_text(json.dumps({**document, "format": 1}))
    alone = dataclasses.replace(fitted, mean_models=fitted.mean_models[:1])
    loaded = load(tmp_path)
    assert loaded.settings.mean_boosters == 1
    pd.testing.assert_frame_equal(loaded.predict(demand), alone.predict(demand))


@pytest.mark.parametrize("name", ["mean_1", "spread"])
def test_a_lost_booster_is_told(fitted, tmp_path, name):
    fitted.save(tmp_path)
    (tmp_path / f"{name}.ubj").unlink()
    with pytest.raises(ValueError, match=f"lacks {name}.ubj, which forecaster.json names"):
        load(tmp_path)


def test_the_settings_are_kept_with_the_model(fitted, tmp_path):
    fitted.save(tmp_path)
    assert load(tmp_path).settings == SMALL


def judged(actual, level):
    ones = np.ones(len(actual))
    return Block(np.zeros((len(actual), 1), np.float32), actual, level, level, ones)


def test_the_level_has_no_share_where_the_booster_is_right():
    actual = np.random.default_rng(0).gamma(2.0, 3.0, 4000)
    assert best_level_share(actual, judged(actual, np.full(4000, 6.0)), Settings()) == 0.0


def test_the_level_has_a_share_where_the_booster_reads_too_much_into_the_past():
    generator = np.random.default_rng(0)
    noise = np.exp(0.5 * generator.standard_normal(4000))
    judge = judged(generator.gamma(2.0, 3.0, 4000), np.full(4000, 6.0))
    assert best_level_share(6.0 * noise, judge, Settings()) >= 0.3


def test_the_forecast_holds_the_share_of_the_level(demand, fitted):
    alone, level = (
        dataclasses.replace(fitted, level_share=share).predict(demand)["mean_units"] for share in (0.0, 1.0)
    )
    half = dataclasses.replace(fitted, level_share=0.5).predict(demand)["mean_units"]
    assert np.allclose(half, (alone + level) / 2, rtol=1e-3, atol=1e-3)
    assert level.to_numpy().reshape(-1, HORIZON).std(axis=1).max() < 1e-3


def test_the_share_of_the_level_is_kept_with_the_model(fitted, tmp_path):
    dataclasses.replace(fitted, level_share=0.35).save(tmp_path)
    assert load(tmp_path).level_share == 0.35


def test_a_booster_that_stops_early_goes_on_in_smaller_steps():
    generator = np.random.default_rng(0)
    rows = [
        Block(generator.random((6000, 3), np.float32), generator.gamma(1.0, 2.0, 6000), *(np.full(6000, 2.0),) * 3)
        for _ in range(2)
    ]
    settings = Settings(rounds=boosters.FEW_ROUNDS + 1, depth=2)
    _, chosen = fit_mean_judged(*rows, settings, 0)
    assert chosen.learning_rate == settings.learning_rate / boosters.FINER


def test_a_long_series_gives_so_many_rows_unless_rare_events_must_be_learnt():
    days = shop(series=4, days=400)
    settings = Settings(series_rows=50, fewest_rows=100, mean_rows=1500)
    rare = days.assign(is_event=(days["period_start"].dt.dayofyear == 100).astype(float))
    drawn = []
    for frame in (days, rare):
        training = Training(build_panel(frame, Frequency.of("D")), None, HORIZON, 0, settings)
        builder = FeatureBuilder(training.history, training.plan, training.statics, np.ones(4))
        drawn.append(len(training.mean_block(builder, 400, 1).actual))
    assert drawn == [200, 1500]


@pytest.mark.parametrize("since", [0, 1, 3])
def test_a_feed_that_has_stopped_or_come_back_leaves_the_forecast_at_its_level(since: int):
    north, south = shop(series=8, days=180, seed=3), shop(series=8, days=180, seed=4).assign(location_id="south")
    model = train(pd.concat([north, south], ignore_index=True), freq="D", horizon=HORIZON, settings=SMALL)
    age = (south["period_start"].max() - south["period_start"]).dt.days
    south["demand_units"] = south["demand_units"].mask((age >= since) & (age < since + 9))
    history = pd.concat([north, south], ignore_index=True)
    level = history.groupby("location_id")["demand_units"].mean()
    ratio = model.predict(history).groupby("location_id")["mean_units"].mean() / level
    assert ratio["south"] == pytest.approx(1.0, abs=0.07)
    assert ratio["north"] == pytest.approx(1.0, abs=0.07)


@pytest.mark.parametrize("model", [train, train_recent])
def test_a_forecast_of_series_never_seen_in_stock_does_not_lie_below_what_was_sold(model):
    history = shop(days=120).assign(is_in_stock=False)
    more = {"settings": SMALL} if model is train else {}
    forecast = model(history, freq="D", horizon=HORIZON, **more).predict(history)
    sold = history[history["period_start"] >= history["period_start"].max() - pd.Timedelta(days=55)]
    often = sold.groupby(KEYS)["demand_units"].mean()[lambda units: units > 1]
    levels = forecast.groupby(KEYS)["mean_units"].mean()[often.index] / often
    assert levels.between(0.9, 1.15).all(), levels
