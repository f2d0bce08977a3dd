"""The registered model product_photos: encoded photos in, recognised product out.

MLflow copies this file into the registered model and runs it when the model is loaded; `ml` is installed beside it.
"""

import base64
import binascii
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class ProductPhotos(PythonModel):
    """A saved Recogniser behind a column of photos."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the saved folder."""
        from ml.images import Recogniser

        self.recogniser = Recogniser.load(context.artifacts["saved_model"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Recognise every photo.

        Args:
            context: unused; MLflow passes it.
            model_input: image_base64, a JPEG or PNG file in base64, one photo per row.
            params: none.

        Returns:
            The recogniser's frame in the order of the rows: label, score, is_unknown and the five best labels.

        Raises:
            ValueError: a row is no base64; the message gives its number, from 0.
        """
        images = []
        for row, text in enumerate(model_input["image_base64"]):
            try:
                images.append(base64.b64decode(text, validate=True))
            except (binascii.Error, TypeError, ValueError):
                raise ValueError(f"row {row}: image_base64 is not base64; encode the file's bytes") from None
        return self.recogniser.predict(images)


set_model(ProductPhotos())
