"""Runs of Dagster's daemon beside commands: one run at a time works on a home."""

import threading
import time
from pathlib import Path

import pytest
from dagster import (
    DagsterInstance,
    ExecutorDefinition,
    OpExecutionContext,
    execute_job,
    in_process_executor,
    job,
    op,
    reconstructable,
)

from orchestration.definitions import build_defs
from orchestration.defs.executor import HoldingExecutor, holding_home
from orchestration.home.environment import read_settings
from orchestration.home.lock import HomeError, claimed, is_claimed

QUIET = """\
telemetry:
  enabled: false
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
"""Logs stay with the test: capturing them takes a process that outlives a thread of it."""

impatient = ExecutorDefinition(
    name="impatient",
    config_schema=in_process_executor.config_schema.as_field(),
    executor_creation_fn=lambda context: HoldingExecutor(in_process_executor.executor_creation_fn(context), 0.2),
)


@op
def look(context: OpExecutionContext) -> None:
    """Fail unless this very process holds the home."""
    with pytest.raises(HomeError, match="another run is working"), claimed(read_settings()):
        pass
    assert is_claimed(read_settings())


@job(executor_def=holding_home)
def as_the_daemon_runs() -> None:
    look()


@job(executor_def=impatient)
def without_patience() -> None:
    look()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INVENTORYBOT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DagsterInstance:
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text(QUIET)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return DagsterInstance.local_temp(str(tmp_path / "dagster"))


def test_a_run_of_the_daemon_holds_the_home(home, instance):
    assert execute_job(reconstructable(as_the_daemon_runs), instance=instance).success
    with claimed(read_settings()):
        pass


def test_a_run_of_the_daemon_waits_for_the_command_at_work(home, instance):
    held = []
    with claimed(read_settings()):
        run = threading.Thread(
            target=lambda: held.append(execute_job(reconstructable(as_the_daemon_runs), instance=instance).success)
        )
        run.start()
        time.sleep(1)
        assert not held
    run.join()
    assert held == [True]


def test_a_run_that_has_waited_long_enough_fails_and_names_the_process(home, instance):
    with claimed(read_settings()), pytest.raises(HomeError, match=r"another run is working on .* \(process \d+\)"):
        execute_job(reconstructable(without_patience), instance=instance, raise_on_error=True)


def test_every_job_runs_so():
    assert build_defs().executor is holding_home
