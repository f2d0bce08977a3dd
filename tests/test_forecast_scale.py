import numpy as np
import pandas as pd
import pytest

from ml.forecast import Settings, train

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
