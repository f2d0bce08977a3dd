"""Experiments and registered models: the one package of ours that imports MLflow."""

from ml.tracking.registry import (
    CHAMPION,
    MODEL_NAMES,
    SAFE_FORMATS,
    SAVED_MODEL,
    FolderHashError,
    GateNotPassedError,
    Tracking,
    Version,
    folder_sha256,
    training_fingerprint,
)

__all__ = [
    "CHAMPION",
    "MODEL_NAMES",
    "SAFE_FORMATS",
    "SAVED_MODEL",
    "FolderHashError",
    "GateNotPassedError",
    "Tracking",
    "Version",
    "folder_sha256",
    "training_fingerprint",
]
