"""Forecasts judged on periods they have not seen: rolling origins, the gate, what became of them."""

from ml.backtest.calibration import pit_by_class
from ml.backtest.candidates import BASELINE, CANDIDATE, Candidates, candidate_members, candidates_beside, challengers
from ml.backtest.evaluation import Evaluation, evaluate, stratified_series
from ml.backtest.gate import PIT_LIMIT, verdict
from ml.backtest.monitoring import accuracy_by_lag, bias_alarms, calibration_by_level, drift
from ml.backtest.plots import pit_histograms
from ml.backtest.setup import BacktestSetup
from ml.backtest.tallies import SEGMENTS

__all__ = [
    "BASELINE",
    "CANDIDATE",
    "PIT_LIMIT",
    "SEGMENTS",
    "BacktestSetup",
    "Candidates",
    "Evaluation",
    "accuracy_by_lag",
    "bias_alarms",
    "calibration_by_level",
    "candidate_members",
    "candidates_beside",
    "challengers",
    "drift",
    "evaluate",
    "pit_by_class",
    "pit_histograms",
    "stratified_series",
    "verdict",
]
