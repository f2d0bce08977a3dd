"""The model versions that a generation pins, loaded after their folder was checked.

Here: fetching a version from the MLflow registry, its hash, its declared input, prediction. Not here: HTTP, the body of
an invocation.

Contract with whoever registers models: a model version carries the tag `folder_sha256`, the SHA-256 of one line
`<SHA-256 of the file> <path from the folder>` per file of the registered folder, sorted by path; `__pycache__`, and
`registered_model_meta` at the top, are left out: Python and MLflow leave them there when somebody loads the model.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from serving.api.invocations import Column


class ModelRefusedError(Exception):
    """A pinned version that must not or cannot be loaded; the message has the remedy."""


@dataclass(frozen=True)
class LoadedModel:
    """A model version in memory.

    Attributes:
        name: registered model.
        version: number within the name, as text.
        folder_sha256: hash of the folder it was loaded from.
        columns: declared input.
        parameters: declared params.
    """

    name: str
    version: str
    folder_sha256: str
    columns: tuple[Column, ...]
    parameters: tuple[Column, ...]
    _pyfunc: Any

    def predict(self, rows: pd.DataFrame, parameters: Mapping[str, Any]) -> pd.DataFrame:
        """Answer one invocation.

        Raises:
            ValueError: the model refuses these rows.
        """
        answer: pd.DataFrame = self._pyfunc.predict(rows, params=dict(parameters) or None)
        return answer


class Models:
    """Pinned model versions, each loaded once, safe for use from many threads."""

    def __init__(self, tracking_uri: str) -> None:
        """Take the address of the registry; nothing is opened before the first model is asked for."""
        self._tracking_uri = tracking_uri
        # One at a time: MLflow hands the object from a model's code file over in a variable of the whole process.
        self._loading = threading.Lock()
        self._loaded: dict[str, LoadedModel] = {}

    def get(self, name: str, pin: Mapping[str, str]) -> LoadedModel:
        """Return a model version, loading it if it is not the one in memory.

        Args:
            name: registered model.
            pin: version, run_id and folder_sha256 from the manifest.

        Raises:
            ModelRefusedError: the registry does not answer or lacks it, its folder is not the one that was pinned, or
                its code cannot run here.
        """
        model = self._loaded.get(name)
        if model is None or not _is_pinned(model, pin):
            with self._loading:
                model = self._loaded.get(name)
                if model is None or not _is_pinned(model, pin):
                    model = self._loaded[name] = self._load(name, pin)
        return model

    def loaded(self) -> dict[str, str]:
        """Return the versions in memory by name."""
        return {name: model.version for name, model in self._loaded.items()}

    def close(self) -> None:
        """Forget the models."""
        with self._loading:
            self._loaded.clear()

    def _load(self, name: str, pin: Mapping[str, str]) -> LoadedModel:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
        import mlflow.pyfunc
        from mlflow.exceptions import MlflowException

        try:
            with tempfile.TemporaryDirectory(prefix="inventorybot_") as scratch:
                pyfunc = mlflow.pyfunc.load_model(str(self._fetched(name, pin, Path(scratch))))
        except (MlflowException, OSError, ValueError, ImportError) as error:
            raise ModelRefusedError(
                f"{name} version {pin['version']} cannot be loaded from the registry ({type(error).__name__}, the "
                "server's log has more); restore the MLflow folder from a backup, or train, promote and publish again"
            ) from error
        schema, parameters = pyfunc.metadata.get_input_schema(), pyfunc.metadata.get_params_schema()
        return LoadedModel(
            name=name,
            version=pin["version"],
            folder_sha256=pin["folder_sha256"],
            columns=tuple(Column(column.name, column.type.name, column.required) for column in schema or ()),
            parameters=tuple(Column(spec.name, spec.dtype.name, False) for spec in parameters or ()),
            _pyfunc=pyfunc,
        )

    def _fetched(self, name: str, pin: Mapping[str, str], scratch: Path) -> Path:
        """Copy the registered folder and check the copy, so that what is checked is what is loaded."""
        import mlflow.artifacts
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        client = MlflowClient(tracking_uri=self._tracking_uri, registry_uri=self._tracking_uri)
        tag = client.get_model_version(name, pin["version"]).tags.get("folder_sha256")
        address = client.get_model_version_download_uri(name, pin["version"])
        copy = Path(
            mlflow.artifacts.download_artifacts(
                artifact_uri=address, dst_path=str(scratch), tracking_uri=self._tracking_uri
            )
        )
        for cache in sorted(copy.rglob("__pycache__")):
            shutil.rmtree(cache)
        (copy / "registered_model_meta").unlink(missing_ok=True)
        found = _folder_sha256(copy)
        if not found == tag == pin["folder_sha256"]:
            raise ModelRefusedError(
                f"{name} version {pin['version']} is not what was published: its folder hashes to {found}, the "
                f"registry says {tag}, the manifest {pin['folder_sha256']}; restore the MLflow folder from a backup, "
                "or roll back to another version and publish again"
            )
        return copy


def _is_pinned(model: LoadedModel, pin: Mapping[str, str]) -> bool:
    return (model.version, model.folder_sha256) == (pin["version"], pin["folder_sha256"])


def _folder_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{content} {path.relative_to(folder).as_posix()}\n".encode())
    return digest.hexdigest()
