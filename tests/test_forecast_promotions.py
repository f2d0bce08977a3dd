"""Planned promotions: declared, learnt from past ones, or known to be unknown."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from ml.forecast import Settings, load, train
from ml.forecast.baselines import train_recent
from ml.forecast.ensemble import CLASSES, CombinedForecaster
from ml.forecast.explain import GROUPS, contributions
from ml.forecast.notes import forecast_notes
from ml.forecast.promotions import missed_factor
from ml.schema import KEYS

SMALL = Settings(mean_rows=6000, spread_rows=3000, rounds=60, learning_rate=0.15, spread_rounds=10, spread_rate=0.3)
DAYS, HORIZON = 150, 14
PLANNED = slice(2, 9)


def shop(promotions):
    """Ten items with so many past weeks of -30 % at twice the demand each."""
    generator = np.random.default_rng(5)
    periods = pd.date_range("2024-01-01", periods=DAYS)
    parts = []
    for number in range(10):
        promotion = np.zeros(DAYS, dtype=bool)
        for first in range(20 + number, DAYS - 20, 40)[:promotions]:
            promotion[first : first + 7] = True
        units = generator.poisson(3.0 * (1 + number % 3) * np.where(promotion, 2.0, 1.0)).astype(float)
        columns = {"demand_units": units, "is_promotion": promotion.astype(float)}
        parts.append(
            pd.DataFrame({"sku": f"p{number}", "location_id": "x", "period_start": periods, **columns}).assign(
                unit_price=np.where(promotion, 7.0, 10.0)
            )
        )
    return pd.concat(parts, ignore_index=True)


def coming(demand, planned=(), uplift=None):
    """The horizon; the items planned have a promotion from the third day to the ninth."""
    periods = pd.date_range(demand["period_start"].max() + pd.Timedelta(days=1), periods=HORIZON)
    days = pd.DataFrame({"period_start": periods, "is_promotion": 0.0, "unit_price": 10.0, "expected_uplift": np.nan})
    future = demand[KEYS].drop_duplicates().merge(days, how="cross")
    promoted = future["sku"].isin(planned) & future["period_start"].isin(periods[PLANNED])
    future.loc[promoted, ["is_promotion", "unit_price"]] = [1.0, 7.0]
    if uplift is not None:
        future.loc[promoted, "expected_uplift"] = uplift
    return future


def means_of(forecast, sku="p1"):
    return forecast.loc[forecast["sku"] == sku, "mean_units"].to_numpy()


@pytest.fixture(scope="module")
def demand():
    return shop(promotions=3)


@pytest.fixture(scope="module")
def taught(demand):
    return train(demand, freq="D", horizon=HORIZON, settings=SMALL)


@pytest.fixture(scope="module")
def calm_demand():
    return shop(promotions=0)


@pytest.fixture(scope="module")
def untaught(calm_demand):
    return train(calm_demand, freq="D", horizon=HORIZON, settings=SMALL)


def test_a_planned_promotion_sells_as_much_more_as_past_ones_did(demand, taught):
    with_it, without = (means_of(taught.predict(demand, coming(demand, items))) for items in (["p1"], []))
    assert with_it[PLANNED].sum() / without[PLANNED].sum() == pytest.approx(2.0, rel=0.2)


def test_without_past_promotions_a_planned_one_moves_nothing(calm_demand, untaught):
    with_it, without = (untaught.predict(calm_demand, coming(calm_demand, items)) for items in (["p1"], []))
    pd.testing.assert_frame_equal(with_it, without)


def test_a_declared_uplift_multiplies_mean_quantiles_and_paths(calm_demand, untaught):
    plans = coming(calm_demand, ["p1"], uplift=3.0), coming(calm_demand)
    with_it, without = (untaught.predict(calm_demand, plan) for plan in plans)
    times = means_of(with_it) / means_of(without)
    assert times[PLANNED] == pytest.approx(np.full(7, 3.0), rel=0.02)
    assert times[9:] == pytest.approx(np.ones(5))
    rows = (with_it["sku"] == "p1").to_numpy()
    for level in ("q20_units", "q90_units"):
        assert (with_it.loc[rows, level].to_numpy() > without.loc[rows, level].to_numpy())[PLANNED].all()
    key = pd.DataFrame({"sku": ["p1"], "location_id": "x"})
    _, paths = next(untaught.sample_paths(calm_demand, 500, plans[0], keys=key))
    assert paths[0].mean(axis=0) == pytest.approx(means_of(with_it), rel=1e-4)


def test_a_declared_uplift_takes_the_place_of_what_past_promotions_taught(demand, taught):
    declared, without = (
        means_of(taught.predict(demand, plan)) for plan in (coming(demand, ["p1"], uplift=1.2), coming(demand))
    )
    assert declared / without == pytest.approx(np.where(np.isin(np.arange(HORIZON), np.arange(2, 9)), 1.2, 1), rel=0.02)


def test_the_promotion_of_one_item_changes_no_paths_of_another(demand, taught):
    key = pd.DataFrame({"sku": ["p2"], "location_id": "x"})
    drawn = [
        next(taught.sample_paths(demand, 50, plan, keys=key))[1]
        for plan in (coming(demand), coming(demand, ["p1"]), coming(demand, ["p1"], uplift=4.0))
    ]
    assert np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("uplift", [None, 3.0])
def test_contributions_add_up_to_a_forecast_with_a_promotion(demand, taught, uplift):
    taught = dataclasses.replace(taught, promotions=dataclasses.replace(taught.promotions, missed=1.3))
    plan = coming(demand, ["p1"], uplift)
    split = contributions(taught, demand, plan)
    total = split["level_units"] + split[[f"{name}_units" for name in GROUPS]].sum(axis=1)
    assert np.allclose(total, taught.predict(demand, plan)["mean_units"], rtol=1e-3, atol=1e-3)


def test_recent_demand_follows_a_declared_uplift(calm_demand):
    recent = train_recent(calm_demand, freq="D", horizon=HORIZON)
    with_it, without = (
        means_of(recent.predict(calm_demand, plan))
        for plan in (coming(calm_demand, ["p1"], uplift=2.0), coming(calm_demand))
    )
    assert with_it[PLANNED] == pytest.approx(2.0 * without[PLANNED])


def test_every_member_of_a_combination_follows_what_the_first_one_knows(demand, taught):
    recent = train_recent(demand, freq="D", horizon=HORIZON)
    shares = {kind: {"boosted": 0.0, "recent": 1.0} for kind in CLASSES}
    mixed = CombinedForecaster({"boosted": taught, "recent": recent}, shares)
    with_it, without = (means_of(mixed.predict(demand, coming(demand, items))) for items in (["p1"], []))
    assert with_it[PLANNED].sum() / without[PLANNED].sum() == pytest.approx(2.0, rel=0.25)
    assert with_it[9:] == pytest.approx(without[9:])


def test_notes_tell_where_the_effect_of_a_promotion_comes_from(demand, taught, calm_demand, untaught):
    told = [
        forecast_notes(model, history, coming(history, ["p1"], uplift)).set_index("sku").loc["p1", ["source", "note"]]
        for model, history, uplift in ((untaught, calm_demand, None), (taught, demand, None), (taught, demand, 1.5))
    ]
    when = "from 2024-06-01 to 2024-06-07"
    assert [one["source"] for one in told] == ["unknown", "learnt", "declared"]
    assert told[0]["note"] == (
        f"A promotion {when} is planned and its effect is not known: declare expected_uplift in prices, or order for "
        "it by hand"
    )
    assert told[1]["note"].startswith(f"The promotion {when} is expected to sell")
    assert told[1]["note"].endswith("times usual demand, learnt from 30 past promotions")
    assert told[2]["note"] == (
        f"The promotion {when} is planned at 1.5 times usual demand, as declared; what past promotions taught is left "
        "aside"
    )


def test_two_promotions_of_an_item_are_two_notes(calm_demand, untaught):
    plan = coming(calm_demand, ["p1"], uplift=2.0)
    first = plan.loc[plan["expected_uplift"].notna(), "period_start"].min()
    plan.loc[plan["period_start"] == first + pd.Timedelta(days=3), ["is_promotion", "expected_uplift"]] = [0.0, np.nan]
    notes = forecast_notes(untaught, calm_demand, plan)
    assert (notes["to_day"] - notes["from_day"]).dt.days.tolist() == [2, 2]


def test_what_is_missed_of_rare_promotions_is_found_and_noise_is_not():
    generator = np.random.default_rng(0)
    runs = np.repeat(np.arange(20), 7)
    expected = np.full(len(runs), 5.0)
    sold = generator.poisson(expected * 1.6).astype(float)
    assert missed_factor(sold, expected, expected, runs) == pytest.approx(1.6, rel=0.1)
    as_expected = generator.poisson(expected).astype(float)
    assert missed_factor(as_expected, expected, expected, runs) == pytest.approx(1.0, abs=0.05)


def test_an_uplift_that_cannot_be_is_refused_by_name(calm_demand, untaught):
    with pytest.raises(
        ValueError, match=r"expected_uplift is 0 for sku 'p1', location 'x', 2024-06-01: give the factor"
    ):
        untaught.predict(calm_demand, coming(calm_demand, ["p1"], uplift=0.0))


def test_what_was_learnt_of_promotions_survives_saving(demand, taught, tmp_path):
    kept = dataclasses.replace(taught, promotions=dataclasses.replace(taught.promotions, missed=1.25))
    kept.save(tmp_path)
    assert load(tmp_path).promotions == kept.promotions
