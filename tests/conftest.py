"""Fixtures of many files: databases that are made once and copied for each test, alone or in a home."""

import fcntl
import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import copy, copytree

import pytest
from support.commands import installed
from support.small_landing import add_file, write_landing, write_plans

from serving.store import Store

_ODD_NAME = "it's [a] *home*; 100% {x,y} #1 ü"

# Workers of a test run share the cores: threads that wait sleep, also where a test loads `ml` alone.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


# A file stays with one worker: the longest ones begin, so that no worker is alone with one at the end.
_LONGEST = ("test_week.py", "test_transfers_loop.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in _LONGEST)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an online store without an event; to be copied, never opened."""
    path = tmp_path_factory.mktemp("empty") / "store.sqlite"
    Store.migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def url(empty_store: Path, tmp_path: Path) -> str:
    """The address of a store of the test's own."""
    return f"sqlite:///{copy(empty_store, tmp_path)}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as store:
        yield store


@pytest.fixture
def home_folder(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a store, which the environment names and of which it says no more."""
    copy(empty_store, tmp_path / "online_store.sqlite")
    for name in [name for name in os.environ if name.startswith("INVENTORYBOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("INVENTORYBOT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without an experiment of ours."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}", registry_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def registry_url(empty_registry: Path, tmp_path: Path) -> str:
    """The address of a registry of the test's own."""
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(empty_registry)) as made, closing(sqlite3.connect(path)) as own:
        made.backup(own)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A small home after its first run, which tests copy before they change it, and what the run said.

    The first worker of the test run makes it; each worker has a copy, so that none reads what another one opens.
    """
    folder = tmp_path_factory.getbasetemp()
    made = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "first_run"
    made.mkdir(exist_ok=True)
    with (made / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "said.json").exists():
            # Every path of a run is quoted: the home lies where unquoted ones would fail.
            ran = installed(_furnished(made / _ODD_NAME), "run")
            (made / "said.json").write_text(json.dumps([ran.args, ran.returncode, ran.stdout, ran.stderr]))
    home = tmp_path_factory.mktemp("first") / "home"
    copytree(made / _ODD_NAME, home, symlinks=True)
    return home, subprocess.CompletedProcess(*json.loads((made / "said.json").read_text()))


def _furnished(home: Path) -> Path:
    """Return a home with a landing folder in which there is something of everything."""
    write_plans(write_landing(home / "landing"))
    season = ["flour", "", "", "2024-05-05"]
    add_file(home / "landing" / "product_seasons" / "a.csv", ["sku", "category", "from_date", "to_date"], [season])
    return home


@pytest.fixture(scope="session")
def trained_home(first_run: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    made, result = first_run
    assert result.returncode == 0, result.stdout + result.stderr
    return made
