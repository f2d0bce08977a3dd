"""Experiments and registered models: the one package of ours that imports MLflow."""

from ml.tracking.folders import SAFE_FORMATS, SAVED_MODEL, FolderHashError, folder_sha256
from ml.tracking.registry import CHAMPION, GateNotPassedError, Tracking, Version, training_fingerprint
from ml.tracking.runs import DatasetNote, TrainingRecord
from ml.tracking.specs import MODEL_NAMES

__all__ = [
    "CHAMPION",
    "MODEL_NAMES",
    "SAFE_FORMATS",
    "SAVED_MODEL",
    "DatasetNote",
    "FolderHashError",
    "GateNotPassedError",
    "Tracking",
    "TrainingRecord",
    "Version",
    "folder_sha256",
    "training_fingerprint",
]
