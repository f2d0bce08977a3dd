"""Items that have not sold yet: what they are compared with, how sure the forecast is, what it says."""

import numpy as np
import pandas as pd
import pytest

from ml.forecast import Settings, load, train
from ml.forecast.explain import GROUPS, contributions
from ml.forecast.notes import forecast_notes
from ml.schema import KEYS

SMALL = Settings(mean_rows=6000, spread_rows=3000, rounds=40, learning_rate=0.15, spread_rounds=10, spread_rate=0.3)
HORIZON = 14
NEW = [("new_tea", "tea"), ("new_jam", "jam")]


def shop():
    """Twelve teas of about two a day, one of them a hundred times as large, and twelve jams of about ten."""
    generator = np.random.default_rng(2)
    periods = pd.date_range("2024-01-01", periods=120)
    parts = []
    for category, level in (("tea", 2.0), ("jam", 10.0)):
        for number in range(12):
            mean = level * np.exp(0.4 * generator.standard_normal())
            mean *= 100.0 if category == "tea" and number == 0 else 1.0
            units = generator.poisson(mean, len(periods)).astype(float)
            columns = {"period_start": periods, "demand_units": units}
            parts.append(pd.DataFrame({"sku": f"{category}{number:02d}", "location_id": "x", **columns}))
    return pd.concat(parts, ignore_index=True)


def items_of(demand, new=NEW):
    known = demand[KEYS].drop_duplicates()
    known = known.assign(category=known["sku"].str[:3])
    return pd.concat(
        [
            known,
            pd.DataFrame({"sku": [sku for sku, _ in new], "location_id": "x", "category": [kind for _, kind in new]}),
        ]
    )


def coming(demand, more=()):
    """Rows of the horizon for every item, and for others with their category."""
    periods = pd.date_range(demand["period_start"].max() + pd.Timedelta(days=1), periods=HORIZON)
    keys = pd.concat([items_of(demand), items_of(demand, more)]).drop_duplicates()
    return keys.merge(pd.DataFrame({"period_start": periods}), how="cross")


def mean_of(forecast, sku):
    return float(forecast.loc[forecast["sku"] == sku, "mean_units"].mean())


@pytest.fixture(scope="module")
def demand():
    return shop()


@pytest.fixture(scope="module")
def model(demand):
    return train(demand, freq="D", horizon=HORIZON, items=items_of(demand), settings=SMALL)


@pytest.fixture(scope="module")
def predicted(demand, model):
    return model.predict(demand, coming(demand))


def test_a_new_item_starts_from_the_median_of_its_category_and_not_from_its_mean(demand, predicted):
    levels = demand[~demand["sku"].str.startswith("new")].groupby("sku")["demand_units"].mean()
    for category in ("tea", "jam"):
        like = levels[levels.index.str.startswith(category)]
        assert mean_of(predicted, f"new_{category}") == pytest.approx(like.median(), rel=0.4)


def test_a_new_item_is_less_sure_than_those_it_is_compared_with(demand, model):
    keys = pd.DataFrame({"sku": ["new_jam", "jam03"], "location_id": "x"})
    _, paths = next(model.sample_paths(demand, 1000, coming(demand), keys=keys))
    new, old = (np.quantile(one.sum(axis=1), [0.05, 0.95]) / one.sum(axis=1).mean() for one in paths)
    assert new[1] - new[0] > 2.0 * (old[1] - old[0])


def test_the_interval_of_a_new_item_holds_most_of_its_category(demand, model):
    keys = pd.DataFrame({"sku": ["new_jam"], "location_id": "x"})
    _, paths = next(model.sample_paths(demand, 1000, coming(demand), keys=keys))
    low, high = np.quantile(paths[0].sum(axis=1), [0.05, 0.95])
    jams = demand[demand["sku"].str.startswith("jam")]
    last = jams[jams["period_start"] > jams["period_start"].max() - pd.Timedelta(days=HORIZON)]
    assert last.groupby("sku")["demand_units"].sum().between(low, high).mean() >= 0.75


def test_days_on_the_shelf_without_a_sale_lower_what_is_expected(demand, model, predicted):
    last = demand["period_start"].max()
    levels = [mean_of(predicted, "new_tea")]
    for days in (3, 10):
        idle = {"sku": "new_tea", "location_id": "x", "period_start": pd.date_range(end=last, periods=days)}
        history = pd.concat([demand, pd.DataFrame(idle).assign(demand_units=0.0)])
        levels.append(mean_of(model.predict(history, coming(demand)), "new_tea"))
    assert levels[0] > 1.2 * levels[1] > 1.2 * levels[2]


def test_an_item_the_training_did_not_know_is_compared_by_the_category_it_is_planned_with(demand, model, predicted):
    known = model.predict(demand, coming(demand, more=[("later", "jam")]))
    assert mean_of(known, "later") == pytest.approx(mean_of(predicted, "new_jam"), rel=0.1)


def test_another_new_item_changes_no_paths(demand, model):
    keys = pd.DataFrame({"sku": ["new_tea", "jam03"], "location_id": "x"})
    alone, together = (
        next(model.sample_paths(demand, 60, coming(demand, more=more), keys=keys))[1]
        for more in ([], [("later", "tea"), ("later2", "jam")])
    )
    assert np.array_equal(alone, together)


def test_the_note_of_a_new_item_names_what_it_is_compared_with(demand, model):
    notes = forecast_notes(model, demand, coming(demand)).set_index("sku")
    assert notes.index.tolist() == ["new_jam", "new_tea"]
    assert "a day expected, from the median of 12 items of category tea" in notes.loc["new_tea", "note"]
    assert notes.loc["new_tea", "source"] == "analogues"


def test_contributions_of_a_new_item_add_up_to_its_forecast(demand, model, predicted):
    split = contributions(model, demand, coming(demand))
    total = split["level_units"] + split[[f"{name}_units" for name in GROUPS]].sum(axis=1)
    assert np.allclose(total, predicted["mean_units"], rtol=2e-3, atol=2e-3)


def test_what_new_items_are_compared_with_survives_saving(demand, model, predicted, tmp_path):
    model.save(tmp_path)
    pd.testing.assert_frame_equal(load(tmp_path).predict(demand, coming(demand)), predicted)
