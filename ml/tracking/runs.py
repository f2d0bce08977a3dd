"""What a training leaves in MLflow: its record, the numbers and files of its run, the signature of its model.

Here: one `TrainingRecord` and how it is written down. Not here: versions and the champion (`ml.tracking.registry`).
"""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.tracking.folders import check_formats
from ml.tracking.specs import MODELS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput
    from mlflow.models import ModelSignature

# MLflow refuses longer parameter values; the full text is in parameters.json.
_PARAMETER_CHARACTERS = 500
# Limits of MLflow's log_batch.
_METRICS_A_BATCH, _PARAMETERS_A_BATCH = 1000, 100
# PostgreSQL refuses longer descriptions of versions and digests of data sets.
_DESCRIPTION_CHARACTERS, _DIGEST_CHARACTERS = 5000, 36
VERDICT_FILE, REASON_FILE = "verdict_table.json", "champion.png"
"""The table that MLflow shows of a verdict, and the picture that stands first among the files of a run."""


@dataclass(frozen=True)
class DatasetNote:
    """What MLflow is told of data that a model learns from; the rows stay where they are.

    Attributes:
        name: such as marts.fct_daily_demand.
        digest: hash of the content.
        source: where it lies, within the home.
        columns: name -> type.
        rows: of the content.
    """

    name: str
    digest: str
    source: str
    columns: Mapping[str, str]
    rows: int

    def input(self) -> DatasetInput:
        """Return it as MLflow takes it."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        columns = [{"name": name, "type": kind, "required": True} for name, kind in self.columns.items()]
        return DatasetInput(
            Dataset(
                name=self.name,
                digest=self.digest[:_DIGEST_CHARACTERS],
                source_type="local",
                source=json.dumps({"uri": self.source}),
                schema=json.dumps({"mlflow_colspec": columns}),
                profile=json.dumps({"num_rows": self.rows, "content_hash": self.digest}),
            ),
            [InputTag("mlflow.data.context", "training")],
        )


@dataclass(frozen=True)
class TrainingRecord:
    """One training, with everything a reviewer needs.

    Attributes:
        name: experiment and registered model.
        saved_model_folder: what the model's `save` wrote; only .json, .keras, .npz and .ubj files.
        input_example: a few raw rows as an invocation sends them; whole numbers are declared as doubles.
        output_example: a few rows of the answer; with it the registered model declares its output columns.
        verdict: one row per criterion of the gate, as `ml.metrics.verdict_frame`; the column `passed` decides.
        metrics: a number, or a sequence that is logged with steps 0, 1, 2 ... (a learning curve).
        parameters: what the training was called with.
        fingerprint: from `training_fingerprint`.
        data_fingerprint: hash of the training data.
        code_fingerprint: hash of the training code.
        model_card: Markdown; what decided goes before it and the table of the verdict behind it.
        figures: name → PNG bytes or matplotlib figure, stored as figures/<name>.png.
        tables: name → frame, stored as tables/<name>.csv.
        environment: what the training ran with, stored as environment.json; its texts, numbers and flags also
            become tags `environment.<name>` of the run, and `git_commit` the source that MLflow shows.
        lock: requirements with hashes, stored under its own name beside it.
        tags: further tags of the run.
        started_at: when the training began (with a time zone); now, where not given.
        datasets: what it learnt from.
        source: file of the project that trains it.
        is_publication_blocked: whether nothing of this model is published until a version passes.
    """

    name: str
    saved_model_folder: Path
    input_example: pd.DataFrame
    verdict: pd.DataFrame
    metrics: Mapping[str, float | Sequence[float]]
    parameters: Mapping[str, Any]
    fingerprint: str
    data_fingerprint: str
    code_fingerprint: str
    model_card: str
    output_example: pd.DataFrame | None = None
    figures: Mapping[str, bytes | Figure] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    lock: Path | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    started_at: datetime | None = None
    datasets: Sequence[DatasetNote] = ()
    source: str = ""
    is_publication_blocked: bool = False

    @property
    def passed(self) -> bool:
        """Whether every criterion of the gate was met."""
        return bool(self.verdict["passed"].astype(bool).all())

    @cached_property
    def verdict_table(self) -> pd.DataFrame:
        """The verdict as people read it, in MLflow, in the card and in Dagster."""
        from ml.metrics import verdict_table

        return verdict_table(self.verdict, is_publication_blocked=self.is_publication_blocked)

    @cached_property
    def reason(self) -> str:
        """What decided, in Markdown."""
        from ml.metrics import reason

        return reason(self.verdict)

    @cached_property
    def reason_figure(self) -> bytes | None:
        """What decided, as PNG: ours beside every competitor; None where nothing was compared."""
        from ml.metrics import reason_chart

        figure = reason_chart(self.verdict, f"{self.name} {'passed' if self.passed else 'failed'} its gate")
        if figure is None:
            return None
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
        return buffer.getvalue()

    @cached_property
    def card(self) -> str:
        """The whole model card: what decided, the model, the verdict."""
        table = self.verdict_table.to_markdown(index=False)
        return (
            f"## What decided\n\n{self.reason}\n\nIn full: the picture {REASON_FILE}, and the verdict below.\n\n"
            f"## The model\n\n{self.model_card}\n\n"
            "## Verdict\n\nWhat failed stands first. Ratio: ours over the competitor's; the interval is that of "
            f"the ratio, or of ours where it says so.\n\n{table}\n"
        )

    @property
    def description(self) -> str:
        """What MLflow shows of the version: the card without its verdict, as far as there is room."""
        text = f"**What decided.** {self.reason}\n\n{self.model_card}"
        if len(text) <= _DESCRIPTION_CHARACTERS:
            return text
        more = "\n\n… the rest stands in model_card.md of the run."
        return text[: _DESCRIPTION_CHARACTERS - len(more)] + more

    @property
    def version_tags(self) -> dict[str, str]:
        """What the registered version is found by."""
        known = {name: self.environment.get(name) for name in ("code_version", "git_commit")} | {
            name: self.tags.get(name) for name in ("as_of", "judge_fingerprint")
        }
        return {name: str(value) for name, value in known.items() if value} | {
            "training_fingerprint": self.fingerprint,
            "data_fingerprint": self.data_fingerprint,
            "code_fingerprint": self.code_fingerprint,
            "gate": "passed" if self.passed else "failed",
        }

    @property
    def run_tags(self) -> dict[str, str]:
        """What the run is found by, and what MLflow shows of it: description and source."""
        source = {"mlflow.source.name": self.source, "mlflow.source.type": "LOCAL"} if self.source else {}
        return {
            **_environment_tags(self.environment),
            "mlflow.note.content": self.description,
            **source,
            **self.tags,
            **self.version_tags,
        }

    def check(self) -> None:
        """Refuse what cannot be registered.

        Raises:
            ValueError: a file in another format, an empty verdict, or a verdict without its columns.
        """
        from ml.metrics import VERDICT_COLUMNS

        check_formats(self.saved_model_folder)
        missing = [name for name in VERDICT_COLUMNS if name not in self.verdict]
        if missing or self.verdict.empty:
            raise ValueError(
                f"the verdict on {self.name} has {len(self.verdict)} rows and lacks {missing or 'no column'}; "
                "make it with ml.metrics.verdict_frame, one row per criterion"
            )

    def signature(self) -> ModelSignature:
        """Return the columns and parameters of an invocation, and the columns of its answer where an example is given.

        Raises:
            ValueError: the input example lacks a required column.
        """
        from mlflow.models import ModelSignature, infer_signature
        from mlflow.types import ColSpec, Schema, TensorSpec

        spec = MODELS[self.name]
        required = spec.required_columns
        missing = [column for column in required if column not in self.input_example]
        if missing:
            raise ValueError(f"the input example of {self.name} lacks {missing}; it has {list(self.input_example)}")
        output = None if self.output_example is None else as_doubles(self.output_example)
        inferred = infer_signature(as_doubles(self.input_example), output, dict(spec.parameters) or None)
        columns: list[ColSpec | TensorSpec] = [
            ColSpec(column.type, column.name, required=column.name in required) for column in inferred.inputs
        ]
        return ModelSignature(inputs=Schema(columns), outputs=inferred.outputs, params=inferred.params)

    def write_files(self, folder: Path, folder_hash: str) -> None:
        """Write card, figures, tables, parameters, environment, lock and verdict as the run keeps them.

        Args:
            folder: made here.
            folder_hash: hash of the registered folder that the verdict is about.
        """
        for name in ("figures", "tables"):
            (folder / name).mkdir(parents=True)
        for name, figure in self.figures.items():
            path = folder / "figures" / f"{name}.png"
            if isinstance(figure, bytes):
                path.write_bytes(figure)
            else:
                figure.savefig(path, format="png", bbox_inches="tight")
        for name, table in self.tables.items():
            table.to_csv(folder / "tables" / f"{name}.csv", index=False)
        (folder / "model_card.md").write_text(self.card, encoding="utf-8")
        if self.reason_figure is not None:
            (folder / REASON_FILE).write_bytes(self.reason_figure)
        _write_json(folder / "parameters.json", dict(self.parameters))
        if self.environment:
            _write_json(folder / "environment.json", dict(self.environment))
        if self.lock is not None:
            shutil.copy(self.lock, folder / self.lock.name)
        criteria = _records(self.verdict)
        _write_json(
            folder / "verdict.json", {"passed": self.passed, "folder_sha256": folder_hash, "criteria": criteria}
        )


def log_numbers(client: MlflowClient, run_id: str, model_id: str, record: TrainingRecord) -> None:
    """Log the metrics of a training, on run and model, and its parameters, in batches that MLflow takes."""
    from mlflow.entities import Metric, Param

    now = math.floor(datetime.now(UTC).timestamp() * 1000)
    points = [
        Metric(metric, float(value), now, step, model_id=model_id, run_id=run_id)
        for metric, values in record.metrics.items()
        for step, value in enumerate(values if isinstance(values, Sequence) else [values])
        # What is undefined, as the share of errors where nothing was sold, is no figure.
        if math.isfinite(value)
    ]
    for start in range(0, len(points), _METRICS_A_BATCH):
        client.log_batch(run_id, metrics=points[start : start + _METRICS_A_BATCH])
    texts = [Param(key, _parameter_text(value)) for key, value in record.parameters.items()]
    for start in range(0, len(texts), _PARAMETERS_A_BATCH):
        client.log_batch(run_id, params=texts[start : start + _PARAMETERS_A_BATCH])


def as_doubles(df: pd.DataFrame) -> pd.DataFrame:
    """Turn whole numbers into doubles: JSON knows no difference, and an integer column could hold no gap."""
    from pandas.api.types import is_numeric_dtype

    numeric = [column for column in df if is_numeric_dtype(df[column]) and df[column].dtype != bool]
    return df.astype(dict.fromkeys(numeric, "float64"))


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
