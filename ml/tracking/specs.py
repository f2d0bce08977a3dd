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
        required_columns: what an invocation must carry; every other column of the input example is optional.
        libraries: packages that run it.
        parameters: of an invocation, with their defaults.
    """

    name: str
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
            required_columns=("sku", "location_id", "period_start", "demand_units"),
            libraries=("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "statsforecast", "tensorflow", "xgboost"),
            parameters={"horizon": 0, "history_until": ""},
        ),
        RegisteredModelSpec(
            "stock_anomalies",
            required_columns=(
                *("sku", "location_id", "day"),
                *("opening_units", "receipt_units", "sales_units", "other_units", "closing_units"),
            ),
            libraries=("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "xgboost"),
            parameters={"since": ""},
        ),
        RegisteredModelSpec(
            "product_photos",
            required_columns=("image_base64",),
            libraries=("mlflow", "numpy", "pandas", "pillow", "tensorflow"),
        ),
    )
}
MODEL_NAMES = tuple(MODELS)
