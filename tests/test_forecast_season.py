import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from ml.forecast import Settings, load, train
from ml.forecast.baselines import train_recent
from ml.forecast.ensemble import CLASSES, CombinedForecaster
from ml.forecast.explain import GROUPS, contributions
from ml.forecast.features import History
from ml.forecast.notes import forecast_notes
from ml.forecast.season import (
    ONE_YEAR_THRESHOLD,
    Season,
    coming,
    garrote,
    least_contradiction,
    second_opinion,
    spans_of,
    waking,
)
from ml.panel import Frequency, build_panel

SMALL = Settings(
    mean_boosters=1, mean_rows=3000, spread_rows=3000, rounds=20, learning_rate=0.15, spread_rounds=10, spread_rate=0.3
)
WEEKS = 60
# Of a year: November and December are three times as large.
YEAR = np.where((np.arange(52) >= 43) & (np.arange(52) < 51), 3.0, 1.0)


def weekly(first="2022-01-03", weeks=WEEKS, series=12, level=20.0, seed=0, shape=YEAR):
    """Series that follow one shape of the year, week after week from the first Monday on."""
    generator = np.random.default_rng(seed)
    periods = pd.date_range(first, periods=weeks, freq="W-MON")
    of_week = shape[(periods.dayofyear.to_numpy() - 1) // 7 % 52]
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "sku": f"p{number:02d}",
                    "location_id": "x",
                    "period_start": periods,
                    "demand_units": generator.poisson(level * of_week).astype(float),
                }
            )
            for number in range(series)
        ],
        ignore_index=True,
    )


def history_of(demand, freq="W-MON"):
    return History(build_panel(demand, Frequency.of(freq)))


def flat(history, ahead):
    """The recent level of each series, period after period."""
    last = np.full(history.panel.series, history.panel.length - 1)
    level = history.mean(np.arange(history.panel.series), last, 8)
    return np.tile(level[:, None], (1, ahead))


def opinion(history, forecast, trust=0.7):
    return second_opinion(history, forecast, np.zeros(history.panel.series, dtype=np.int64), trust)


def october(weeks):
    """The first Monday of a history of so many weeks that ends before the peak."""
    return pd.Timestamp("2023-10-23") - pd.Timedelta(weeks=weeks - 1)


@pytest.fixture(scope="module")
def before_the_peak():
    return weekly(october(60), 60)


@pytest.fixture(scope="module")
def fitted(before_the_peak):
    return train(before_the_peak, freq="W-MON", horizon=8, settings=SMALL)


def test_last_year_raises_a_total_before_its_peak(before_the_peak):
    history = history_of(before_the_peak)
    season = opinion(history, flat(history, 8))
    assert season.years == 1
    assert max(season.contradictions) == pytest.approx(2.0, abs=0.15)
    assert max(season.factors) == pytest.approx(np.exp(0.7 * (np.log(3) - ONE_YEAR_THRESHOLD**2 / np.log(3))), rel=0.06)


def test_a_total_that_knows_its_peak_is_left_alone(before_the_peak):
    history = history_of(before_the_peak)
    truth = flat(history, 8) * weekly("2023-10-30", 8, series=1, level=1e6)["demand_units"].to_numpy() / 1e6
    assert set(opinion(history, truth).factors) == {1.0}


def test_a_trade_without_a_season_hears_nothing():
    history = history_of(weekly(october(60), 60, shape=np.ones(52)))
    assert set(opinion(history, flat(history, 8)).factors) == {1.0}


@pytest.mark.parametrize(("weeks", "trust"), [(52, 0.0), (53, 0.35), (54, 0.7), (60, 0.7)])
def test_little_of_last_years_level_is_worth_half_the_trust(weeks, trust):
    history = history_of(weekly(october(weeks), weeks))
    season = opinion(history, flat(history, 8))
    assert season.trust == trust
    assert (len(season.factors) > 0) == (trust > 0)


def test_two_years_that_repeat_are_trusted_wholly():
    history = history_of(weekly(october(112), 112))
    season = opinion(history, flat(history, 8))
    assert season.years == 2
    assert season.trust > 0.8


def test_two_years_that_contradict_each_other_are_not_trusted():
    late = np.roll(YEAR, 26)
    first = weekly(october(112), 60, shape=late)
    second = weekly(october(52), 52)
    history = history_of(pd.concat([first, second], ignore_index=True))
    assert opinion(history, flat(history, 8)).trust < 0.25


def test_the_least_of_three_contradictions_counts_where_they_agree():
    logs = np.array([[0.5, 0.5, -0.3], [0.2, -0.1, -0.6], [0.9, 0.3, -0.4]])
    assert least_contradiction(logs).tolist() == [0.2, 0.0, -0.3]


def test_a_total_that_changes_by_as_much_anyway_is_left_alone():
    generator = np.random.default_rng(3)
    wandering = np.exp(np.repeat(generator.normal(0.0, 0.6, 30), 2)[:52])
    calm, restless = (
        opinion(history, flat(history, 8))
        for history in (history_of(weekly(october(60), 60, shape=shape)) for shape in (YEAR, wandering * YEAR))
    )
    assert max(calm.factors) > 1.5
    assert max(restless.contradictions) > 0.3
    assert max(restless.factors) < 1.25


def test_small_contradictions_are_noise_and_large_ones_stand():
    assert garrote(np.array([0.1, -0.2]), 0.2).tolist() == [0.0, 0.0]
    assert garrote(np.array([-1.0, 2.0]), 0.2).tolist() == pytest.approx([-0.96, 1.98])


def test_a_location_opened_since_is_no_season():
    old = weekly(october(60), 60, shape=np.ones(52))
    opened = weekly(october(50), 50, series=30, shape=np.ones(52)).assign(location_id="opened since")
    history = history_of(pd.concat([old, opened], ignore_index=True))
    assert set(opinion(history, flat(history, 8)).factors) == {1.0}


def test_a_stock_out_last_year_is_no_season():
    demand = weekly(october(60), 60, shape=np.ones(52))
    gone = demand["period_start"].between("2022-10-31", "2022-12-19") & (demand["sku"] < "p08")
    demand.loc[gone, "demand_units"] = np.nan
    history = history_of(demand)
    assert set(opinion(history, flat(history, 8)).factors) == {1.0}


def test_promotions_and_closed_days_of_last_year_stand_in_for_the_coming_ones():
    demand = weekly(october(60), 60, series=2)
    demand["is_promotion"] = (demand["period_start"] == "2022-11-14").astype(float)
    demand["is_open"] = demand["period_start"] != "2022-11-07"
    ahead = coming(history_of(demand), 8).panel
    assert np.flatnonzero(ahead.covariates["is_promotion"][0, 60:]).tolist() == [2]
    assert np.flatnonzero(ahead.closed[0, 60:]).tolist() == [1]


def test_the_factor_moves_means_quantiles_and_paths(before_the_peak, fitted):
    assert max(fitted.season.factors) > 1.3
    plain = dataclasses.replace(fitted, season=None)
    raised, usual = (model.predict(before_the_peak) for model in (fitted, plain))
    ratio = raised["mean_units"].to_numpy().reshape(12, 8) / usual["mean_units"].to_numpy().reshape(12, 8)
    assert np.allclose(ratio, np.array(fitted.season.factors[:8]), rtol=0.01)
    assert (raised["q95_units"] >= usual["q95_units"]).all()
    assert raised["q95_units"].sum() > 1.2 * usual["q95_units"].sum()
    _, paths = next(fitted.sample_paths(before_the_peak, 200))
    assert np.allclose(paths.mean(axis=1, dtype=np.float64).reshape(-1), raised["mean_units"], rtol=0.01, atol=0.01)


def test_one_more_item_changes_no_other_forecast(before_the_peak, fitted):
    alone = fitted.predict(before_the_peak[before_the_peak["sku"] == "p03"])
    together = fitted.predict(before_the_peak)
    together = together[together["sku"] == "p03"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, together)


def test_a_season_is_kept_with_the_model(before_the_peak, fitted, tmp_path):
    fitted.save(tmp_path)
    loaded = load(tmp_path)
    assert loaded.season == fitted.season
    pd.testing.assert_frame_equal(loaded.predict(before_the_peak), fitted.predict(before_the_peak))


def test_a_forecaster_saved_without_a_season_has_the_factor_one(before_the_peak, fitted, tmp_path):
    fitted.save(tmp_path)
    document = json.loads((tmp_path / "forecaster.json").read_text())
    del document["season"], document["plan"]["year_floor"], document["settings"]["season_trust"]
    (tmp_path / "forecaster.json").write_text(json.dumps({**document, "format": 2}))
    loaded = load(tmp_path)
    assert loaded.plan.year_floor == 0.0
    plain = dataclasses.replace(fitted, season=None)
    pd.testing.assert_frame_equal(loaded.predict(before_the_peak), plain.predict(before_the_peak))


def test_what_the_recent_level_has_taken_in_is_not_added_again():
    season = Season(first=100, factors=(1.5,) * 20)
    at_training, later = (season.at(np.array([origin]), np.array([115]), 10)[0] for origin in (99, 109))
    assert at_training == 1.5
    assert later == pytest.approx(1.0)


def test_the_season_by_day_is_what_the_forecasts_of_a_later_day_hold(before_the_peak, fitted):
    later = weekly(october(60), 62)
    told = fitted.season_frame(later["period_start"].max())
    raised, usual = (model.predict(later) for model in (fitted, dataclasses.replace(fitted, season=None)))
    of_one = raised["sku"] == "p00"
    assert told["period_start"].iloc[:8].tolist() == raised.loc[of_one, "period_start"].tolist()
    ratio = raised.loc[of_one, "mean_units"].to_numpy() / usual.loc[of_one, "mean_units"].to_numpy()
    assert np.allclose(told["factor"].iloc[:8], ratio, rtol=0.01)
    assert not np.allclose(told["factor"].iloc[:8], fitted.season_frame()["factor"].iloc[2:10], rtol=0.01)


def test_dates_beyond_those_of_the_training_have_the_factor_one():
    season = Season(first=100, factors=(1.5, 1.5))
    assert season.at(np.array([99, 99, 110]), np.array([101, 102, 111]), 10).tolist() == [1.5, 1.0, 1.0]


def test_contributions_name_last_year_and_add_up(before_the_peak, fitted):
    split = contributions(fitted, before_the_peak)
    total = split["level_units"] + split[[f"{name}_units" for name in GROUPS]].sum(axis=1)
    assert np.allclose(total, fitted.predict(before_the_peak)["mean_units"], rtol=1e-3, atol=1e-3)
    share = split["last_year_units"] / (split["mean_units"] - split["last_year_units"])
    assert np.allclose(share.to_numpy().reshape(12, 8), np.array(fitted.season.factors[:8]) - 1.0, atol=1e-6)


def test_contributions_tell_factor_trust_and_what_last_year_says(before_the_peak, fitted):
    split = contributions(fitted, before_the_peak, keys=before_the_peak[["sku", "location_id"]].head(1))
    told = fitted.season_frame().head(8)
    for name, column in (("factor", "factor"), ("says", "last_year_says"), ("trust", "trust")):
        assert split[f"last_year_{name}"].tolist() == told[column].tolist()
    silent = contributions(dataclasses.replace(fitted, season=None), before_the_peak)
    assert silent[["last_year_factor", "last_year_says", "last_year_trust"]].drop_duplicates().values.tolist() == [
        [1.0, 0.0, 0.0]
    ]


def test_the_note_says_factor_trust_and_what_last_year_says(fitted):
    note = fitted.season_note()
    assert f"{max(fitted.season.contradictions):+.0%} to the total around" in note
    assert "trust 0.85, a prior: one year was seen, 8 weeks of its level" in note
    frame = fitted.season_frame()
    assert frame["factor"].tolist() == list(fitted.season.factors)
    assert frame["text"].iloc[0].startswith("last year says +")


def test_a_combination_says_what_its_forecaster_says(before_the_peak, fitted):
    members = {"booster": fitted, "recent": train_recent(before_the_peak, freq="W-MON", horizon=8)}
    combined = CombinedForecaster(members, {one: {"booster": 0.5, "recent": 0.5} for one in CLASSES})
    assert combined.season_note() == fitted.season_note()
    pd.testing.assert_frame_equal(combined.season_frame(), fitted.season_frame())


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_last_year_moves_every_share_of_a_combination_in_whole_units(before_the_peak, fitted, share):
    weights = {one: {"booster": share, "recent": 1.0 - share} for one in CLASSES}
    recent = train_recent(before_the_peak, freq="W-MON", horizon=8)
    raised, usual = (
        CombinedForecaster({"booster": model, "recent": recent}, weights).predict(before_the_peak)
        for model in (fitted, dataclasses.replace(fitted, season=None))
    )
    ratio = (raised["mean_units"] / usual["mean_units"]).to_numpy().reshape(12, 8)
    assert np.allclose(ratio, np.array(fitted.season.factors[:8]), rtol=0.01)
    assert (raised["q80_units"] % 1.0 == 0.0).all()


def test_a_short_history_says_that_last_year_is_silent(before_the_peak):
    recent = before_the_peak[
        before_the_peak["period_start"] > before_the_peak["period_start"].max() - pd.Timedelta(weeks=40)
    ]
    model = train(recent, freq="W-MON", horizon=4, settings=SMALL)
    assert model.season_note().startswith("Last year has no effect on the total")
    assert model.season_frame().empty


def sold_in_season(first, others=6, seed=0):
    """Items that sell 10 a day from 27 November to 24 December alone, beside everyday ones, until three days before."""
    generator = np.random.default_rng(seed)
    periods = pd.date_range(first, "2024-11-24")
    of_year = periods.month * 100 + periods.day
    on = (of_year >= 1127) & (of_year <= 1224)
    units = {f"everyday_{number}": generator.poisson(3.0, len(periods)) for number in range(others)}
    units |= {f"season_{number}": np.where(on, generator.poisson(10.0, len(periods)), 0) for number in range(3)}
    return pd.concat(
        [
            pd.DataFrame({"sku": sku, "location_id": "x", "period_start": periods, "demand_units": values * 1.0})
            for sku, values in units.items()
        ],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def two_seasons():
    demand = sold_in_season("2022-10-01")
    return train(demand, freq="D", horizon=28, settings=SMALL), demand


def in_season(model, demand):
    frame = model.predict(demand)
    return frame[(frame["period_start"] >= "2024-11-27") & frame["sku"].str.startswith("season")]


def test_items_seen_in_two_seasons_wake_for_the_third(two_seasons):
    woken = in_season(*two_seasons)
    assert 7.0 < woken["mean_units"].mean() < 13.0
    assert woken["q95_units"].mean() > 15.0
    assert (
        "3 items asleep until their season are forecast at the smaller of two seasons" in two_seasons[0].season_note()
    )


def test_items_that_wake_say_so(two_seasons):
    model, demand = two_seasons
    notes = forecast_notes(model, demand, demand.iloc[:0])
    assert notes["sku"].str.startswith("season").tolist() == [True] * 3
    assert notes[["subject", "source"]].drop_duplicates().values.tolist() == [["season", "two_years"]]
    forecast = model.predict(demand)
    for note in notes.itertuples():
        own = forecast[forecast["sku"] == note.sku].set_index("period_start")["mean_units"]
        assert own[note.from_day : note.to_day].min() > 3.0
        assert note.note == (
            f"Asleep until its season: from {note.from_day:%Y-%m-%d} on it is forecast at the smaller of two seasons"
        )


def test_items_that_wake_change_no_everyday_item(two_seasons):
    model, demand = two_seasons
    everyday = model.predict(demand).query("sku.str.startswith('everyday')")
    assert everyday["mean_units"].mean() == pytest.approx(3.0, rel=0.12)


def test_contributions_of_woken_items_add_up(two_seasons):
    model, demand = two_seasons
    split = contributions(model, demand)
    total = split["level_units"] + split[[f"{name}_units" for name in GROUPS]].sum(axis=1)
    assert np.allclose(total, model.predict(demand)["mean_units"], rtol=2e-3, atol=2e-3)


def test_items_seen_in_one_season_are_forecast_at_half_and_said_so():
    demand = sold_in_season("2023-09-01")
    model = train(demand, freq="D", horizon=28, settings=SMALL)
    assert in_season(model, demand)["mean_units"].mean() == pytest.approx(5.0, abs=1.0)
    assert "3 items asleep until their season are forecast at half of the only season seen" in model.season_note()
    notes = forecast_notes(model, demand, demand.iloc[:0])
    assert notes["source"].tolist() == ["one_year"] * 3
    assert notes["note"].str.endswith("forecast at half of the only season seen").all()


def woken_floor(units):
    """Return the floor 20 days ahead of a series of days."""
    periods = pd.date_range("2022-01-01", periods=len(units))
    demand = pd.DataFrame({"sku": "a", "location_id": "x", "period_start": periods, "demand_units": units})
    history = history_of(demand, "D")
    floor, years = waking(history, np.array([0]), np.array([len(units) - 1]), np.array([[20]]))
    return floor[0], years[0]


def seasonal_days(seasons, size=10.0, awake=0.0, usual=0.0, before=0.0):
    """Days of three years that end 20 days before a day on which the seasons named (years back) sold.

    `awake` is sold a day in the 56 days before the end, `before` in those before the end of each past year.
    """
    units = np.full(3 * 364, usual)
    for years in seasons:
        centre = len(units) - 1 + 20 - 364 * years
        units[centre - 76 : centre - 20] = before
        units[centre - 10 : centre + 11] = size
    units[-56:] += awake
    return units


@pytest.mark.parametrize(
    ("units", "wanted"),
    [
        (seasonal_days([1, 2]), (10.0, 2)),
        (seasonal_days([1, 2], awake=2.0), (0.0, 0)),
        (seasonal_days([1, 2], before=1.5), (0.0, 0)),
        (seasonal_days([1, 2], usual=4.0), (0.0, 0)),
        (seasonal_days([1, 2], size=0.9), (0.0, 0)),
        (seasonal_days([1]), (0.0, 0)),
        (seasonal_days([2]), (0.0, 0)),
        (seasonal_days([1])[-500:], (5.0, 1)),
    ],
)
def test_only_what_slept_and_woke_in_every_year_seen_wakes(units, wanted):
    assert woken_floor(units) == pytest.approx(wanted)


def test_the_smaller_of_two_seasons_is_the_floor():
    units = seasonal_days([1, 2])
    units[len(units) - 1 + 20 - 364 * 2 - 10 : len(units) - 1 + 20 - 364 * 2 + 11] = 4.0
    assert woken_floor(units)[0] == pytest.approx(4.0)


def test_a_season_of_some_other_length_is_no_year():
    assert spans_of(Frequency.of("D", 90)) is None
    assert spans_of(Frequency.of("MS")) is not None
