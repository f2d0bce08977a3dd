"""Demand forecasts with their whole distribution: train, predict, sample paths, save and load."""

from ml.forecast.boosted import DemandForecaster, Settings, load, train

__all__ = ["DemandForecaster", "Settings", "load", "train"]
