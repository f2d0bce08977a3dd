"""Dagster's history: how the last run ended and what to do; which runs go, and that their space comes back."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster import DagsterInstance, DagsterRunStatus, RunRecord, job, op

from orchestration.cli.main import cli
from orchestration.defs.jobs import LAUNCHED_BY_COMMAND
from orchestration.defs.run_history import compact, describe, ended_runs, forget_runs, last_run_of, runs_to_forget
from orchestration.home.environment import read_settings
from orchestration.home.lock import claimed
from orchestration.home.prepare import configure_instance
from orchestration.home.settings import Settings

NOW = datetime(2026, 11, 30, tzinfo=UTC)
NOISE = "x" * 4_000


@op
def work(context) -> None:
    for _ in range(50):
        context.log.info(NOISE)


@op
def stumble() -> None:
    raise ValueError("the process of dbt failed\n\nErrors parsed from dbt logs:\n\n\x1b[31mno disk\x1b[0m\n  at all.\n")


@job
def daily_restock() -> None:
    work()


@job(name="refresh_stock")
def failing() -> None:
    stumble()


@pytest.fixture
def settings(home_folder: Path) -> Settings:
    return read_settings()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral(str(tmp_path / "ephemeral")) as instance:
        yield instance


def said(instance: DagsterInstance, settings: Settings) -> str:
    return describe(last_run_of(instance, settings), settings)


def began(instance: DagsterInstance, status: DagsterRunStatus, tags: dict[str, str] | None = None) -> str:
    return instance.create_run_for_job(daily_restock, status=status, tags=tags).run_id


def test_a_home_without_runs_names_the_first_command(settings: Settings) -> None:
    assert (
        CliRunner().invoke(cli, ["status"]).output.startswith("Last run: none yet; start one with `inventorybot run`.")
    )


def test_a_run_that_ended_well_is_told(instance: DagsterInstance, settings: Settings) -> None:
    daily_restock.execute_in_process(instance=instance)
    assert said(instance, settings).startswith("Last run: daily_restock succeeded at 2")


def test_a_failed_run_tells_the_step_the_cause_and_the_remedy(instance: DagsterInstance, settings: Settings) -> None:
    failing.execute_in_process(instance=instance, raise_on_error=False)
    text = said(instance, settings)
    assert "refresh_stock FAILED" in text
    assert "stumble: no disk at all. The previous publication stays current." in text
    assert "run `inventorybot refresh` again" in text


def test_a_run_whose_process_is_gone_was_killed(instance: DagsterInstance, settings: Settings) -> None:
    # The lock of a killed process is free, whatever process has its number today.
    (settings.home / "run.lock").write_text(f"process {os.getpid()}")
    began(instance, DagsterRunStatus.STARTED, LAUNCHED_BY_COMMAND)
    text = said(instance, settings)
    assert "KILLED" in text
    assert "Run `inventorybot run` again" in text


def test_a_run_that_holds_the_home_is_at_work(instance: DagsterInstance, settings: Settings) -> None:
    began(instance, DagsterRunStatus.STARTED, LAUNCHED_BY_COMMAND)
    with claimed(settings):
        assert "has been running since 2" in said(instance, settings)
        assert f"(process {os.getpid()})" in said(instance, settings)


def test_a_run_of_the_daemon_that_has_not_begun_waits(instance: DagsterInstance, settings: Settings) -> None:
    began(instance, DagsterRunStatus.NOT_STARTED)
    assert "has waited since" in said(instance, settings)


def aged(instance: DagsterInstance, *runs: tuple[int, DagsterRunStatus]) -> list[RunRecord]:
    """Return records of runs of one job, each so many days old."""
    ids = {began(instance, status): age for age, status in runs}
    return [
        record._replace(create_timestamp=NOW - timedelta(days=ids[record.dagster_run.run_id]))
        for record in ended_runs(instance)
    ]


def ages(made: list[RunRecord], gone: list[str]) -> list[int]:
    return sorted((NOW - record.create_timestamp).days for record in made if record.dagster_run.run_id in gone)


SUCCESS, FAILURE = DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE


def test_runs_go_by_age_and_by_number(instance: DagsterInstance) -> None:
    made = aged(instance, *((age, SUCCESS) for age in (100, 91, 89, 2, 1)))
    assert ages(made, runs_to_forget(made, now=NOW, days=90, most=10)) == [91, 100]
    assert ages(made, runs_to_forget(made, now=NOW, days=90, most=2)) == [89, 91, 100]


def test_the_last_run_and_the_last_success_of_a_job_stay_however_old(instance: DagsterInstance) -> None:
    made = aged(instance, (904, SUCCESS), (903, FAILURE), (902, SUCCESS), (901, FAILURE), (900, FAILURE))
    assert ages(made, runs_to_forget(made, now=NOW, days=90, most=1)) == [901, 903, 904]


def test_a_run_at_work_stays(instance: DagsterInstance) -> None:
    made = aged(instance, (900, DagsterRunStatus.STARTED), (1, SUCCESS))
    assert runs_to_forget(made, now=NOW, days=90, most=1) == []


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def kept(settings: Settings) -> Iterator[DagsterInstance]:
    """Return an instance as homes have it, in SQLite files."""
    configure_instance(settings.dagster_home)
    with DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        yield instance


def test_what_is_forgotten_gives_its_space_back(kept: DagsterInstance, settings: Settings) -> None:
    ids = [daily_restock.execute_in_process(instance=kept).run_id for _ in range(3)]
    index = settings.dagster_home / "history/runs/index.db"
    with kept.event_log_storage.index_connection() as connection:
        # A home's index holds a copy of every materialization, with its plots: half of the history.
        for run_id in ids:
            connection.exec_driver_sql(
                "insert into event_logs (run_id, event) values (?, hex(randomblob(500000)))", (run_id,)
            )
    before, index_before = size_of(settings.dagster_home), index.stat().st_size
    forget_runs(kept, ids[:2])
    assert compact(settings.dagster_home) == []
    assert index.stat().st_size < index_before / 2
    assert size_of(settings.dagster_home) < before / 2
    assert [record.dagster_run.run_id for record in ended_runs(kept)] == ids[2:]
    assert kept.all_logs(ids[2])
    assert not list(settings.dagster_home.rglob(f"*{ids[0]}*"))
