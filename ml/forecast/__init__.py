"""Demand forecasts with their whole distribution: train, predict, sample paths, save and load."""

from ml.forecast.boosted import DemandForecaster, train
from ml.forecast.boosters import Settings
from ml.forecast.kinds import load

__all__ = ["DemandForecaster", "Settings", "load", "train"]
