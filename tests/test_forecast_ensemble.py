import numpy as np
import pandas as pd
import pytest

from ml.backtest import BacktestSetup, evaluate
from ml.forecast import Settings, load, train
from ml.forecast.baselines import train_recent, train_seasonal_naive
from ml.forecast.classical import train_croston_sba, train_ets, train_theta, train_tsb
from ml.forecast.distribution import QUANTILE_COLUMNS, STANDARD_PATHS
from ml.forecast.ensemble import CLASSES, Combination, CombinedForecaster, choose_weights, mixed_quantiles
from ml.schema import KEYS


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


@pytest.mark.parametrize("model_spec", [train_ets, train_theta, train_croston_sba, train_tsb])
def test_classical_model_specs_forecast_the_level(demand, model_spec):
    few = demand[demand["sku"] < "p03"]
    frame = model_spec(few, freq="D", horizon=7).predict(few)
    level = few.groupby("sku")["demand_units"].mean()
    assert np.allclose(frame.groupby("sku")["mean_units"].mean(), level, rtol=0.35)
    assert (np.diff(frame[list(QUANTILE_COLUMNS)].to_numpy(), axis=1) >= 0).all()


def test_a_series_that_never_sold_has_a_classical_forecast_of_zero(demand):
    dead = demand[demand["sku"] == "p00"].assign(demand_units=0.0)
    assert (train_tsb(dead, freq="D", horizon=7).predict(dead)["mean_units"] == 0).all()


@pytest.mark.parametrize("model_spec", [train_ets, train_theta, train_croston_sba, train_tsb])
def test_a_series_of_a_few_days_has_a_classical_forecast(demand, model_spec):
    young = demand[(demand["sku"] == "p02") & (demand["period_start"] < pd.Timestamp("2024-01-06"))]
    frame = model_spec(young, freq="D", horizon=7).predict(young)
    assert frame["mean_units"].between(0.3 * young["demand_units"].mean(), 2.0 * young["demand_units"].mean()).all()


def test_smoothing_sees_the_weekday(demand):
    one = demand[demand["sku"] == "p02"]
    frame = train_ets(one, freq="D", horizon=7).predict(one)
    assert set(frame.nlargest(2, "mean_units")["period_start"].dt.dayofweek) == {5, 6}


@pytest.fixture(scope="module")
def tried(demand):
    model_specs = {"naive": train_seasonal_naive, "recent": train_recent}
    return evaluate(
        model_specs, demand, BacktestSetup(freq="D", horizon=7, windows=2, step=7, keep_forecasts=True)
    ).forecasts


def spoilt(tried, rows):
    """Return the forecasts with those of the naive far too high in some rows."""
    worse = tried.copy()
    worse.loc[rows & (worse["model_spec"] == "naive"), list(QUANTILE_COLUMNS)] += 1000.0
    return worse


def test_the_better_member_gets_every_class(tried):
    weights = choose_weights(spoilt(tried, tried["sku"].notna()), ["naive", "recent"])
    assert all(shares == {"naive": 0.0, "recent": 1.0} for shares in weights.values())


def test_a_class_that_differs_gets_its_own_member(tried):
    half = tried["sku"].isin(tried["sku"].unique()[:10])
    classed = tried.assign(demand_class=np.where(half, "smooth", "lumpy"))
    assert choose_weights(spoilt(classed, half), ["naive", "recent"])["smooth"] == {"naive": 0.0, "recent": 1.0}


def test_the_first_member_stands_where_nothing_was_tried_yet():
    assert choose_weights(pd.DataFrame(), ["a", "b"]) == {key: {"a": 1.0, "b": 0.0} for key in CLASSES}


def test_the_first_member_stands_against_a_small_gain(tried):
    recent = tried[tried["model_spec"] == "recent"]
    columns = list(QUANTILE_COLUMNS)
    slightly_worse = recent.assign(model_spec="first", **{name: 1.002 * recent[name] for name in columns})
    both = pd.concat([slightly_worse, recent.assign(model_spec="second")])
    assert all(shares["first"] == 1.0 for shares in choose_weights(both, ["first", "second"]).values())


def test_a_choice_that_is_better_on_sums_is_taken_though_days_are_alike(tried):
    recent = tried[tried["model_spec"] == "recent"]
    both = pd.concat([recent.assign(model_spec="first"), recent.assign(model_spec="second")])
    sums = recent.groupby(["window", *KEYS, "demand_class"], as_index=False)[["actual_units", *QUANTILE_COLUMNS]].sum()
    sums = sums.assign(span=7)
    worse = sums.assign(**{name: 1.5 * sums[name] for name in QUANTILE_COLUMNS})
    shown = pd.concat(
        [worse.assign(model_spec=name) for name in ("first", "first + second")] + [sums.assign(model_spec="second")]
    )
    assert all(shares["second"] == 1.0 for shares in choose_weights(both, ["first", "second"], shown).values())
    assert all(shares["first"] == 1.0 for shares in choose_weights(both, ["first", "second"]).values())


def test_the_mixture_of_a_distribution_with_itself_is_itself():
    values = np.sort(np.random.default_rng(0).gamma(2.0, 3.0, (40, len(QUANTILE_COLUMNS))), axis=1)
    assert np.array_equal(mixed_quantiles([values, values]), values)


def test_the_mixture_of_nought_and_ten_is_nought_or_ten():
    levels = len(QUANTILE_COLUMNS)
    mixed = mixed_quantiles([np.zeros((1, levels)), np.full((1, levels), 10.0)])
    assert mixed[0].tolist() == [0.0] * 6 + [10.0] * 5


@pytest.fixture(scope="module")
def half_and_half(demand):
    members = {
        "recent": train_recent(demand, freq="D", horizon=7),
        "naive": train_seasonal_naive(demand, freq="D", horizon=7),
    }
    return CombinedForecaster(members, {key: {"recent": 0.5, "naive": 0.5} for key in CLASSES})


def test_the_mean_of_a_mixture_is_the_mean_of_its_means(demand, half_and_half):
    means = [
        np.concatenate([paths.mean(axis=1) for _, paths in member.sample_paths(demand, STANDARD_PATHS // 2)])
        for member in half_and_half.members.values()
    ]
    assert np.allclose(half_and_half.predict(demand)["mean_units"], (sum(means) / 2).reshape(-1), rtol=1e-5)


def test_paths_of_a_mixture_hold_its_quantiles_and_its_mean(demand, half_and_half):
    frame = half_and_half.predict(demand).set_index(KEYS)
    keys, paths = next(half_and_half.sample_paths(demand, STANDARD_PATHS))
    of_first = frame.loc[(keys["sku"][0], "x")]
    place = int(np.ceil(0.9 * STANDARD_PATHS)) - 1
    assert np.allclose(np.sort(paths[0], axis=0)[place], of_first["q90_units"], atol=1e-5)
    assert np.allclose(paths[0].mean(axis=0), of_first["mean_units"], rtol=1e-5)


def test_every_value_of_a_mixture_is_a_value_of_a_member(demand, half_and_half):
    parts = [next(member.sample_paths(demand, 20))[1] for member in half_and_half.members.values()]
    _, paths = next(half_and_half.sample_paths(demand, 40))
    assert np.array_equal(np.sort(paths, axis=1), np.sort(np.concatenate(parts, axis=1), axis=1))


@pytest.fixture(scope="module")
def boosted(demand):
    settings = Settings(mean_rows=3000, spread_rows=2000, rounds=20, spread_rounds=8)
    lead = train(
        demand, freq="D", horizon=7, items=pd.DataFrame({"sku": ["new"], "location_id": "x"}), settings=settings
    )
    members = {"boosted": lead, "recent": train_recent(demand, freq="D", horizon=7)}
    return CombinedForecaster(members, {key: {"boosted": 0.0, "recent": 1.0} for key in CLASSES})


def test_a_brand_new_item_is_left_to_the_member_that_knows_it(demand, boosted):
    frame, alone = boosted.predict(demand), boosted.members["boosted"].predict(demand)
    is_new = (frame["sku"] == "new").to_numpy()
    assert np.allclose(frame.loc[is_new, "mean_units"], alone.loc[is_new, "mean_units"], rtol=1e-5)
    recent = boosted.members["recent"].predict(demand)
    assert np.allclose(frame.loc[~is_new, "mean_units"], recent["mean_units"], rtol=1e-5)


def test_a_combination_survives_saving_without_pickle(demand, boosted, tmp_path):
    boosted.save(tmp_path)
    pd.testing.assert_frame_equal(load(tmp_path).predict(demand), boosted.predict(demand))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".npz", ".ubj"}


def test_a_combination_of_another_format_is_refused(boosted, tmp_path):
    boosted.save(tmp_path)
    file = tmp_path / "combination.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(ValueError, match="format 9, this code reads 1"):
        load(tmp_path)


def test_a_combination_is_scored_beside_its_members_and_learns_from_earlier_windows(demand):
    model_specs = {"recent": train_recent, "naive": train_seasonal_naive}
    mixture = {"mix": Combination(("recent", "naive"))}
    scored = evaluate(
        model_specs, demand, BacktestSetup(freq="D", horizon=7, windows=3, step=7, spans=(7,)), combinations=mixture
    )
    pinball = scored.windows.pivot(index="window", columns="model_spec", values="pinball")
    assert scored.segments["model_spec"].unique().tolist() == ["recent", "naive", "mix"]
    # Nothing had been seen before the first window; from the second on the better member is known.
    assert pinball.loc[0, "mix"] == pinball.loc[0, "recent"]
    assert pinball.loc[2, "mix"] != pinball.loc[2, "recent"]
    assert set(scored.tried["model_spec"]) == {"recent", "naive"}


class Spy(Combination):
    """A combination that tells what it was shown."""

    def __call__(self, fitted, tried, sums=None):
        SHOWN.append(tried)
        SUMS_SHOWN.append(sums)
        return super().__call__(fitted, tried, sums)


SHOWN, SUMS_SHOWN = [], []


def test_a_combination_is_shown_only_periods_before_its_window(demand):
    model_specs = {"recent": train_recent, "naive": train_seasonal_naive}
    spy = {"mix": Spy(("recent", "naive"))}
    windows = evaluate(
        model_specs,
        demand,
        BacktestSetup(freq="D", horizon=14, windows=3, step=7, spans=(7, 14), paths=20),
        combinations=spy,
    ).windows
    origins = windows.loc[windows["model_spec"] == "mix", "origin"].tolist()
    assert SHOWN[0].empty
    assert [shown["period_start"].max() for shown in SHOWN[1:]] == origins[1:]
    assert len(SHOWN[2]) == 12 * 2 * (14 + 7)
    assert SUMS_SHOWN[0].empty
    # Three choices; the sum of 14 periods of the window before has not ended when the next one begins.
    assert [shown.groupby("span").size().to_dict() for shown in SUMS_SHOWN[1:]] == [{7: 36}, {7: 72, 14: 36}]


# Keras reads its variables through an array protocol that numpy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.deep
def test_the_network_learns_level_and_weekday_and_survives_saving(tmp_path):
    from ml.forecast.neural import train_neural

    panel = shop(series=20, days=200)
    model = train_neural(panel, freq="D", horizon=7, rows=8000, epochs=8)
    frame = model.predict(panel)
    naive = panel.groupby("sku")["demand_units"].mean()
    assert np.allclose(frame.groupby("sku")["mean_units"].mean(), naive, rtol=0.25)
    busy = frame[frame["period_start"].dt.dayofweek >= 5]["mean_units"].mean()
    assert busy / frame[frame["period_start"].dt.dayofweek < 5]["mean_units"].mean() == pytest.approx(3.0, rel=0.3)
    assert (np.diff(frame[list(QUANTILE_COLUMNS)].to_numpy(), axis=1) >= 0).all()
    model.save(tmp_path)
    pd.testing.assert_frame_equal(load(tmp_path).predict(panel), frame)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".keras", ".json", ".npz", ".ubj"}
    _, paths = next(model.sample_paths(panel, 50))
    assert paths.shape == (20, 50, 7)
    again = train_neural(panel, freq="D", horizon=7, rows=8000, epochs=8).predict(panel)
    pd.testing.assert_frame_equal(again, frame)


@pytest.mark.deep
def test_a_network_with_nothing_to_learn_from_is_refused():
    from ml.forecast.neural import train_neural

    with pytest.raises(ValueError, match="too few for a network"):
        train_neural(shop(series=1, days=5), freq="D", horizon=2)
