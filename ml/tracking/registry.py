"""Experiments and registered models in MLflow.

Here: logging a training (`ml.tracking.runs`), registering its saved folder, promoting and rolling back
the champion, and handing a folder back only after its hash was checked. In pyfunc/, the models-from-code files
that MLflow copies into a registered model. Not here: training, gates (they arrive as a verdict), the layout of the
home (addresses are passed in).

Contract with `serving`, which reads registered models without importing this module: a version carries the tag
`folder_sha256`, the hash of the whole registered folder as `ml.tracking.folders` computes it, and the same value
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
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from ml.tracking.folders import SAVED_MODEL, FolderHashError, folder_sha256
from ml.tracking.runs import REASON_FILE, VERDICT_FILE, TrainingRecord, as_doubles, log_numbers
from ml.tracking.specs import MODEL_NAMES, MODELS

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

CHAMPION = "champion"
# What MLflow shows above the runs of an experiment.
_DESCRIPTION = "mlflow.note.content"
# Without it MLflow shows an experiment as one of language models, and hides its runs behind their evaluations.
_KIND = "mlflow.experimentKind"


class GateNotPassedError(ValueError):
    """A version whose stored verdict failed was about to become champion."""


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

        spec = MODELS[name]
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            experiment_id = str(
                self._client.create_experiment(name, artifact_location=f"{self.artifact_root.rstrip('/')}/{name}")
            )
        else:
            experiment_id = str(experiment.experiment_id)
            if experiment.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment_id)
        for tag, text in ((_DESCRIPTION, spec.description), (_KIND, "custom_model_development")):
            if experiment is None or experiment.tags.get(tag) != text:
                self._client.set_experiment_tag(experiment_id, tag, text)
        try:
            registered = self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            registered = self._client.create_registered_model(name)
        if registered.description != spec.description:
            self._client.update_registered_model(name, spec.description)
        for tag, value in spec.tags.items():
            if (registered.tags or {}).get(tag) != value:
                self._client.set_registered_model_tag(name, tag, value)
        return experiment_id

    def page(self, version: Version) -> str:
        """Return the path, in the pages of MLflow, of the picture that shows why a version is champion or not."""
        return f"#/experiments/{self._experiment(version.name)}/runs/{version.run_id}/artifacts/{REASON_FILE}"

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

    def log_training(self, record: TrainingRecord) -> Version:
        """Log one training as one run and register its model; the champion stays what it was.

        Args:
            record: of the training.

        Returns:
            The new version.

        Raises:
            ValueError: a file in another format, an empty verdict, a verdict without `passed`, or an input example
                that lacks a required column.
        """
        experiment_id = self._experiment(record.name)
        record.check()
        signature = record.signature()
        started = datetime.now(UTC) if record.started_at is None else record.started_at
        run = self._client.create_run(
            experiment_id,
            start_time=math.floor(started.timestamp() * 1000),
            tags=record.run_tags,
            run_name=f"{record.name} {record.data_fingerprint[:8]}",
        )
        run_id = run.info.run_id
        status = "FAILED"
        try:
            with tempfile.TemporaryDirectory(prefix="inventorybot_") as scratch:
                package, model_id = self._package(record, run_id, signature, Path(scratch))
                log_numbers(self._client, run_id, model_id, record)
                if record.datasets:
                    self._client.log_inputs(run_id, datasets=[dataset.input() for dataset in record.datasets])
                folder_hash = folder_sha256(package)
                self._client.log_model_artifacts(model_id, str(package))
                self._client.finalize_logged_model(model_id, "READY")
                files = Path(scratch, "files")
                record.write_files(files, folder_hash)
                self._client.log_artifacts(run_id, str(files))
                self._client.log_table(run_id, record.verdict_table, VERDICT_FILE)
                self._client.set_tag(run_id, "folder_sha256", folder_hash)
                registered = self._client.create_model_version(
                    record.name,
                    source=self._client.get_logged_model(model_id).artifact_location,
                    run_id=run_id,
                    model_id=model_id,
                    tags=record.version_tags | {"folder_sha256": folder_hash},
                    description=record.description,
                )
                self._client.set_logged_model_tags(model_id, {_DESCRIPTION: record.description})
                link = [{"name": record.name, "version": str(registered.version)}]
                self._client.set_logged_model_tags(model_id, {"mlflow.modelVersions": json.dumps(link)})
            status = "FINISHED"
        finally:
            self._client.set_terminated(run_id, status)
        return self._version(registered)

    def _package(
        self, record: TrainingRecord, run_id: str, signature: ModelSignature, scratch: Path
    ) -> tuple[Path, str]:
        import mlflow.pyfunc
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        name, spec = record.name, MODELS[record.name]
        saved = shutil.copytree(record.saved_model_folder, scratch / SAVED_MODEL)
        model = self._client.create_logged_model(self._experiment(name), name=name, source_run_id=run_id)
        self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        package = scratch / "package"
        mlflow.pyfunc.save_model(
            path=str(package),
            python_model=str(spec.code),
            artifacts={SAVED_MODEL: str(saved)},
            mlflow_model=Model(
                artifact_path=model.artifact_location, model_uuid=model.model_id, run_id=run_id, model_id=model.model_id
            ),
            signature=signature,
            input_example=as_doubles(record.input_example),
            # Inferring the requirements loads the model in another process: 8 to 16 s.
            pip_requirements=spec.requirements,
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
            raise ValueError(f"{name} had no champion before the current one; name the version to make champion")
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
