"""The registered model demand_forecast: demand history in, forecast of every series out.

MLflow copies this file into the registered model and runs it when the model is loaded; `ml` is installed beside it.
"""

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from ml.schema import KEYS


class DemandForecast(PythonModel):
    """A saved DemandForecaster behind rows of history."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the saved folder."""
        from ml.forecast import load

        self.forecaster = load(context.artifacts["saved_model"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Forecast the series of the rows given.

        Args:
            context: unused; MLflow passes it.
            model_input: sku, location_id, period_start, demand_units, and optionally is_in_stock and covariates that
                are known ahead.
            params: horizon: periods to answer, 0 for all the model has. history_until: ISO date of the last period of
                history; later rows give the covariates of the periods to come; empty: every row is history.

        Returns:
            sku, location_id, period_start, mean_units and the quantile columns, for periods 1 … horizon.

        Raises:
            ValueError: horizon is beyond what the model forecasts, or below 0; or the forecaster refuses the rows.
        """
        wanted = {"horizon": 0, "history_until": "", **(params or {})}
        reach = self.forecaster.horizon
        if not 0 <= wanted["horizon"] <= reach:
            raise ValueError(
                f"horizon is {wanted['horizon']} and this model forecasts {reach} periods: ask for 1 to {reach}, or 0 "
                "for all of them"
            )
        history, future = model_input, None
        if wanted["history_until"]:
            is_future = model_input["period_start"] > pd.Timestamp(wanted["history_until"])
            history = model_input[~is_future]
            future = model_input[is_future].drop(columns=["demand_units", "is_in_stock"], errors="ignore")
        forecast = self.forecaster.predict(history, None if future is None or future.empty else future)
        # The forecaster also answers for the brand-new items of its training.
        forecast = forecast.merge(model_input[KEYS].drop_duplicates(), on=KEYS)
        if wanted["horizon"] > 0:
            forecast = forecast[forecast.groupby(KEYS).cumcount() < wanted["horizon"]]
        return forecast.reset_index(drop=True)


set_model(DemandForecast())
