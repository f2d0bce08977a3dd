"""Forecasts judged on periods they have not seen: rolling origins, the gate, what became of them."""

from ml.backtest.evaluation import (
    SEGMENTS,
    Evaluation,
    evaluate,
    stratified_series,
)

__all__ = [
    "SEGMENTS",
    "Evaluation",
    "evaluate",
    "stratified_series",
]
