import numpy as np
import pandas as pd
import pytest

from ml.backtest import evaluate
from ml.features import KEYS
from ml.forecast_baselines import train_recent, train_seasonal_naive
from ml.forecast_classical import train_croston_sba, train_ets, train_theta, train_tsb
from ml.forecast_combination import CombinedForecaster, choose_weights, combined
from ml.forecast_distribution import QUANTILE_COLUMNS, STANDARD_PATHS


def shop(series=12, days=120, seed=0):
    generator = np.random.default_rng(seed)
    weekday = np.array([1, 1, 1, 1, 1, 3, 3])[np.arange(days) % 7]
    periods = pd.date_range("2024-01-01", periods=days)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "sku": f"p{number:02d}",
                    "location_id": "x",
                    "period_start": periods,
                    "demand_units": generator.poisson(3.0 * (1 + number % 3) * weekday).astype(float),
                }
            )
            for number in range(series)
        ],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def demand():
    return shop()


@pytest.mark.parametrize("recipe", [train_ets, train_theta, train_croston_sba, train_tsb])
def test_classical_recipes_forecast_the_level(demand, recipe):
    few = demand[demand["sku"] < "p03"]
    frame = recipe(few, freq="D", horizon=7).predict(few)
    level = few.groupby("sku")["demand_units"].mean()
    assert np.allclose(frame.groupby("sku")["mean_units"].mean(), level, rtol=0.35)
    assert (np.diff(frame[list(QUANTILE_COLUMNS)].to_numpy(), axis=1) >= 0).all()


def test_a_series_that_never_sold_has_a_classical_forecast_of_zero(demand):
    dead = demand[demand["sku"] == "p00"].assign(demand_units=0.0)
    assert (train_tsb(dead, freq="D", horizon=7).predict(dead)["mean_units"] == 0).all()


def test_smoothing_sees_the_weekday(demand):
    one = demand[demand["sku"] == "p02"]
    frame = train_ets(one, freq="D", horizon=7).predict(one)
    assert set(frame.nlargest(2, "mean_units")["period_start"].dt.dayofweek) == {5, 6}


def test_the_better_member_gets_the_class(demand):
    scored = evaluate(
        {"naive": train_seasonal_naive, "recent": train_recent},
        demand,
        freq="D",
        horizon=7,
        windows=2,
        step=7,
        keep_forecasts=True,
    )
    broken = scored.forecasts.copy()
    columns = list(QUANTILE_COLUMNS)
    broken.loc[broken["recipe"] == "naive", columns] += 1000.0
    weights = choose_weights(broken, scored.series, ["naive", "recent"])
    assert all(shares == {"naive": 0.0, "recent": 1.0} for shares in weights.values())


def test_a_class_that_differs_gets_its_own_member(demand):
    scored = evaluate(
        {"naive": train_seasonal_naive, "recent": train_recent},
        demand,
        freq="D",
        horizon=7,
        windows=2,
        step=7,
        keep_forecasts=True,
    )
    half = demand["sku"].unique()[:10]
    series = scored.series.assign(demand_class=np.where(scored.series["sku"].isin(half), "smooth", "lumpy"))
    forecasts = scored.forecasts.copy()
    columns = list(QUANTILE_COLUMNS)
    smooth = forecasts["sku"].isin(half)
    forecasts.loc[smooth & (forecasts["recipe"] == "naive"), columns] += 1000.0
    weights = choose_weights(forecasts, series, ["naive", "recent"])
    assert weights["smooth"]["recent"] == 1.0


def test_a_combination_averages_its_members_and_its_paths_agree(demand):
    members = {
        "naive": train_seasonal_naive(demand, freq="D", horizon=7),
        "recent": train_recent(demand, freq="D", horizon=7),
    }
    half = dict.fromkeys(members, 0.5)
    classes = ("smooth", "erratic", "intermittent", "lumpy", "none")
    model = CombinedForecaster(members, dict.fromkeys(classes, half), members["naive"].frequency)
    frame = model.predict(demand)
    parts = [member.predict(demand) for member in members.values()]
    assert np.allclose(frame["q50_units"], (parts[0]["q50_units"] + parts[1]["q50_units"]) / 2)
    keys, paths = next(model.sample_paths(demand, STANDARD_PATHS))
    ordered = np.sort(paths, axis=1)
    place = int(np.ceil(0.9 * STANDARD_PATHS)) - 1
    expected = frame.set_index(KEYS).loc[(keys["sku"][0], "x"), "q90_units"].to_numpy()
    assert np.allclose(ordered[0, place], expected, atol=1e-4)


def test_a_combination_is_a_recipe_like_any_other(demand):
    recipe = combined({"recent": train_recent, "naive": train_seasonal_naive}, windows=2)
    scored = evaluate({"mix": recipe}, demand, freq="D", horizon=7, windows=1, step=7)
    assert np.isfinite(scored.segments["pinball"]).all()


# Keras reads its variables through an array protocol that numpy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.deep
def test_the_network_learns_level_and_weekday_and_survives_saving(tmp_path):
    from ml.forecast_neural import load_neural, train_neural

    panel = shop(series=20, days=200)
    model = train_neural(panel, freq="D", horizon=7, rows=8000, epochs=8)
    frame = model.predict(panel)
    naive = panel.groupby("sku")["demand_units"].mean()
    assert np.allclose(frame.groupby("sku")["mean_units"].mean(), naive, rtol=0.25)
    busy = frame[frame["period_start"].dt.dayofweek >= 5]["mean_units"].mean()
    assert busy / frame[frame["period_start"].dt.dayofweek < 5]["mean_units"].mean() == pytest.approx(3.0, rel=0.3)
    assert (np.diff(frame[list(QUANTILE_COLUMNS)].to_numpy(), axis=1) >= 0).all()
    model.save(tmp_path)
    pd.testing.assert_frame_equal(load_neural(tmp_path).predict(panel), frame)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".keras", ".json", ".npz", ".ubj"}
    _, paths = next(model.sample_paths(panel, 50))
    assert paths.shape == (20, 50, 7)
    again = train_neural(panel, freq="D", horizon=7, rows=8000, epochs=8).predict(panel)
    pd.testing.assert_frame_equal(again, frame)


@pytest.mark.deep
def test_a_network_with_nothing_to_learn_from_is_refused():
    from ml.forecast_neural import train_neural

    with pytest.raises(ValueError, match="too few for a network"):
        train_neural(shop(series=1, days=5), freq="D", horizon=2)
