"""How well forecasts, labels and scores agree with what happened: pure functions of arrays."""

from ml.metrics.classification import (
    area_ratio_intervals,
    confusion_figure,
    confusion_frame,
    hit_ratio_interval,
    hits,
    recognition_metrics,
)
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
from ml.metrics.pit import PitDistance, pit_distance
from ml.metrics.reason import hardest, reason, reason_chart
from ml.metrics.verdict import VERDICT_COLUMNS, Criterion, interval, number, verdict_frame, verdict_table

__all__ = [
    "VERDICT_COLUMNS",
    "Criterion",
    "PitDistance",
    "area_ratio_intervals",
    "bias",
    "calibration",
    "calibration_gap",
    "confusion_figure",
    "confusion_frame",
    "hardest",
    "hit_ratio_interval",
    "hits",
    "interval",
    "mae",
    "mape",
    "mase",
    "number",
    "pinball_loss",
    "pit_distance",
    "randomised_pit",
    "reason",
    "reason_chart",
    "recognition_metrics",
    "rmse",
    "rmsse",
    "seasonal_scale",
    "verdict_frame",
    "verdict_table",
    "wape",
    "wql",
    "wrmsse",
]
