"""Demand forecasts with their whole distribution: train, predict, sample paths, save and load."""

from ml.forecast.boosted import DemandForecaster
from ml.forecast.boosters import Settings
from ml.forecast.kinds import load
from ml.forecast.training import train

__all__ = ["DemandForecaster", "Settings", "load", "train"]
