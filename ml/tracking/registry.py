"""Experiments and registered models in MLflow.

Here: logging a training with everything a reviewer needs, registering its saved folder, promoting and rolling back
the champion, and handing a folder back only after its hash was checked. In pyfunc/, the models-from-code files
that MLflow copies into a registered model. Not here: training, gates (they arrive as a verdict), the layout of the
home (addresses are passed in).

Contract with `serving`, which reads registered models without importing this module: a version carries the tag
`folder_sha256`, the hash of the whole registered folder as `folder_sha256()` below computes it, and the same value
stands in the run's `verdict.json`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

MODEL_NAMES = ("demand_forecast", "stock_anomalies", "product_photos")
CHAMPION = "champion"
SAVED_MODEL = "saved_model"
SAFE_FORMATS = frozenset({".json", ".keras", ".npz", ".ubj"})

# What an invocation must carry; every other column of the input example is optional.
_REQUIRED_COLUMNS = {
    "demand_forecast": ("sku", "location_id", "period_start", "demand_units"),
    "stock_anomalies": (
        *("sku", "location_id", "day"),
        *("opening_units", "receipt_units", "sales_units", "other_units", "closing_units"),
    ),
    "product_photos": ("image_base64",),
}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "demand_forecast": {"horizon": 0, "history_until": ""},
    "stock_anomalies": {"since": ""},
    "product_photos": {},
}
_LIBRARIES = {
    "demand_forecast": ("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "statsforecast", "tensorflow", "xgboost"),
    "stock_anomalies": ("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "xgboost"),
    "product_photos": ("mlflow", "numpy", "pandas", "pillow", "tensorflow"),
}
# MLflow refuses longer parameter values; the full text is in parameters.json.
_PARAMETER_CHARACTERS = 500
# Limits of MLflow's log_batch.
_METRICS_A_BATCH, _PARAMETERS_A_BATCH = 1000, 100


class GateNotPassedError(ValueError):
    """A version whose stored verdict failed was about to become champion."""


class FolderHashError(ValueError):
    """A registered folder is not the one the gate judged."""


@dataclass(frozen=True)
class Version:
    """One version of a registered model.

    Attributes:
        name: registered model, equal to its experiment.
        version: number within the name, as text.
        run_id: the run that trained it.
        training_fingerprint: data, code and parameters in one hash; see `training_fingerprint`.
        data_fingerprint: hash of the training data.
        code_fingerprint: hash of the code that trained it.
        folder_sha256: hash of the registered folder.
        passed: whether every criterion of the gate was met.
        created_at: registration, UTC.
        metrics: last value of each metric of the run.
    """

    name: str
    version: str
    run_id: str
    training_fingerprint: str
    data_fingerprint: str
    code_fingerprint: str
    folder_sha256: str
    passed: bool
    created_at: datetime
    metrics: Mapping[str, float]


def training_fingerprint(data_fingerprint: str, code_fingerprint: str, parameters: Mapping[str, Any]) -> str:
    """Return one hash that changes when data, code or parameters of a training change.

    Args:
        data_fingerprint: hash of the training data.
        code_fingerprint: hash of the training code and its libraries.
        parameters: what the training is called with; values that JSON can hold, order is irrelevant.

    Returns:
        64 hexadecimal digits.
    """
    text = json.dumps([data_fingerprint, code_fingerprint, dict(parameters)], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def folder_sha256(folder: Path) -> str:
    """Return the hash of a folder: names and contents of its files, whatever their dates and owners.

    It is the SHA-256 of one line `<SHA-256 of the file> <path from the folder>` per file, sorted by path. `__pycache__`
    is left out: Python writes it beside a model's code when somebody loads the model in place.

    Args:
        folder: an existing folder.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder holds a symbolic link, whose target the hash could not vouch for.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; restore it, or train and promote another version")
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        relative = path.relative_to(folder)
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link; a model folder holds plain files only")
        if path.is_file() and "__pycache__" not in relative.parts:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{content} {relative.as_posix()}\n".encode())
    return digest.hexdigest()


class Tracking:
    """Experiments and registered models behind one address.

    Everything goes through clients of that address; MLflow's process-wide tracking URI is neither read nor set.
    """

    def __init__(self, tracking_uri: str, artifact_root: str | Path) -> None:
        """Open the registry; create database, experiments and registered models where they are missing.

        Several processes may do this at once: MLflow's own first start is not safe for that, so it runs under a file
        lock beside an SQLite database. On a shared database server the first start belongs to the set-up.

        Args:
            tracking_uri: `sqlite:////absolute/path/mlflow.db`, a PostgreSQL address, or an MLflow server's.
            artifact_root: folder or object-store address under which each experiment keeps its files.

        Raises:
            ValueError: the address is a folder (MLflow's file store has no model registry worth having).
        """
        if urlparse(tracking_uri).scheme in ("", "file"):
            raise ValueError(
                f"tracking address {tracking_uri!r} is a folder; give a database such as sqlite:////path/to/mlflow.db"
            )
        self.tracking_uri = tracking_uri
        root = str(artifact_root)
        self.artifact_root = root if urlparse(root).scheme else Path(root).absolute().as_uri()
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
        from mlflow import MlflowClient

        # INFO has a line for every table of a fresh database; the last one warns that a uv environment holds no pip.
        for logger, level in (
            ("mlflow", logging.WARNING),
            ("alembic", logging.WARNING),
            ("mlflow.utils.environment", logging.ERROR),
        ):
            logging.getLogger(logger).setLevel(level)
        with _first_start(tracking_uri):
            self._client: MlflowClient = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
            self._experiments = {name: self._open(name) for name in MODEL_NAMES}

    def _open(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            experiment_id = str(
                self._client.create_experiment(name, artifact_location=f"{self.artifact_root.rstrip('/')}/{name}")
            )
        else:
            experiment_id = str(experiment.experiment_id)
            if experiment.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment_id)
        try:
            self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._client.create_registered_model(name)
        return experiment_id

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            raise ValueError(f"no model is called {name!r}; the models are {', '.join(MODEL_NAMES)}")
        return self._experiments[name]

    def training_fingerprint_seen(self, name: str, fingerprint: str) -> Version | None:
        """Return the newest version trained with this fingerprint, or None.

        Args:
            name: registered model.
            fingerprint: from `training_fingerprint`.
        """
        self._experiment(name)
        found = self._client.search_model_versions(f"name = '{name}' and tags.training_fingerprint = '{fingerprint}'")
        newest = max(found, key=lambda version: int(version.version), default=None)
        return None if newest is None else self._version(newest)

    def version(self, name: str, number: str | int) -> Version:
        """Return one version.

        Raises:
            ValueError: the model has no such version.
        """
        from mlflow.exceptions import MlflowException

        self._experiment(name)
        try:
            return self._version(self._client.get_model_version(name, str(number)))
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            known = sorted(int(found.version) for found in self._client.search_model_versions(f"name = '{name}'"))
            raise ValueError(f"{name} has no version {number}; it has {known or 'none yet: train it first'}") from None

    def versions(self, name: str) -> list[Version]:
        """Return all versions of a model, newest first."""
        self._experiment(name)
        found = self._client.search_model_versions(f"name = '{name}'")
        return [self._version(version) for version in sorted(found, key=lambda version: -int(version.version))]

    def champion(self, name: str) -> Version | None:
        """Return the version with the alias champion, or None where none was promoted."""
        self._experiment(name)
        number = self._champion_number(name)
        return None if number is None else self.version(name, number)

    def _champion_number(self, name: str) -> str | None:
        number = self._client.get_registered_model(name).aliases.get(CHAMPION)
        return None if number is None else str(number)

    def _version(self, found: Any) -> Version:
        tags = found.tags
        return Version(
            name=found.name,
            version=str(found.version),
            run_id=found.run_id,
            training_fingerprint=tags["training_fingerprint"],
            data_fingerprint=tags["data_fingerprint"],
            code_fingerprint=tags["code_fingerprint"],
            folder_sha256=tags["folder_sha256"],
            passed=tags["gate"] == "passed",
            created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
            metrics=dict(self._client.get_run(found.run_id).data.metrics),
        )

    def training_runs(self, name: str | None = None, since: datetime | None = None) -> int:
        """Count training runs, finished or not.

        Args:
            name: one model, or None for all.
            since: count runs that started at or after this instant (with a time zone); None counts all.
        """
        experiments = list(self._experiments.values()) if name is None else [self._experiment(name)]
        wanted = "" if since is None else f"attributes.start_time >= {math.floor(since.timestamp() * 1000)}"
        count, token = 0, None
        while True:
            page = self._client.search_runs(experiments, filter_string=wanted, max_results=1000, page_token=token)
            count, token = count + len(page), page.token
            if not token:
                return count

    def log_training(
        self,
        name: str,
        *,
        saved_model_folder: Path,
        input_example: pd.DataFrame,
        output_example: pd.DataFrame | None = None,
        verdict: pd.DataFrame,
        metrics: Mapping[str, float | Sequence[float]],
        parameters: Mapping[str, Any],
        fingerprint: str,
        data_fingerprint: str,
        code_fingerprint: str,
        model_card: str,
        figures: Mapping[str, bytes | Figure] | None = None,
        tables: Mapping[str, pd.DataFrame] | None = None,
        environment: Mapping[str, Any] | None = None,
        lock: Path | None = None,
        tags: Mapping[str, str] | None = None,
        started_at: datetime | None = None,
    ) -> Version:
        """Log one training as one run and register its model; the champion stays what it was.

        Args:
            name: experiment and registered model.
            saved_model_folder: what the model's `save` wrote; only .json, .keras, .npz and .ubj files.
            input_example: a few raw rows as an invocation sends them; whole numbers are declared as doubles.
            output_example: a few rows of the answer; with it the registered model declares its output columns.
            verdict: one row per criterion of the gate; the column `passed` (bool) decides, the others explain.
            metrics: a number, or a sequence that is logged with steps 0, 1, 2 ... (a learning curve).
            parameters: what the training was called with.
            fingerprint: from `training_fingerprint`.
            data_fingerprint: hash of the training data.
            code_fingerprint: hash of the training code.
            model_card: Markdown; also the description of the version.
            figures: name → PNG bytes or matplotlib figure, stored as figures/<name>.png.
            tables: name → frame, stored as tables/<name>.csv.
            environment: what the training ran with, stored as environment.json; its texts, numbers and flags also
                become tags `environment.<name>` of the run, and `git_commit` the source that MLflow shows.
            lock: requirements with hashes, stored under its own name beside it.
            tags: further tags of the run.
            started_at: when the training began (with a time zone); now, where not given.

        Returns:
            The new version.

        Raises:
            ValueError: a file in another format, an empty verdict, a verdict without `passed`, or an input example
                that lacks a required column.
        """
        experiment_id = self._experiment(name)
        _check_formats(saved_model_folder)
        if "passed" not in verdict or verdict.empty:
            raise ValueError(
                f"the verdict on {name} has {len(verdict)} rows and columns {list(verdict)}; it needs `passed`"
            )
        signature = _signature(name, input_example, output_example)
        passed = bool(verdict["passed"].astype(bool).all())
        own_tags = {
            "training_fingerprint": fingerprint,
            "data_fingerprint": data_fingerprint,
            "code_fingerprint": code_fingerprint,
            "gate": "passed" if passed else "failed",
        }
        started = datetime.now(UTC) if started_at is None else started_at
        run = self._client.create_run(
            experiment_id,
            start_time=math.floor(started.timestamp() * 1000),
            tags={**_environment_tags(environment or {}), **(tags or {}), **own_tags},
            run_name=f"{name} {data_fingerprint[:8]}",
        )
        run_id = run.info.run_id
        status = "FAILED"
        try:
            with tempfile.TemporaryDirectory(prefix="inventorybot_") as scratch:
                self._log_numbers(run_id, parameters, metrics)
                package, model_id = self._package(
                    name, run_id, saved_model_folder, input_example, signature, Path(scratch)
                )
                own_tags["folder_sha256"] = folder_sha256(package)
                self._client.log_model_artifacts(model_id, str(package))
                self._client.finalize_logged_model(model_id, "READY")
                files = Path(scratch, "files")
                _write_artifacts(files, parameters, model_card, figures or {}, tables or {})
                if environment is not None:
                    _write_json(files / "environment.json", dict(environment))
                if lock is not None:
                    shutil.copy(lock, files / lock.name)
                _write_json(
                    files / "verdict.json",
                    {"passed": passed, "folder_sha256": own_tags["folder_sha256"], "criteria": _records(verdict)},
                )
                self._client.log_artifacts(run_id, str(files))
                self._client.set_tag(run_id, "folder_sha256", own_tags["folder_sha256"])
                registered = self._client.create_model_version(
                    name,
                    source=self._client.get_logged_model(model_id).artifact_location,
                    run_id=run_id,
                    model_id=model_id,
                    tags=own_tags,
                    description=model_card,
                )
                link = [{"name": name, "version": str(registered.version)}]
                self._client.set_logged_model_tags(model_id, {"mlflow.modelVersions": json.dumps(link)})
            status = "FINISHED"
        finally:
            self._client.set_terminated(run_id, status)
        return self._version(registered)

    def _log_numbers(
        self, run_id: str, parameters: Mapping[str, Any], metrics: Mapping[str, float | Sequence[float]]
    ) -> None:
        from mlflow.entities import Metric, Param

        now = math.floor(datetime.now(UTC).timestamp() * 1000)
        points = [
            Metric(metric, float(value), now, step)
            for metric, values in metrics.items()
            for step, value in enumerate(values if isinstance(values, Sequence) else [values])
        ]
        for start in range(0, len(points), _METRICS_A_BATCH):
            self._client.log_batch(run_id, metrics=points[start : start + _METRICS_A_BATCH])
        texts = [Param(key, _parameter_text(value)) for key, value in parameters.items()]
        for start in range(0, len(texts), _PARAMETERS_A_BATCH):
            self._client.log_batch(run_id, params=texts[start : start + _PARAMETERS_A_BATCH])

    def _package(
        self,
        name: str,
        run_id: str,
        saved_model_folder: Path,
        input_example: pd.DataFrame,
        signature: ModelSignature,
        scratch: Path,
    ) -> tuple[Path, str]:
        import mlflow.pyfunc
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        saved = shutil.copytree(saved_model_folder, scratch / SAVED_MODEL)
        model = self._client.create_logged_model(self._experiment(name), name=name, source_run_id=run_id)
        self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        package = scratch / "package"
        mlflow.pyfunc.save_model(
            path=str(package),
            python_model=str(Path(__file__).parent / "pyfunc" / f"{name}.py"),
            artifacts={SAVED_MODEL: str(saved)},
            mlflow_model=Model(
                artifact_path=model.artifact_location, model_uuid=model.model_id, run_id=run_id, model_id=model.model_id
            ),
            signature=signature,
            input_example=_as_doubles(input_example),
            # Inferring the requirements loads the model in another process: 8 to 16 s.
            pip_requirements=[f"{library}=={metadata.version(library)}" for library in _LIBRARIES[name]],
        )
        for cache in sorted(package.rglob("__pycache__")):
            shutil.rmtree(cache)
        return package, model.model_id

    def promote(self, name: str, number: str | int) -> Version:
        """Make a version the champion.

        Idempotent, so that a start can repair the alias from the epoch that the online store recorded.

        Args:
            name: registered model.
            number: version to promote.

        Returns:
            The champion.

        Raises:
            GateNotPassedError: its stored verdict failed.
            FolderHashError: its folder is not the one the gate judged.
            ValueError: there is no such version.
        """
        version = self.version(name, number)
        if not version.passed:
            raise GateNotPassedError(
                f"{name} version {version.version} failed its gate (verdict.json of run {version.run_id}); "
                "the champion stays; train again or promote a version that passed"
            )
        self.load_folder(version)
        before = self._champion_number(name)
        if before != version.version:
            if before is not None:
                self._client.set_registered_model_tag(name, "previous_champion", before)
            self._client.set_registered_model_alias(name, CHAMPION, version.version)
        return version

    def rollback(self, name: str, to_version: str | int | None = None) -> Version:
        """Make an earlier version the champion again.

        Args:
            name: registered model.
            to_version: the version; the champion before the present one, where not given.

        Returns:
            The champion.

        Raises:
            ValueError: no version was given and none was champion before; otherwise as `promote`.
        """
        if to_version is None:
            to_version = self._client.get_registered_model(name).tags.get("previous_champion")
        if to_version is None:
            raise ValueError(f"{name} had no champion before the present one; name the version to go back to")
        return self.promote(name, to_version)

    def demote(self, name: str) -> None:
        """Leave a model without champion."""
        self._experiment(name)
        self._client.delete_registered_model_alias(name, CHAMPION)

    def verdict(self, version: Version) -> dict[str, Any]:
        """Return the stored verdict: passed, folder_sha256 and one record per criterion."""
        import mlflow.artifacts

        run = self._client.get_run(version.run_id)
        path = mlflow.artifacts.download_artifacts(
            artifact_uri=f"{run.info.artifact_uri}/verdict.json", tracking_uri=self.tracking_uri
        )
        stored: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return stored

    def table(self, version: Version, name: str) -> pd.DataFrame | None:
        """Return a table that the training of a version logged, or None where it logged none of that name."""
        import mlflow.artifacts
        import pandas as pd
        from mlflow.exceptions import MlflowException

        run = self._client.get_run(version.run_id)
        try:
            path = mlflow.artifacts.download_artifacts(
                artifact_uri=f"{run.info.artifact_uri}/tables/{name}.csv", tracking_uri=self.tracking_uri
            )
        except (MlflowException, OSError):
            return None
        return pd.read_csv(path)

    def load_folder(self, version: Version) -> Path:
        """Return the folder that the model's own `load` reads, after checking it against the verdict.

        Args:
            version: from `champion`, `version` or `log_training`.

        Returns:
            A local folder: the stored one where artifacts are local, else a download.

        Raises:
            FolderHashError: the registered folder or the verdict is gone, or the folder differs from the one that the
                verdict names, or the tag does.
        """
        import mlflow.artifacts
        from mlflow.exceptions import MlflowException

        address = self._client.get_model_version_download_uri(version.name, version.version)
        try:
            package = Path(mlflow.artifacts.download_artifacts(artifact_uri=address, tracking_uri=self.tracking_uri))
            judged = self.verdict(version)["folder_sha256"]
            found = folder_sha256(package)
        except (MlflowException, OSError) as error:
            raise FolderHashError(
                f"the files of {version.name} version {version.version} cannot be read ({error}); the registry expects "
                f"them under {address}: bring them back from a backup, or roll back to another version"
            ) from error
        if not found == judged == version.folder_sha256:
            raise FolderHashError(
                f"{version.name} version {version.version} is not what its gate judged: folder {package} hashes to "
                f"{found}, the verdict says {judged}, the registry {version.folder_sha256}; restore the folder from a "
                "backup, or roll back to another version"
            )
        return package / "artifacts" / SAVED_MODEL


@contextmanager
def _first_start(tracking_uri: str) -> Iterator[None]:
    """Hold a lock beside an SQLite database and create it where it is missing; other databases have none to hold."""
    address = urlparse(tracking_uri)
    if not address.scheme.startswith("sqlite"):
        yield
        return
    database = Path(unquote(address.path)[1:])
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists():
            # A log of its own: who looks at MLflow does not hold up a training, and the first start waits for the disk
            # a third as long.
            with closing(sqlite3.connect(database)) as fresh:
                fresh.execute("pragma journal_mode = wal")
        yield


def _check_formats(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; save the model first")
    files = [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
    refused = [
        path.relative_to(folder).as_posix() for path in files if path.suffix not in SAFE_FORMATS or path.is_symlink()
    ]
    if refused or not files:
        raise ValueError(
            f"{folder} holds {refused or 'nothing'}; a registered model consists of {', '.join(sorted(SAFE_FORMATS))} "
            "files only, because they load without pickle"
        )


def _as_doubles(df: pd.DataFrame) -> pd.DataFrame:
    """Turn whole numbers into doubles: JSON knows no difference, and an integer column could hold no gap."""
    from pandas.api.types import is_numeric_dtype

    numeric = [column for column in df if is_numeric_dtype(df[column]) and df[column].dtype != bool]
    return df.astype(dict.fromkeys(numeric, "float64"))


def _signature(name: str, input_example: pd.DataFrame, output_example: pd.DataFrame | None) -> ModelSignature:
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, Schema, TensorSpec

    required = _REQUIRED_COLUMNS[name]
    missing = [column for column in required if column not in input_example]
    if missing:
        raise ValueError(f"the input example of {name} lacks {missing}; it has {list(input_example)}")
    output = None if output_example is None else _as_doubles(output_example)
    inferred = infer_signature(_as_doubles(input_example), output, _PARAMETERS[name] or None)
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(column.type, column.name, required=column.name in required) for column in inferred.inputs
    ]
    return ModelSignature(inputs=Schema(columns), outputs=inferred.outputs, params=inferred.params)


def _environment_tags(environment: Mapping[str, Any]) -> dict[str, str]:
    tags = {f"environment.{name}": str(value) for name, value in environment.items() if isinstance(value, str | int)}
    commit = environment.get("git_commit")
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


def _parameter_text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _PARAMETER_CHARACTERS else f"{text[: _PARAMETER_CHARACTERS - 1]}…"


def _records(df: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(df.to_json(orient="records", date_format="iso", double_precision=15))
    return records


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, default=str, allow_nan=False) + "\n", encoding="utf-8")


def _write_artifacts(
    files: Path,
    parameters: Mapping[str, Any],
    model_card: str,
    figures: Mapping[str, bytes | Figure],
    tables: Mapping[str, pd.DataFrame],
) -> None:
    for folder in ("figures", "tables"):
        (files / folder).mkdir(parents=True)
    for name, figure in figures.items():
        path = files / "figures" / f"{name}.png"
        if isinstance(figure, bytes):
            path.write_bytes(figure)
        else:
            figure.savefig(path, format="png", bbox_inches="tight")
    for name, table in tables.items():
        table.to_csv(files / "tables" / f"{name}.csv", index=False)
    (files / "model_card.md").write_text(model_card, encoding="utf-8")
    _write_json(files / "parameters.json", dict(parameters))
