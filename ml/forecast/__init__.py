"""Demand forecasts with their whole distribution: train, predict, sample paths, save and load."""

from ml.forecast.base import FittedForecaster, Forecaster
from ml.forecast.baselines import RECENT, BaselineForecaster, train_recent
from ml.forecast.boosted import BOOSTER, DemandForecaster
from ml.forecast.boosters import Settings
from ml.forecast.ensemble import CombinedForecaster, choose_weights
from ml.forecast.explain import contributions, importance
from ml.forecast.kinds import load
from ml.forecast.notes import forecast_notes
from ml.forecast.plots import (
    calibration_curve,
    calibration_of_sums,
    contribution_chart,
    error_by_lag,
    fan_charts,
    importance_chart,
    typical_and_worst,
)
from ml.forecast.training import train

__all__ = [
    "BOOSTER",
    "RECENT",
    "BaselineForecaster",
    "CombinedForecaster",
    "DemandForecaster",
    "FittedForecaster",
    "Forecaster",
    "Settings",
    "calibration_curve",
    "calibration_of_sums",
    "choose_weights",
    "contribution_chart",
    "contributions",
    "error_by_lag",
    "fan_charts",
    "forecast_notes",
    "importance",
    "importance_chart",
    "load",
    "train",
    "train_recent",
    "typical_and_worst",
]
