"""Suspicious days in the stock record: the detector, its lessons and its evaluation."""

from ml.anomaly.detector import KINDS, Detector, train
from ml.anomaly.evaluation import evaluate, robust_z_baseline, top_anomalies_figure
from ml.anomaly.injection import plant

__all__ = ["KINDS", "Detector", "evaluate", "plant", "robust_z_baseline", "top_anomalies_figure", "train"]
