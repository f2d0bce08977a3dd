"""How well forecasts, labels and scores agree with what happened: pure functions of arrays."""

from ml.metrics.classification import confusion_figure, confusion_frame, recognition_metrics
from ml.metrics.forecast import (
    bias,
    calibration,
    calibration_gap,
    mae,
    mape,
    mase,
    pinball_loss,
    randomised_pit,
    rmse,
    rmsse,
    seasonal_scale,
    wape,
    wql,
    wrmsse,
)

__all__ = [
    "bias",
    "calibration",
    "calibration_gap",
    "confusion_figure",
    "confusion_frame",
    "mae",
    "mape",
    "mase",
    "pinball_loss",
    "randomised_pit",
    "recognition_metrics",
    "rmse",
    "rmsse",
    "seasonal_scale",
    "wape",
    "wql",
    "wrmsse",
]
