"""Suspicious days in the stock record: the detector, its lessons and its evaluation."""

from ml.anomaly.detector import KINDS, Detector, train
from ml.anomaly.evaluation import evaluate, precision_recall_curves, ratio_intervals, top_anomalies_figure
from ml.anomaly.injection import inject
from ml.anomaly.robust_z import robust_z_baseline, robust_z_report

__all__ = [
    "KINDS",
    "Detector",
    "evaluate",
    "inject",
    "precision_recall_curves",
    "ratio_intervals",
    "robust_z_baseline",
    "robust_z_report",
    "top_anomalies_figure",
    "train",
]
