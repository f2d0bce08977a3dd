import numpy as np
import pandas as pd
import pytest

from ml.forecast import Settings, train
from ml.forecast.boosters import Block, fit_mean, predict_mean
from ml.forecast.features import FeatureBuilder
from ml.forecast.training import FEW_PERIODS, MOST_SCALES, Training
from ml.panel import Frequency, build_panel

SMALL = Settings(mean_rows=6000, spread_rows=4000, rounds=40, learning_rate=0.15, spread_rounds=15, spread_rate=0.3)


def one_big_among_small(big, seed, days=300):
    generator = np.random.default_rng(seed)
    units = {f"small_{number:02d}": generator.poisson(3.0, days) for number in range(12)}
    units |= {"constant": np.full(days, 4), "big": generator.poisson(big, days)}
    periods = pd.date_range("2024-01-01", periods=days)
    return pd.concat(
        [
            pd.DataFrame({"sku": sku, "location_id": "x", "period_start": periods, "demand_units": values * 1.0})
            for sku, values in units.items()
        ],
        ignore_index=True,
    )


def errors(big, seed, settings):
    """Forecast over truth, less one: of all small series together, of the constant one, of the big one."""
    demand = one_big_among_small(big, seed)
    means = train(demand, freq="D", horizon=28, seed=seed, settings=settings).predict(demand)
    of_sku = means.groupby("sku")["mean_units"].mean()
    small = of_sku[of_sku.index.str.startswith("small")].mean()
    return np.abs([small / 3.0 - 1.0, of_sku["constant"] / 4.0 - 1.0, of_sku["big"] / big - 1.0])


@pytest.mark.parametrize("big", [1e4, 1e6])
def test_one_big_series_spoils_no_small_one(big):
    assert errors(big, 0, SMALL).max() < 0.05


@pytest.mark.deep
@pytest.mark.parametrize("big", [1e3, 1e4, 1e5, 1e6])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_big_series_spoils_no_small_one_in_a_full_training(big, seed):
    assert errors(big, seed, None).max() < 0.05


def test_where_the_scale_is_a_guess_the_target_is_bounded_and_elsewhere_it_is_not():
    demand = one_big_among_small(1e6, 0, days=120)
    settings = Settings(cold_share=0.2)
    training = Training(build_panel(demand, Frequency.of("D")), None, 14, 0, settings)
    builder = FeatureBuilder(training.history, training.plan, training.statics, np.full(14, 6.0))
    block = training.mean_block(builder, 120, 1)
    age = block.features[:, training.plan.names().index("age")]
    guessed = np.isnan(age) | (age < FEW_PERIODS)
    assert guessed.any()
    assert (block.actual[guessed] / block.scale[guessed]).max() <= MOST_SCALES * (1.0 + 1e-9)
    steady = ~guessed & (block.scale > 1e5)
    assert block.actual[steady].mean() == pytest.approx(1e6, rel=0.01)


def test_a_leaf_whose_actual_is_many_times_its_forecast_is_not_overshot():
    rows = 4000
    rare = np.arange(rows) % 10 == 0
    ones = np.ones(rows)
    block = Block(rare[:, None].astype(np.float32), np.where(rare, 300.0, 1.0), ones, ones, ones)
    means = predict_mean([fit_mean(block, Settings(rounds=5), 0)], block.features, ones, ones)
    assert np.isfinite(means).all()
    assert 1.0 < means[rare].mean() <= 300.0
