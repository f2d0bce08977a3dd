"""A trained home in the hands of a reviewer: MLflow's own loader, then the endpoint and the next run."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.commands import inventorybot

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
    assert_accepted(home)


def assert_accepted(home: Settings) -> None:
    """Assert that the product still takes the champion as the one it promoted, and the endpoint the pinned one."""
    tracking = Tracking(home.tracking_uri, home.artifact_root)
    with Store.open(home.store_url) as store:
        champion = champion_of(MODEL, tracking, store)
    folder = tracking.load_folder(champion)
    assert (folder.parents[1] / "registered_model_meta").is_file()
    manifest = json.loads((home.published / "current.duckdb").resolve().with_suffix(".json").read_text())
    assert Models(home.tracking_uri).get(MODEL, manifest["models"][MODEL]).version == champion.version


@contextmanager
def served_by_mlflow(home: Settings, log: Path) -> Iterator[str]:
    """Serve the champion with MLflow's own command, on this machine only; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["models", "serve", "--model-uri", f"models:/{MODEL}@champion", "--env-manager", "local"]
    with log.open("w") as told:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command, "--host", "127.0.0.1", "--port", str(port)],
            env={
                **os.environ,
                "MLFLOW_TRACKING_URI": home.tracking_uri,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            stdout=told,
            stderr=told,
            start_new_session=True,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)


def wait_for(address: str, log: Path) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{address}/ping", timeout=5) as answer:
                assert answer.status == 200
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(log.read_text())


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore")
def test_mlflow_serves_the_champion_and_the_next_run_and_the_endpoint_accept_it_as_before(home: Settings) -> None:
    log = home.home / "serving.log"
    with served_by_mlflow(home, log) as address:
        wait_for(address, log)
        tracking = Tracking(home.tracking_uri, home.artifact_root)
        with Store.open(home.store_url) as store:
            package = tracking.load_folder(champion_of(MODEL, tracking, store)).parents[1]
        body = (package / "serving_input_example.json").read_bytes()
        asked = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            predictions = json.load(answer)["predictions"]
    assert predictions
    assert all(row["mean_units"] >= 0 for row in predictions)
    ran = inventorybot(home.home, "refresh")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert_accepted(home)
