"""What a home keeps: archived decisions by age, never what a generation on disk was decided from."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster import DagsterInstance

from orchestration.cli.main import cli
from orchestration.defs.retention import apply
from orchestration.home.environment import read_settings
from orchestration.home.lock import claimed
from orchestration.home.settings import Settings

NOW = datetime.now(UTC)


@pytest.fixture
def settings(home_folder: Path) -> Settings:
    settings = read_settings()
    for day, age in (("2011-12-07", 500), ("2011-12-08", 401), ("2011-12-09", 399)):
        folder = settings.archive / f"{day}_0"
        folder.mkdir(parents=True)
        (folder / "restock_lines.parquet").write_bytes(b"0" * 1_000)
        made = {"build": {"ingested_until": (NOW - timedelta(days=age)).isoformat()}}
        (folder / "archive.json").write_text(json.dumps(made))
    settings.published.mkdir()
    (settings.published / "wh_g1.json").write_text(json.dumps({"archive": "2011-12-07_0"}))
    return settings


def kept(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.archive.iterdir())


def test_old_decisions_go_unless_a_generation_rests_on_them(settings: Settings, tmp_path: Path) -> None:
    with DagsterInstance.ephemeral(str(tmp_path / "dagster")) as instance:
        found = apply(settings, instance, now=NOW)
    assert kept(settings) == ["2011-12-07_0", "2011-12-09_0"]
    assert found.archives == (3, 1)
    assert found.freed_bytes is not None and found.freed_bytes >= 1_000


def test_zero_days_keep_decisions_for_ever(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENTORYBOT_ARCHIVE_KEPT_DAYS", "0")
    with DagsterInstance.ephemeral(str(tmp_path / "dagster")) as instance:
        apply(read_settings(), instance, now=NOW)
    assert len(kept(settings)) == 3


def test_a_removal_that_was_killed_is_taken_up(settings: Settings, tmp_path: Path) -> None:
    (settings.archive / ".2011-12-01_0.old").mkdir()
    with DagsterInstance.ephemeral(str(tmp_path / "dagster")) as instance:
        apply(settings, instance, now=NOW)
    assert ".2011-12-01_0.old" not in kept(settings)


def test_the_command_says_what_goes_and_by_which_setting(settings: Settings) -> None:
    told = CliRunner().invoke(cli, ["retention", "--dry-run"])
    assert told.exit_code == 0, told.output
    assert "INVENTORYBOT_RUNS_KEPT_DAYS=90" in told.output
    assert "archived decisions: 1 of 3 are removed (INVENTORYBOT_ARCHIVE_KEPT_DAYS=400)" in told.output
    assert "raw data and the ledger: kept for ever" in told.output
    assert len(kept(settings)) == 3


def test_nothing_is_forgotten_while_a_run_works(settings: Settings) -> None:
    with claimed(settings):
        told = CliRunner().invoke(cli, ["retention"])
    assert told.exit_code == 1
    assert "another run is working" in told.output
