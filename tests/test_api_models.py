import re
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
from support.tiny_home import package_folder, register, tracking_uri

from serving.api.models import ModelRefusedError, Models

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

ROWS = pd.DataFrame({"sku": ["A"], "demand_units": [3.0]})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def first(home):
    return register(home, factor=2.0)


@pytest.fixture
def models(home):
    opened = Models(tracking_uri(home))
    yield opened
    opened.close()


def test_the_pinned_version_answers_even_when_a_newer_one_is_registered(models, home, first):
    register(home, factor=5.0)
    assert models.get("demand_forecast", first).predict(ROWS, {})["mean_units"].tolist() == [6.0]


def test_a_model_tells_the_input_it_declares(models, first):
    model = models.get("demand_forecast", first)
    assert [(column.name, column.type, column.required) for column in model.columns] == [
        ("sku", "string", True),
        ("demand_units", "double", True),
        ("period_start", "datetime", False),
        ("is_in_stock", "boolean", False),
        ("note", "string", False),
    ]
    assert [(column.name, column.type) for column in model.parameters] == [("scale", "long")]


def test_parameters_reach_the_model(models, first):
    assert models.get("demand_forecast", first).predict(ROWS, {"scale": 10})["mean_units"].tolist() == [60.0]


def test_many_threads_load_a_version_once(models, first):
    gate = threading.Barrier(8)

    def load():
        gate.wait()
        return models.get("demand_forecast", first)

    with ThreadPoolExecutor(8) as pool:
        loaded = [pool.submit(load) for _ in range(8)]
    assert len({id(model.result()) for model in loaded}) == 1
    assert models.loaded() == {"demand_forecast": first["version"]}


def test_another_pin_replaces_the_version_in_memory(models, home, first):
    second = register(home, factor=7.0)
    models.get("demand_forecast", first)
    assert models.get("demand_forecast", second).predict(ROWS, {})["mean_units"].tolist() == [21.0]
    assert models.loaded() == {"demand_forecast": second["version"]}


@pytest.mark.parametrize("file", ["artifacts/saved/model.json", "doubler.py", "MLmodel", "more.json"])
def test_a_folder_that_was_changed_after_publication_is_refused(models, home, file):
    pin = register(home)
    path = package_folder(home, pin) / file
    path.write_text((path.read_text() if path.exists() else "") + "\n")
    with pytest.raises(ModelRefusedError, match="is not what was published"):
        models.get("demand_forecast", pin)
    assert models.loaded() == {}


def test_a_manifest_that_names_another_hash_is_refused(models, first):
    with pytest.raises(ModelRefusedError, match="the manifest 0000"):
        models.get("demand_forecast", {**first, "folder_sha256": "0" * 64})


def test_bytecode_that_another_loader_left_in_the_folder_does_not_matter(models, home):
    pin = register(home)
    (package_folder(home, pin) / "__pycache__").mkdir()
    (package_folder(home, pin) / "__pycache__" / "doubler.cpython-311.pyc").write_bytes(b"0")
    assert models.get("demand_forecast", pin).version == pin["version"]


def test_loading_leaves_the_registered_folder_as_it_is(models, home):
    pin = register(home)
    before = sorted(package_folder(home, pin).rglob("*"))
    models.get("demand_forecast", pin)
    assert sorted(package_folder(home, pin).rglob("*")) == before


def test_a_version_the_registry_lacks_is_refused_with_the_remedy(models):
    with pytest.raises(ModelRefusedError, match="restore the MLflow folder from a backup"):
        models.get("demand_forecast", {"version": "9999", "run_id": "", "folder_sha256": "0" * 64})


def test_a_model_that_cannot_read_its_own_folder_is_refused(models, home):
    with pytest.raises(ModelRefusedError, match="ValueError"):
        models.get("demand_forecast", register(home, factor="two"))


def test_a_folder_that_vanished_is_refused_with_the_remedy(models, home):
    pin = register(home)
    package_folder(home, pin).rename(home / "elsewhere")
    with pytest.raises(ModelRefusedError, match="restore the MLflow folder from a backup"):
        models.get("demand_forecast", pin)


def test_a_pickled_model_is_refused_even_when_its_hash_is_right(models, home, tmp_path):
    from ml.tracking import folder_sha256

    pin = register(home)
    package = package_folder(home, pin)
    description = (package / "MLmodel").read_text()
    pickled, changes = re.subn("model_code_path: .*", "python_model: model.pkl", description)
    assert changes == 1
    (package / "MLmodel").write_text(pickled)
    tag = folder_sha256(package)
    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute(
            "update model_version_tags set value = ? where key = 'folder_sha256' and version = ?", (tag, pin["version"])
        )
    database.close()
    with pytest.raises(ModelRefusedError, match="MlflowException"):
        models.get("demand_forecast", {**pin, "folder_sha256": tag})
