"""The environment is read in one place, and read well."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from orchestration.home.environment import read_settings
from orchestration.home.settings import PROJECT_FOLDER
from orchestration.warehouse.exports import export_path


def test_the_home_is_the_data_folder_of_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVENTORYBOT_HOME", raising=False)
    assert read_settings().home == PROJECT_FOLDER / "data"


def test_every_path_is_inside_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INVENTORYBOT_HOME", str(tmp_path))
    monkeypatch.delenv("INVENTORYBOT_LANDING", raising=False)
    settings = read_settings()
    paths = [settings.landing, settings.raw, settings.warehouse_file, settings.exports, settings.predictions]
    paths += [settings.archive, settings.published, settings.dagster_home, Path(settings.artifact_root)]
    assert all(path.is_relative_to(tmp_path) for path in paths)
    assert str(tmp_path) in settings.store_url
    assert str(tmp_path) in settings.tracking_uri


def test_the_business_day_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENTORYBOT_AS_OF", "2011-11-30")
    assert read_settings().as_of == date(2011, 11, 30)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("INVENTORYBOT_AS_OF", "30.11.2011", "INVENTORYBOT_AS_OF='30.11.2011' is not a day; write it as 2011-12-08"),
        ("INVENTORYBOT_CYCLE_SERVICE_LEVEL", "95", "out of range; write a number between 0.5 and 1"),
        ("INVENTORYBOT_HOLDING_COST_RATE", "a lot", "is not a number"),
        ("INVENTORYBOT_CURRENCY", "Euro", "INVENTORYBOT_CURRENCY='Euro' is no currency; write its three capital"),
        ("INVENTORYBOT_HOME", "what?", "has a backslash, a question mark or a control character in its path"),
        ("INVENTORYBOT_FILE_ROWS", "0", "out of range; write a number between 0 and"),
        ("INVENTORYBOT_GENERATIONS_KEPT", "0.5", "not a whole number; write one between 0 and 10000"),
        (
            "INVENTORYBOT_TARGET_TYPE",
            "fill",
            "INVENTORYBOT_TARGET_TYPE='fill' is unknown; write cost or cycle_service_le",
        ),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=told):
        read_settings()


def test_a_relation_that_was_never_built_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INVENTORYBOT_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"marts\.fct_daily_demand .* run `inventorybot run` first"):
        export_path(read_settings(), "marts.fct_daily_demand")


@pytest.mark.parametrize(("given", "policy"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")])
def test_threads_that_wait_sleep_unless_the_environment_says_otherwise(given: dict[str, str], policy: str) -> None:
    surroundings = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | given
    code = "import orchestration, os; print(os.environ['OMP_WAIT_POLICY'])"
    result = subprocess.run(
        [sys.executable, "-c", code], env=surroundings, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stdout.strip() == policy, result.stderr


def test_commands_start_without_dagster() -> None:
    code = "import orchestration.cli, sys; print([name for name in ('dagster', 'dbt') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.strip() == "[]", result.stderr


def test_a_home_with_signs_of_urls_has_an_address_that_tools_understand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "100%20 #1"
    home.mkdir()
    monkeypatch.setenv("INVENTORYBOT_HOME", str(home))
    settings = read_settings()
    assert settings.home == home
    assert not set(settings.store_url + str(settings.dagster_home)) & set("%#")
    settings.dagster_home.mkdir()
    assert (home / "dagster").is_dir()
