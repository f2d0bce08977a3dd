"""A trained home in the hands of a reviewer: MLflow's own loader, then the endpoint and the next run."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ml.tracking import Tracking
from orchestration.home.settings import Settings
from orchestration.training.lifecycle import champion_of
from serving.api.models import Models
from serving.store import Store

MODEL = "demand_forecast"
LOADING = f"""
import mlflow

model = mlflow.pyfunc.load_model("models:/{MODEL}@champion")
answer = model.predict(model.input_example)
assert len(answer) and (answer["mean_units"] >= 0).all()
"""


@pytest.fixture
def home(trained_home: Path, tmp_path: Path) -> Settings:
    """A trained home of the test's own, whose registry names the folders of its own."""
    made = _moved(shutil.copytree(trained_home, tmp_path / "home", symlinks=True))
    return Settings(
        made,
        made / "landing",
        f"sqlite:///{made}/online_store.sqlite",
        f"sqlite:///{made}/mlflow/mlflow.db",
        str(made / "mlflow" / "artifacts"),
    )


def _moved(home: Path) -> Path:
    """Make the registry of a copied home name the copied folders."""
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as database, database:
        (location,) = database.execute("select artifact_location from experiments where name = ?", [MODEL]).fetchone()
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
            ("model_versions", "source"),
            ("model_versions", "storage_location"),
        ):
            address = (location.removesuffix(f"/{MODEL}"), (home / "mlflow" / "artifacts").as_uri())
            database.execute(f"update {table} set {column} = replace({column}, ?, ?)", address)
    return home


@pytest.mark.filterwarnings("ignore")
def test_a_champion_that_mlflow_loaded_by_its_alias_still_answers_and_still_predicts(home: Settings) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADING],
        env={**os.environ, "MLFLOW_TRACKING_URI": home.tracking_uri},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    tracking = Tracking(home.tracking_uri, home.artifact_root)
    with Store.open(home.store_url) as store:
        champion = champion_of(MODEL, tracking, store)
    folder = tracking.load_folder(champion)
    assert (folder.parents[1] / "registered_model_meta").is_file()
    manifest = json.loads((home.published / "current.duckdb").resolve().with_suffix(".json").read_text())
    assert Models(home.tracking_uri).get(MODEL, manifest["models"][MODEL]).version == champion.version
