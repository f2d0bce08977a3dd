"""Demand forecasts with their whole distribution: train, predict, sample paths, save and load."""

from ml.forecast.boosted import DemandForecaster, Settings, train
from ml.forecast.kinds import load

__all__ = ["DemandForecaster", "Settings", "load", "train"]
