import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml import metrics

UNITS = st.floats(0, 1000, width=32)


def test_errors_of_a_small_forecast_by_hand():
    actual, forecast = np.array([2.0, 0.0, 4.0]), np.array([3.0, 1.0, 2.0])
    assert metrics.mae(actual, forecast) == pytest.approx(4 / 3)
    assert metrics.rmse(actual, forecast) == pytest.approx(np.sqrt(2.0))
    assert metrics.wape(actual, forecast) == pytest.approx(4 / 6)
    assert metrics.bias(actual, forecast) == pytest.approx(0.0)


def test_percentage_errors_leave_out_periods_without_demand():
    assert metrics.mape(np.array([2.0, 0.0, 4.0]), np.array([3.0, 9.0, 2.0])) == pytest.approx(0.5)


def test_over_forecasting_is_positive_bias():
    assert metrics.bias(np.array([10.0]), np.array([12.0])) == pytest.approx(0.2)


def test_unobserved_periods_count_nowhere():
    actual, forecast = np.array([2.0, np.nan]), np.array([3.0, 100.0])
    assert metrics.mae(actual, forecast) == 1.0
    assert metrics.bias(actual, forecast) == 0.5


def test_no_observation_gives_no_number():
    nothing = np.array([np.nan])
    assert np.isnan(metrics.mae(nothing, np.array([1.0])))
    assert np.isnan(metrics.wape(nothing, np.array([1.0])))


def test_a_forecast_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="every observed period needs a number"):
        metrics.mae(np.array([1.0]), np.array([np.nan]))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one shape"):
        metrics.mae(np.array([1.0, 2.0]), np.array([1.0]))


def test_scaled_error_of_the_naive_forecast_itself_is_one():
    history = np.array([[1.0, 3.0, 1.0, 3.0, 1.0]])
    assert metrics.mase(np.array([[3.0, 1.0]]), np.array([[1.0, 3.0]]), history)[0] == pytest.approx(1.0)
    assert metrics.rmsse(np.array([[3.0, 1.0]]), np.array([[1.0, 3.0]]), history)[0] == pytest.approx(1.0)


def test_the_scale_begins_at_the_first_sale():
    late = np.array([[0.0, 0.0, 0.0, 5.0, 7.0, 5.0]])
    assert metrics.seasonal_scale(late)[0] == pytest.approx(2.0)


def test_a_seasonal_scale_compares_one_season_apart():
    history = np.array([[1.0, 10.0, 2.0, 10.0]])
    assert metrics.seasonal_scale(history, 2)[0] == pytest.approx(0.5)


def test_a_history_without_change_has_no_scaled_error():
    assert np.isnan(metrics.mase(np.array([[1.0]]), np.array([[2.0]]), np.array([[4.0, 4.0, 4.0]]))[0])


def test_weighted_rmsse_leaves_series_without_score_to_the_others():
    assert metrics.wrmsse(np.array([1.0, np.nan, 2.0]), np.array([1.0, 5.0, 3.0])) == pytest.approx(1.75)


def test_pinball_loss_by_hand():
    assert metrics.pinball_loss(np.array([10.0]), np.array([8.0]), 0.9)[0] == pytest.approx(1.8)
    assert metrics.pinball_loss(np.array([8.0]), np.array([10.0]), 0.9)[0] == pytest.approx(0.2)


def test_weighted_quantile_loss_of_the_median_is_wape():
    actual, forecast = np.array([2.0, 0.0, 4.0]), np.array([3.0, 1.0, 2.0])
    assert metrics.wql(actual, forecast[:, None], [0.5]) == pytest.approx(metrics.wape(actual, forecast))


@given(arrays(np.float64, 30, elements=UNITS), st.floats(0.05, 0.95))
def test_no_constant_beats_the_empirical_quantile_on_pinball(values, level):
    best = np.sort(values)[int(np.ceil(level * 30)) - 1]
    loss = metrics.pinball_loss(values, best, level).mean()
    for other in (*np.unique(values)[:5], values.mean()):
        assert loss <= metrics.pinball_loss(values, other, level).mean() + 1e-9


def test_the_true_quantiles_of_counts_are_calibrated_though_mostly_zero():
    generator = np.random.default_rng(0)
    actual = generator.poisson(0.2, 20_000).astype(float)
    levels = [0.1, 0.5, 0.9, 0.95]
    quantiles = np.tile([0.0, 0.0, 1.0, 1.0], (20_000, 1))
    gaps = metrics.calibration_gap(metrics.calibration(actual, quantiles, levels), levels)
    assert np.abs(gaps).max() == 0.0


def test_quantiles_that_are_too_high_have_a_positive_gap():
    actual = np.arange(100.0)
    shares = metrics.calibration(actual, np.full((100, 1), 79.5), [0.5])
    assert metrics.calibration_gap(shares, [0.5])[0] == pytest.approx(0.3)


def test_the_randomised_transform_of_the_true_distribution_is_uniform():
    generator = np.random.default_rng(1)
    draws = np.sort(generator.poisson(0.7, (4000, 400)), axis=1)
    pit = metrics.randomised_pit(generator.poisson(0.7, 4000), draws, generator.random(4000))
    shares, _ = np.histogram(pit, bins=10, range=(0, 1))
    assert np.abs(shares / 4000 - 0.1).max() < 0.02
