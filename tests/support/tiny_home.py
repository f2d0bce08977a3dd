"""A published folder and a model registry small enough to build in a test, made with DuckDB and MLflow alone."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from ml.tracking import folder_sha256

MODEL_CODE = """
import json
from pathlib import Path

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class Doubler(PythonModel):
    def load_context(self, context):
        self.factor = json.loads(Path(context.artifacts["saved_model"], "model.json").read_text())["factor"]
        if isinstance(self.factor, str):
            raise ValueError("format 2, this code reads 1: train it again")

    def predict(self, context, model_input: pd.DataFrame, params: dict | None = None) -> pd.DataFrame:
        for sku in model_input["sku"]:
            if sku.startswith("refuse"):
                raise ValueError(f"{sku} is refused")
            if sku.startswith("gap"):
                raise ValueError("row 0: a gap of 3 days; fill it")
            if sku.startswith("break"):
                raise KeyError(sku)
        answer = model_input[["sku"]].copy()
        answer["mean_units"] = model_input["demand_units"] * self.factor * params["scale"]
        if "period_start" in model_input:
            answer["period_start"] = model_input["period_start"]
        return answer


set_model(Doubler())
"""


def register(home: Path, name: str = "demand_forecast", factor: float | str = 2.0) -> dict[str, str]:
    """Register a model that multiplies demand, or cannot be loaded when the factor is text; return its pin."""
    import mlflow.pyfunc
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    # MLflow's tables are made in a third of the time where the database has a log of its own.
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        database.execute("pragma journal_mode = wal")
    client = MlflowClient(tracking_uri=tracking_uri(home), registry_uri=tracking_uri(home))
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        assert error.error_code == "RESOURCE_ALREADY_EXISTS"
    number = len(client.search_model_versions(f"name = '{name}'")) + 1
    source = home / "sources" / f"{name}_{number}"
    (source / "saved").mkdir(parents=True)
    (source / "saved" / "model.json").write_text(json.dumps({"factor": factor}))
    (source / "doubler.py").write_text(MODEL_CODE)
    signature = ModelSignature(
        inputs=Schema(
            [
                ColSpec("string", "sku"),
                ColSpec("double", "demand_units"),
                ColSpec("datetime", "period_start", required=False),
                ColSpec("boolean", "is_in_stock", required=False),
                ColSpec("string", "note", required=False),
            ]
        ),
        params=ParamSchema([ParamSpec("scale", "long", 1)]),
    )
    mlflow.pyfunc.save_model(
        path=str(source / "package"),
        python_model=str(source / "doubler.py"),
        artifacts={"saved_model": str(source / "saved")},
        signature=signature,
        input_example=pd.DataFrame({"sku": ["A"], "demand_units": [1.0]}),
        pip_requirements=["mlflow"],
    )
    tag = folder_sha256(source / "package")
    version = client.create_model_version(name, (source / "package").as_uri(), tags={"folder_sha256": tag})
    return {"version": str(version.version), "run_id": "", "folder_sha256": tag}


def tracking_uri(home: Path) -> str:
    return f"sqlite:///{home}/mlflow.db"


def package_folder(home: Path, pin: dict[str, str], name: str = "demand_forecast") -> Path:
    return home / "sources" / f"{name}_{pin['version']}" / "package"


def publish(
    home: Path,
    generation: str,
    models: dict[str, dict[str, str]] | None = None,
    skus: int = 5,
    beside: str | None = None,
) -> Path:
    """Publish a generation with one small table of each kind and a large one in facts/; return its file.

    A day makes it the look back at that day, beside the current generation.
    """
    published = home / "published" / "as_of" / beside if beside else home / "published"
    (published / "facts").mkdir(parents=True, exist_ok=True)
    fact = published / "facts" / f"reporting.fct_demand_forecasts_{generation}.parquet"
    duckdb.sql(
        f"""
        select 'sku' || sku as sku, location_id, date '2011-11-01' + day::integer as day,
            date '2011-10-31' as as_of_date, (sku + day / 4)::double as mean_units, '{generation}' as model_version
        from range({skus}) skus(sku), (values ('north'), ('south')) locations(location_id), range(7) days(day)
        """
    ).write_parquet(str(fact))
    file = published / f"wh_{generation}.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("create schema marts; create schema reporting")
        connection.execute(
            f"""
            create table marts.fct_stock_position as
            select 'sku' || sku as sku, location_id, date '2011-10-31' as as_of_date,
                (sku * 1.5)::decimal(18, 3) as on_hand_units, null::date as last_counted_date
            from range({skus}) skus(sku), (values ('north'), ('south')) locations(location_id)
            """
        )
        address = str(fact).replace("'", "''")
        connection.execute(f"create view reporting.fct_demand_forecasts as select * from read_parquet('{address}')")
        connection.execute(
            """
            create table reporting.restock_recommendations as
            select * from (values
                ('sku0', 'north', 'acme', 48.000::decimal(18, 3), 'order', 'Order 48, 4 packs of 12'),
                ('sku0', 'south', null, 0.000, 'exception', 'no supplier'),
                ('sku1', 'north', 'acme', 0.000, 'no_order', 'covered'),
                ('sku1', 'north', 'bolt', 6.000, 'order', 'Order 6 "now"')
            ) lines(sku, location_id, supplier_id, order_units, status, reason)
            """
        )
        connection.execute(
            """
            create table reporting.stock_transfers as
            select * from (values
                ('t1', 'proposed', 'sku0', 'north', 'south', 12.000::decimal(18, 3)),
                (null, 'proposed', 'sku1', 'south', 'north', 6.000),
                ('t2', 'received', 'sku1', 'south', 'north', 6.000)
            ) transfers(proposal_id, state, sku, from_location_id, to_location_id, transfer_units)
            """
        )
        connection.execute(
            """
            create table reporting.fct_stock_anomalies as
            select * from (values
                ('sku0', 'north', date '2011-10-01', 0.2::double, 'none'),
                ('sku0', 'north', date '2011-10-02', 0.9, 'lost movement'),
                ('sku1', 'south', date '2011-10-03', 'nan'::double, 'none')
            ) scores(sku, location_id, day, anomaly_score, kind)
            """
        )
    manifest: dict[str, Any] = {
        "generation": generation,
        "as_of": beside or "2011-10-31",
        "run_id": "run",
        "published_at": "2011-11-01T04:00:00+00:00",
        "ledger": {"sequence": 0, "hash": ""},
        "models": models or {},
        "code_version": "0.1.0",
        "content_hash": generation,
        "tables": {},
    }
    if beside:
        manifest["knowledge"] = "with what is known today"
    file.with_suffix(".json").write_text(json.dumps(manifest))
    switch_to(published, file.name)
    return file


def switch_to(published: Path, name: str) -> None:
    beside = published / ".current"
    beside.unlink(missing_ok=True)
    beside.symlink_to(name)
    beside.replace(published / "current.duckdb")


def remove(file: Path) -> None:
    file.unlink()
    file.with_suffix(".json").unlink()
