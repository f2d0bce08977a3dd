"""Pictures of forecasts: what a reader can take from them."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from ml.forecast.distribution import QUANTILE_COLUMNS, QUANTILE_LEVELS
from ml.forecast.explain import GROUPS
from ml.forecast.plots import ACCENT, OFF, calibration_curve, contribution_chart, error_by_lag, fan_charts

KEY = {"sku": "p1", "location_id": "x"}
COMING = pd.date_range("2024-03-01", periods=14)


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.fixture
def fan():
    history = pd.DataFrame({**KEY, "period_start": pd.date_range("2024-01-01", periods=74), "demand_units": 3.0})
    quantiles = {name: float(place) for place, name in enumerate(QUANTILE_COLUMNS)}
    forecast = pd.DataFrame({**KEY, "period_start": COMING, "mean_units": 4.0, "actual_units": 5.0, **quantiles})
    return fan_charts(history, forecast, pd.DataFrame([KEY | {"choice": "worst"}]), period="day")


def test_a_fan_chart_names_its_lines_bands_and_unit(fan):
    assert legend_of(fan) == ["demand before", "90 % band", "80 % band", "40 % band", "forecast, mean", "what came"]
    assert fan.axes[0].get_ylabel() == "units a day"
    assert fan.axes[0].get_title("left") == "p1 at x (worst)"


def test_the_bands_of_a_fan_chart_hold_what_they_say(fan):
    heights = {}
    for band in fan.axes[0].collections:
        values = band.get_paths()[0].vertices[:, 1]
        heights[band.get_label()] = (QUANTILE_LEVELS[int(values.min())], QUANTILE_LEVELS[int(values.max())])
    assert heights == {"90 % band": (0.05, 0.95), "80 % band": (0.1, 0.9), "40 % band": (0.3, 0.7)}


def test_a_fan_chart_shows_no_demand_after_the_forecast_began_but_as_what_came(fan):
    before = next(line for line in fan.axes[0].lines if line.get_label() == "demand before")
    assert max(before.get_xdata()) < np.datetime64("2024-03-01")


def test_a_level_that_is_off_is_red_in_the_calibration_curve():
    shares = pd.DataFrame({"level": [0.5, 0.9], "below": [0.4, 0.7], "upto": [0.6, 0.8], "gap": [0.0, -0.1]})
    figure = calibration_curve(shares.assign(model_spec="ours", segment_kind="all"), "ours", period="day")
    assert [to_hex(color) for color in figure.axes[0].collections[0].get_colors()] == [ACCENT, OFF]
    assert figure.axes[0].get_xlabel().startswith("promised")


def lags(model_specs, wape):
    ahead = np.arange(1, 15)
    return pd.concat(
        [pd.DataFrame({"model_spec": name, "periods_ahead": ahead, "wape": wape, "bias": 0.1}) for name in model_specs]
    )


def test_ten_model_specs_have_ten_colours():
    figure = error_by_lag(lags([f"model_spec {number}" for number in range(10)], 1.0))
    assert len({line.get_color() for line in figure.axes[0].lines}) == 10
    assert len(legend_of(figure)) == 10


def test_a_lag_without_demand_does_not_break_the_line_of_errors():
    wape = np.where(np.arange(14) % 7 == 6, np.nan, 1.0)
    line = error_by_lag(lags(["ours"], wape)).axes[0].lines[0]
    assert len(line.get_xdata()) == 12
    assert np.isfinite(line.get_ydata()).all()


def test_the_pattern_of_a_week_is_averaged_out_of_the_errors():
    line = error_by_lag(lags(["ours"], 1.0 + (np.arange(14) % 7 == 0)), season=7).axes[0].lines[0]
    assert line.get_ydata()[3:-3] == pytest.approx(1.0 + 1 / 7)


@pytest.fixture
def contributions():
    parts = {f"{name}_units": 0.5 for name in GROUPS}
    split = pd.DataFrame({**KEY, "period_start": COMING, "level_units": 4.0, **parts})
    split["mean_units"] = np.where(COMING.dayofweek == 6, 0.0, 4.0 + 0.5 * len(GROUPS))
    return contribution_chart(split, "p1", "x", period="day")


def test_contributions_stand_on_the_recent_level_and_reach_the_forecast(contributions):
    bars = [bar for bar in contributions.axes[0].patches if bar.get_height() > 0]
    assert min(bar.get_y() for bar in bars) == 4.0
    assert max(bar.get_y() + bar.get_height() for bar in bars) == 4.0 + 0.5 * len(GROUPS)
    assert set(legend_of(contributions)) >= {"recent level", "forecast", "price and promotion", "season", "trend"}


def test_a_closed_day_has_no_bars_and_is_named(contributions):
    bars = [bar for bar in contributions.axes[0].patches if bar.get_height() > 0]
    assert len(bars) == (COMING.dayofweek != 6).sum() * len(GROUPS)
    assert "days without a bar are closed" in contributions.axes[0].get_title("left")
