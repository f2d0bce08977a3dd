"""Nothing leaks from the future: it is corrupted, and nothing changes."""

import numpy as np
import pandas as pd
import pytest

from ml.forecast import Settings, train
from ml.forecast.training import Training
from ml.panel import Frequency, build_panel

SETTINGS = Settings(mean_rows=2000, spread_rows=1500, rounds=15, spread_rounds=5)
DAYS = 100


@pytest.fixture(scope="module")
def demand():
    generator = np.random.default_rng(0)
    keys = pd.DataFrame({"sku": [f"p{number:02d}" for number in range(40)], "location_id": "x"})
    keys["level"] = generator.gamma(2.0, 3.0, len(keys))
    frame = keys.merge(pd.DataFrame({"period_start": pd.date_range("2024-01-01", periods=DAYS)}), how="cross")
    frame["demand_units"] = generator.poisson(frame.pop("level")).astype(float)
    return frame.assign(is_promotion=(generator.random(len(frame)) < 0.2).astype(float))


def learnt_before_the_held_out(frame):
    """Return the rows that the first booster learns from, and the column where the held-out periods begin."""
    items = frame[["sku", "location_id"]].drop_duplicates().assign(group=lambda f: f["sku"].str[-1])
    training = Training(build_panel(frame, Frequency.of("D")), items, 7, 0, SETTINGS)
    split = training._split()
    return training.mean_block(training._builder(split), split, 1), split


def test_what_is_learnt_before_the_held_out_periods_does_not_know_them(demand):
    clean, split = learnt_before_the_held_out(demand)
    late = demand["period_start"] >= pd.Timestamp("2024-01-01") + pd.Timedelta(days=split)
    corrupted = demand.assign(demand_units=demand["demand_units"].where(~late, demand["demand_units"] * 900 + 77))
    dirty, _ = learnt_before_the_held_out(corrupted)
    assert late.mean() > 0.3
    assert np.array_equal(clean.features, dirty.features, equal_nan=True)
    assert np.array_equal(clean.actual, dirty.actual)
    assert np.array_equal(clean.scale, dirty.scale)
    assert np.array_equal(clean.baseline, dirty.baseline)


def test_demand_and_stock_told_of_the_future_are_not_read(demand):
    cut = pd.Timestamp("2024-04-02")
    past, coming = demand[demand["period_start"] <= cut], demand[demand["period_start"] > cut]
    model = train(past, freq="D", horizon=7, settings=SETTINGS)
    plain = model.predict(past, coming.drop(columns="demand_units"))
    for told in (coming, coming.assign(demand_units=1e9, is_in_stock=False)):
        pd.testing.assert_frame_equal(model.predict(past, told), plain)
    other = coming.assign(is_promotion=1.0 - coming["is_promotion"]).drop(columns="demand_units")
    assert not np.array_equal(model.predict(past, other)["mean_units"], plain["mean_units"])
