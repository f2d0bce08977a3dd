import dataclasses

import numpy as np
import pandas as pd
import pytest

from ml.backtest import BacktestSetup, evaluate, stratified_series
from ml.backtest.gate import verdict
from ml.forecast import Settings, train
from ml.forecast.baselines import train_recent, train_seasonal_naive
from ml.metrics import VERDICT_COLUMNS, hardest, pit_distance
from ml.metrics import forecast as metrics
from ml.schema import KEYS
from ml.segments import demand_class

SMALL = Settings(mean_rows=3000, spread_rows=2000, rounds=20, learning_rate=0.2, spread_rounds=10, spread_rate=0.3)
SPECS = {"naive": train_seasonal_naive, "recent": train_recent}
ONE_WEEK = BacktestSetup(freq="D", horizon=7, windows=1, step=7)


def shop(series=8, days=120, seed=0):
    generator = np.random.default_rng(seed)
    periods = pd.date_range("2024-01-01", periods=days)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "sku": f"p{number}",
                    "location_id": "north" if number % 2 else "south",
                    "period_start": periods,
                    "demand_units": generator.poisson([0.3, 4.0, 20.0, 9.0][number % 4], days).astype(float),
                }
            )
            for number in range(series)
        ],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def demand():
    return shop()


@pytest.fixture(scope="module")
def evaluation(demand):
    return evaluate(
        SPECS,
        demand,
        BacktestSetup(freq="D", horizon=14, windows=3, step=7, spans=(7, 14), paths=50, keep_forecasts=True),
    )


def test_each_window_is_scored_once_per_model_spec_and_series(evaluation):
    assert len(evaluation.series) == 2 * 3 * 8
    assert not evaluation.series.duplicated(["model_spec", "window", *KEYS]).any()


def test_windows_are_a_step_apart_and_the_last_ends_with_the_data(demand, evaluation):
    origins = evaluation.windows.drop_duplicates("window")["origin"]
    assert (origins.diff().dropna() == pd.Timedelta(days=7)).all()
    assert origins.iloc[-1] == demand["period_start"].max() - pd.Timedelta(days=14)


def test_every_model_spec_is_measured_by_class_value_location_horizon_and_level(evaluation):
    shown = {kind: set(part["segment"]) for kind, part in evaluation.segments.groupby("segment_kind")}
    assert set(shown) == {"all", "demand_class", "abc_class", "location_id"}
    assert shown["abc_class"] <= {"A", "B", "C"}
    assert shown["location_id"] == {"north", "south"}
    for table, rows in ((evaluation.horizons, 14), (evaluation.windows, 3)):
        assert table.groupby("model_spec").size().to_dict() == {"naive": rows, "recent": rows}
    assert set(evaluation.calibration["segment_kind"]) == {"all", "demand_class"}
    assert evaluation.calibration.groupby(["model_spec", "segment_kind", "segment"]).size().eq(11).all()
    assert evaluation.sums.groupby(["model_spec", "span"]).size().to_dict() == {
        (model_spec, span): 11 for model_spec in ("naive", "recent") for span in (7, 14)
    }


def test_a_dear_series_weighs_more_than_a_cheap_one(demand):
    dear = demand.assign(unit_price=np.where(demand["sku"] == "p1", 100.0, 1.0))
    weights = [evaluate(SPECS, frame, ONE_WEEK).series.groupby("sku")["weight"].first() for frame in (demand, dear)]
    assert weights[1]["p1"] == pytest.approx(100.0 * weights[0]["p1"])
    assert weights[1]["p2"] == pytest.approx(weights[0]["p2"])


def test_the_measures_are_those_of_the_kept_forecasts(evaluation):
    kept = evaluation.forecasts[evaluation.forecasts["model_spec"] == "naive"]
    row = evaluation.segments.set_index(["model_spec", "segment"]).loc[("naive", "all")]
    actual, mean = kept["actual_units"].to_numpy(), kept["mean_units"].to_numpy()
    for name in ("mae", "rmse", "mape", "wape", "bias"):
        assert row[name] == pytest.approx(getattr(metrics, name)(actual, mean)), name


def test_the_forecasts_kept_are_the_model_spec_s_own(demand, evaluation):
    cut = demand["period_start"].max() - pd.Timedelta(days=14)
    past = demand[demand["period_start"] <= cut]
    own = train_seasonal_naive(past, freq="D", horizon=14).predict(past)
    kept = evaluation.forecasts.query("model_spec == 'naive' and window == 2").sort_values([*KEYS, "period_start"])
    assert np.allclose(kept["mean_units"], own["mean_units"])


def test_no_model_spec_ever_sees_the_window_it_is_scored_on(demand):
    seen = []

    def spy(past, **arguments):
        seen.append(past["period_start"].max())
        return train_seasonal_naive(past, **arguments)

    scored = evaluate(
        {"spy": spy}, demand, BacktestSetup(freq="D", horizon=14, windows=2, step=14, keep_forecasts=True)
    ).forecasts
    for window, last in enumerate(seen):
        assert scored.loc[scored["window"] == window, "period_start"].min() > last


def test_demand_of_the_window_is_not_among_the_covariates_it_is_given(demand):
    class Spy:
        def __init__(self, model):
            self.model = model

        def predict(self, history, future=None):
            assert "demand_units" not in future.columns
            assert "is_in_stock" not in future.columns
            return self.model.predict(history, future)

        def sample_paths(self, *arguments, **named):
            return self.model.sample_paths(*arguments, **named)

    evaluate(
        {"spy": lambda past, **named: Spy(train_recent(past, **named))},
        demand.assign(is_in_stock=True),
        ONE_WEEK,
    )


def test_corrupting_the_future_changes_no_earlier_window(demand):
    model_spec = {"boosted": lambda past, **named: train(past, settings=SMALL, **named)}
    broken = demand.copy()
    late = broken["period_start"] > demand["period_start"].max() - pd.Timedelta(days=7)
    broken.loc[late, "demand_units"] = broken.loc[late, "demand_units"] * 500 + 7
    one, two = (
        evaluate(
            model_spec, frame, BacktestSetup(freq="D", horizon=7, windows=2, step=7, keep_forecasts=True)
        ).forecasts
        for frame in (demand, broken)
    )
    first = one["window"] == 0
    pd.testing.assert_frame_equal(one[first], two[first])
    assert np.array_equal(one["mean_units"], two["mean_units"])


def test_scoring_against_the_truth_uses_what_was_wanted_not_what_was_sold(demand):
    truth = demand.assign(demand_units=demand["demand_units"] + 1.0)
    plain, true = (evaluate(SPECS, demand, ONE_WEEK, truth=given).series for given in (None, truth))
    assert np.allclose(true["actual_units"], plain["actual_units"] + 7.0)


def test_periods_out_of_stock_are_not_scored(demand):
    out = demand["period_start"] == demand["period_start"].max()
    scored = evaluate(SPECS, demand.assign(is_in_stock=~out), ONE_WEEK)
    assert (scored.series["periods"] == 6).all()


def test_closed_days_are_not_scored(demand):
    opened = demand.assign(is_open=demand["period_start"].dt.dayofweek != 6)
    assert (evaluate(SPECS, opened, ONE_WEEK).series["periods"] == 6).all()


@pytest.mark.parametrize("wrong", [{"windows": 0}, {"step": 0}])
def test_a_backtest_without_windows_or_steps_is_refused(wrong):
    with pytest.raises(ValueError, match="must be 1 or more"):
        BacktestSetup(**{"freq": "D", "horizon": 7, "windows": 1, "step": 7, **wrong})


def test_too_many_windows_are_refused(demand):
    with pytest.raises(ValueError, match="demand has 120"):
        evaluate(SPECS, demand, BacktestSetup(freq="D", horizon=14, windows=30, step=7))


def test_a_stratified_choice_has_every_class(demand):
    chosen = stratified_series(demand, freq="D", most=4)
    classes = demand_class(demand.pivot(index="sku", columns="period_start", values="demand_units").to_numpy())
    assert len(chosen) == 4
    assert {classes[int(sku[1:])] for sku in chosen["sku"]} == set(classes)


def test_a_model_spec_equal_to_its_rival_meets_every_criterion(evaluation):
    table = verdict(evaluation, "naive", "naive", pit_limit=9.0)
    assert table["met"].all()
    compared = table[~table["measure"].str.startswith("PIT")]
    assert compared["ratio"].eq(1.0).all()
    assert compared["ours"].equals(compared["theirs"])
    assert list(table.columns) == list(VERDICT_COLUMNS)
    assert table["criterion"].is_unique


def test_a_worse_model_spec_fails_overall_and_in_its_segments(evaluation):
    table = verdict(evaluation, "naive", "recent", champion="recent").set_index("criterion")
    assert not table.loc["wrmsse over recent, all", "passed"]
    assert not table.loc["pinball over recent, all", "passed"]
    assert not table.loc["pinball over recent, demand_class smooth, surely", "passed"]


def test_without_a_champion_the_floor_alone_blocks(evaluation):
    table = verdict(evaluation, "naive", "naive", competitors=["recent"], pit_limit=0.0).set_index("criterion")
    assert table.index[table["blocks"]].tolist() == [
        "wrmsse over naive, all",
        "pinball over naive, all",
        "pinball of 7-period sums over naive, all",
        "pinball of 14-period sums over naive, all",
    ]
    assert table["passed"].all()
    assert not table.loc["pinball over recent, all", "met"]


def test_a_first_candidate_below_the_floor_fails(evaluation):
    table = verdict(evaluation, "naive", "recent").set_index("criterion")
    assert not table.loc["pinball over recent, all", "passed"]


def test_a_segment_blocks_a_change_of_model_spec_but_not_a_refit_of_the_same(evaluation):
    change = verdict(evaluation, "naive", "naive", competitors=["recent"], champion="recent").set_index("criterion")
    refit = verdict(evaluation, "naive", "naive", competitors=["recent"], champion="naive").set_index("criterion")
    name = "pinball over recent, demand_class smooth, surely"
    assert (change.loc[name, "met"], change.loc[name, "passed"]) == (False, False)
    assert (refit.loc[name, "met"], refit.loc[name, "passed"]) == (False, True)
    assert not change.loc["pinball over recent, all", "passed"]
    assert refit.loc["pinball over recent, all", "passed"]


def test_a_champion_is_judged_like_any_competitor(evaluation):
    table = verdict(evaluation, "recent", "naive", champion="recent")
    assert not table["criterion"].str.contains("over recent").any()
    assert verdict(evaluation, "naive", "naive", champion="recent")["criterion"].str.contains("over recent").any()


def losses(evaluation, ratios):
    """Return the evaluation with the losses of "naive" those of "recent" times a factor a series."""
    series = evaluation.series
    own, competitor = (series[series["model_spec"] == name].reset_index(drop=True) for name in ("naive", "recent"))
    factor = own["sku"].map(dict(zip(sorted(own["sku"].unique()), ratios, strict=True)))
    generator = np.random.default_rng(0)
    size = generator.lognormal(0.0, 2.0, len(competitor))
    competitor = competitor.assign(pinball=size, rmsse=size, demand_class="smooth", periods=14, weight=1.0)
    own = own.assign(pinball=size * factor, rmsse=size * factor, demand_class="smooth", periods=14, weight=1.0)
    return dataclasses.replace(evaluation, series=pd.concat([own, competitor], ignore_index=True))


@pytest.mark.parametrize(
    ("ratios", "met"),
    [([1.03] * 8, False), ([1.01] * 8, True), ([1.5] * 4 + [0.7] * 4, True), ([1.6] * 7 + [0.95], False)],
    ids=["surely 3 % worse", "surely 1 % worse", "worse here and better there", "worse nearly everywhere"],
)
def test_a_segment_fails_only_where_the_paired_interval_lies_wholly_above_two_percent(evaluation, ratios, met):
    table = verdict(losses(evaluation, ratios), "naive", "recent", champion="recent").set_index("criterion")
    for measure in ("wrmsse", "pinball"):
        row = table.loc[f"{measure} over recent, demand_class smooth, surely"]
        assert (row["met"], row["passed"], row["threshold"]) == (met, met, 1.02)


def test_the_interval_holds_nine_draws_of_ten(evaluation):
    # Rivals lose alike, so that the ratio of a draw is the mean of its eight factors.
    ratios = np.random.default_rng(1).normal(1.2, 0.2, 8)
    alike = losses(evaluation, ratios)
    factor = alike.series["sku"].map(dict(zip(sorted(alike.series["sku"].unique()), ratios, strict=True)))
    plain = alike.series.assign(pinball=np.where(alike.series["model_spec"] == "naive", factor, 1.0))
    table = verdict(dataclasses.replace(alike, series=plain), "naive", "recent", champion="recent", draws=4000)
    value = table.set_index("criterion").loc["pinball over recent, demand_class smooth, surely", "value"]
    assert value == pytest.approx(ratios.mean() - 1.645 * ratios.std() / np.sqrt(8), abs=0.01)


def moved(evaluation, span):
    """Return the evaluation with a PIT of "recent" that is far too low for one span."""
    pit = evaluation.pit
    off = (pit["model_spec"] == "recent") & (pit["span"] == span)
    return dataclasses.replace(evaluation, pit=pit.assign(pit=np.where(off, pit["pit"] ** 4, pit["pit"])))


def test_a_pit_that_is_surely_off_fails_its_class_and_blocks(evaluation):
    table = verdict(moved(evaluation, 1), "recent", "naive", champion="recent").set_index("criterion")
    row = table.loc["PIT distance of single periods, demand_class smooth, surely"]
    assert (row["met"], row["blocks"], row["passed"]) == (False, True, False)
    assert row["value"] == row["low"] > row["threshold"]


def test_the_pit_of_a_first_candidate_is_told_and_does_not_block(evaluation):
    table = verdict(moved(evaluation, 1), "recent", "naive").set_index("criterion")
    row = table.loc["PIT distance of single periods, demand_class smooth, surely"]
    assert (row["met"], row["blocks"], row["passed"]) == (False, False, True)


def test_sums_out_of_calibration_are_told_and_do_not_block(evaluation):
    table = verdict(moved(evaluation, 14), "recent", "naive", champion="recent").set_index("criterion")
    row = table.loc["PIT distance of 14-period sums, demand_class smooth, surely"]
    assert row["ours"] > 0.5
    assert (row["blocks"], row["passed"]) == (False, True)


def test_the_rival_of_a_pit_is_the_one_that_is_nearest_to_even(evaluation):
    table = verdict(moved(evaluation, 1), "naive", "naive", competitors=["recent"]).set_index("criterion")
    row = table.loc["PIT distance of single periods, demand_class smooth, surely"]
    assert row["competitor"] == "naive"
    own = evaluation.pit.query("model_spec == 'naive' and span == 1 and demand_class == 'smooth'")
    found = pit_distance(*(own[name].to_numpy() for name in ("pit", "series", "period")))
    assert row["ours"] == pytest.approx(found.distance)


def test_every_ratio_over_all_has_an_interval_around_it(evaluation):
    table = verdict(evaluation, "recent", "naive")
    overall = table[(table["segment"] == "all") & table["ratio"].notna()]
    assert set(overall["measure"]) == {
        *("WRMSSE", "pinball loss", "pinball loss of 7-period sums", "pinball loss of 14-period sums")
    }
    assert (overall["low"] <= overall["ratio"]).all()
    assert (overall["ratio"] <= overall["high"]).all()
    assert (overall["low"] < overall["high"]).all()


def test_the_hardest_rival_is_the_one_with_the_highest_ratio(evaluation):
    table = verdict(evaluation, "naive", "naive", competitors=["recent"])
    row = hardest(table, "pinball loss of 14-period sums")
    assert row["competitor"] == "recent"
    assert row["ratio"] > 1.0
    assert hardest(table, "weather") is None


def test_sums_that_are_worse_fail_though_single_periods_are_alike(evaluation):
    losses = evaluation.sum_losses
    factor = np.where((losses["model_spec"] == "recent") & (losses["span"] == 14), 100.0, 1.0)
    worse = dataclasses.replace(evaluation, sum_losses=losses.assign(pinball=losses["pinball"] * factor))
    table = verdict(worse, "recent", "naive").set_index("criterion")
    assert table.loc["pinball of 7-period sums over naive, all", "passed"]
    assert not table.loc["pinball of 14-period sums over naive, all", "passed"]


def test_the_losses_of_sums_are_those_of_the_levels(evaluation):
    by_level = evaluation.sums.groupby(["model_spec", "span"])["pinball"].mean()
    by_series = evaluation.sum_losses.groupby(["model_spec", "span"])["pinball"].mean()
    assert by_series.to_numpy() == pytest.approx(by_level.to_numpy())


def test_a_model_spec_nobody_evaluated_is_refused(evaluation):
    with pytest.raises(ValueError, match="'oracle' is not in the evaluation"):
        verdict(evaluation, "oracle", "naive")
