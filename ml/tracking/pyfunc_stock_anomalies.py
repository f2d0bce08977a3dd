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
        """Score every row.

        Args:
            context: unused; MLflow passes it.
            model_input: sku, location_id, day and the measured columns of fct_daily_stock.
            params: none.

        Returns:
            The detector's frame: keys, anomaly_score in [0, 1], kind, reason.
        """
        return self.detector.score(model_input)


set_model(StockAnomalies())
