"""What an empty shelf hid, told from the sales of days in stock."""

import numpy as np
import pandas as pd
import pytest

from ml.forecast import Settings
from ml.forecast.censoring import SaleSizes, partly_served
from ml.forecast.training import Training
from ml.panel import Frequency, build_panel


def shop(draw, series=40, days=200):
    """Return true demand and what was seen of it when the shelf was often too empty [both series x days]."""
    generator = np.random.default_rng(0)
    true = draw(generator, (series, days)).astype(float)
    usual = max(true[true > 0].mean(), 1.0)
    stock = np.where(generator.random(true.shape) < 0.4, np.floor(generator.uniform(0.3, 2.5, true.shape) * usual), 1e9)
    keys = pd.DataFrame({"sku": [f"p{number:03d}" for number in range(series)], "location_id": "x"})
    frame = keys.merge(pd.DataFrame({"period_start": pd.date_range("2024-01-01", periods=days)}), how="cross")
    seen = frame.assign(demand_units=np.minimum(true, stock).reshape(-1), is_in_stock=(true < stock).reshape(-1))
    return true, build_panel(seen, Frequency.of("D"))


def smooth(generator, shape):
    return generator.poisson(generator.uniform(3.0, 40.0, (shape[0], 1)), shape)


def intermittent(generator, shape):
    return generator.poisson(4.0, shape) * (generator.random(shape) < 0.15)


def lumpy(generator, shape):
    return np.ceil(generator.lognormal(1.5, 1.0, shape)) * (generator.random(shape) < 0.15)


@pytest.mark.parametrize("draw", [smooth, intermittent, lumpy])
def test_what_partly_served_days_wanted_is_found_within_a_few_percent(draw):
    true, panel = shop(draw)
    cut = partly_served(panel)
    expected, drawn = SaleSizes.fit(panel, []).fill(panel, np.random.default_rng(0))
    assert panel.demand[cut].sum() < 0.65 * true[cut].sum()
    assert expected[cut].sum() == pytest.approx(true[cut].sum(), rel=0.12)
    assert drawn[cut].sum() == pytest.approx(expected[cut].sum(), rel=0.12)


def test_nothing_but_partly_served_days_is_changed_and_none_below_what_was_sold():
    _, panel = shop(lumpy)
    cut = partly_served(panel)
    expected, drawn = SaleSizes.fit(panel, []).fill(panel, np.random.default_rng(0))
    assert np.array_equal(expected[~cut], panel.demand[~cut])
    assert (expected[cut] >= panel.demand[cut] - 1e-5).all()
    assert (drawn[cut] >= panel.demand[cut] - 1e-5).all()


def test_a_promotion_that_doubles_sales_doubles_what_its_stock_out_hid():
    days = 200
    generator = np.random.default_rng(1)
    on = np.arange(days) % 10 == 0
    true = generator.poisson(np.where(on, 20.0, 10.0), (40, days)).astype(float)
    cut = on & (np.arange(days) % 20 == 0)
    seen = np.where(cut, np.minimum(true, 5.0), true)
    keys = pd.DataFrame({"sku": [f"p{number:03d}" for number in range(40)], "location_id": "x"})
    frame = keys.merge(pd.DataFrame({"period_start": pd.date_range("2024-01-01", periods=days)}), how="cross")
    frame = frame.assign(demand_units=seen.reshape(-1), is_in_stock=np.tile(~cut, 40), promotion=np.tile(on, 40) * 1.0)
    panel = build_panel(frame, Frequency.of("D"))
    expected, _ = SaleSizes.fit(panel, ["promotion"]).fill(panel)
    assert expected[partly_served(panel)].mean() == pytest.approx(20.0, rel=0.08)


@pytest.mark.parametrize("draw", [smooth, intermittent, lumpy])
def test_the_level_that_training_learns_is_that_of_true_demand(draw):
    true, panel = shop(draw)
    # On every tenth day the shelf is empty from the morning on.
    panel.demand[:, ::10] = 0.0
    panel.bound[:, ::10] = True
    history = Training(panel, None, 7, 0, Settings()).history
    learnt = history.total[:, -1].sum() / history.count[:, -1].sum()
    assert panel.demand.mean() < 0.85 * true.mean()
    assert learnt == pytest.approx(true.mean(), rel=0.04)
    assert not history.observed[:, ::10].any()


def test_too_few_sales_teach_nothing():
    _, panel = shop(intermittent, series=2, days=40)
    assert SaleSizes.fit(panel, []) is None


def test_sizes_survive_saving(tmp_path):
    _, panel = shop(lumpy)
    sizes = SaleSizes.fit(panel, [])
    sizes.save(tmp_path / "sizes.npz")
    again = SaleSizes.load(tmp_path / "sizes.npz")
    assert np.array_equal(again.fill(panel)[0], sizes.fill(panel)[0])


def test_one_more_series_changes_no_other_stock_out():
    _, panel = shop(lumpy)
    sizes = SaleSizes.fit(panel, [])
    frame = pd.DataFrame(
        {
            "sku": "p003",
            "location_id": "x",
            "period_start": panel.frequency.periods(panel.first + np.arange(panel.length)),
            "demand_units": panel.demand[3],
            "is_in_stock": ~panel.bound[3],
        }
    )
    alone = build_panel(frame, panel.frequency)
    assert np.allclose(sizes.fill(alone)[0][0], sizes.fill(panel)[0][3])
