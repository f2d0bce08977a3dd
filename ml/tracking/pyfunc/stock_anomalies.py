"""The registered model stock_anomalies: daily stock series in, one score per row out.

MLflow copies this file into the registered model and runs it when the model is loaded; `ml` is installed beside it.
"""

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class StockAnomalies(PythonModel):
    """A saved Detector behind rows of daily stock."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the saved folder."""
        from ml.anomaly import Detector

        self.detector = Detector.load(context.artifacts["saved_model"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Score the rows given.

        Args:
            context: unused; MLflow passes it.
            model_input: one row per sku, location and day: the columns that `Detector.score` lists.
            params: since: ISO date of the first day to score, earlier rows are context; empty: every row is scored.

        Returns:
            sku, location_id, day, anomaly_score in [0, 1], kind, reason, record_error_score.
        """
        since = (params or {}).get("since", "")
        return self.detector.score(model_input, pd.Timestamp(since) if since else None).reset_index(drop=True)


set_model(StockAnomalies())
