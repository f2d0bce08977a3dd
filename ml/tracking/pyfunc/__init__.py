"""The code that MLflow copies into a registered model, one file per model."""
