"""The registered models: what each is asked with, what it needs to run, which code MLflow copies into it.

Here: one `RegisteredModelSpec` per model. Not here: how a training is logged (`ml.tracking.runs`) and registered
(`ml.tracking.registry`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RegisteredModelSpec:
    """What MLflow must know of a model.

    Attributes:
        name: registered model, equal to its experiment; its code is pyfunc/<name>.py.
        description: what it is, what it learns from and how it is judged, in Markdown.
        tags: of the registered model.
        required_columns: what an invocation must carry; every other column of the input example is optional.
        libraries: packages that run it.
        parameters: of an invocation, with their defaults.
    """

    name: str
    description: str
    tags: Mapping[str, str]
    required_columns: tuple[str, ...]
    libraries: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> Path:
        """The file that MLflow copies into the registered model and runs when it is loaded."""
        return Path(__file__).parent / "pyfunc" / f"{self.name}.py"

    @property
    def requirements(self) -> list[str]:
        """The libraries with their installed versions, as pip reads them."""
        return [f"{library}=={metadata.version(library)}" for library in self.libraries]


MODELS = {
    spec.name: spec
    for spec in (
        RegisteredModelSpec(
            "demand_forecast",
            description=(
                "Demand of every sku at every location for each coming day, as a whole distribution: mean, eleven"
                " quantiles and joint paths, from which orders are made.\n\n**Learns from** the daily demand of the"
                " warehouse (marts.fct_daily_demand) with stock-outs, prices, promotions and closed days, and from the"
                " attributes of items (marts.dim_item_locations).\n\n**Judged** on up to five rolling windows that no"
                " model has seen, beside the seasonal naive, recent demand and the champion's own model: WRMSSE and"
                " pinball loss of days, pinball loss of sums over lead times, randomised PIT by demand class, and the"
                " cost of replayed orders.\n\nThe alias champion names the version in use; champion.png of its run"
                " shows why."
            ),
            tags={"task": "probabilistic forecasting", "grain": "sku, location, day"},
            required_columns=("sku", "location_id", "period_start", "demand_units"),
            libraries=("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "statsforecast", "tensorflow", "xgboost"),
            parameters={"horizon": 0, "history_until": ""},
        ),
        RegisteredModelSpec(
            "stock_anomalies",
            description=(
                "Days on which the stock record or the demand looks wrong, with a score from 0 to 1, a kind and a"
                " reason.\n\n**Learns from** the daily stock and demand of the warehouse (marts.fct_daily_stock,"
                " marts.fct_daily_demand), into which errors are injected.\n\n**Judged** on errors injected into days"
                " that training has not seen, beside a robust z-score: areas under the precision-recall and the ROC"
                " curve."
            ),
            tags={"task": "anomaly detection", "grain": "sku, location, day"},
            required_columns=(
                *("sku", "location_id", "day"),
                *("opening_units", "receipt_units", "sales_units", "other_units", "closing_units"),
            ),
            libraries=("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "xgboost"),
            parameters={"since": ""},
        ),
        RegisteredModelSpec(
            "product_photos",
            description=(
                "Names the product on a shelf photo, or answers that it does not know it.\n\n**Learns from** the"
                " labelled photos of the landing folder (marts.dim_product_photos), from scratch.\n\n**Judged** on"
                " photos that training has not seen, the latest of each label, beside a linear model on gradients"
                " (HOG): accuracy and top-5 accuracy."
            ),
            tags={"task": "image classification", "grain": "photo"},
            required_columns=("image_base64",),
            libraries=("mlflow", "numpy", "pandas", "pillow", "tensorflow"),
        ),
    )
}
MODEL_NAMES = tuple(MODELS)
