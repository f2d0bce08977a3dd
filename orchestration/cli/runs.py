"""Execute a job in this process, with progress on the terminal and the run recorded in Dagster's instance."""

from contextlib import redirect_stdout
from datetime import date
from pathlib import Path
from typing import Any

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from orchestration.definitions import build_defs
from orchestration.defs.event_log import unhurried
from orchestration.defs.jobs import LAUNCHED_BY_COMMAND


def execute(job: str, *, log: Path, as_of: date | None = None, rebuild_from: date | None = None) -> bool:
    """Execute a job of the definitions; return whether it succeeded.

    The caller holds the home (`orchestration.home.lock.claimed`), so a run that a command left unfinished is dead:
    it is recorded as failed and gives its pool slots back.

    Args:
        job: name of the job, `daily_restock` or `train_models`.
        log: file that takes what dbt and other libraries print.
        as_of: business day; None = last complete day in the data.
        rebuild_from: first day of a backfill; None = only what changed is rebuilt.
    """
    # dbt writes every step to the standard output; that is for its log, the progress is for people.
    with (
        DagsterInstance.get() as instance,
        unhurried(Path(instance.root_directory)),
        log.open("w") as file,
        redirect_stdout(file),
    ):
        bury_dead_runs(instance)
        result = (
            build_defs()
            .resolve_job_def(job)
            .execute_in_process(
                run_config=_run_config(as_of, rebuild_from),
                instance=instance,
                raise_on_error=False,
                tags=LAUNCHED_BY_COMMAND,
            )
        )
    return result.success


def _run_config(as_of: date | None, rebuild_from: date | None) -> dict[str, Any]:
    config: dict[str, Any] = {"loggers": {"progress": {}}}
    given = {"as_of": as_of, "rebuild_from": rebuild_from}
    days = {name: day.isoformat() for name, day in given.items() if day}
    if days:
        config["ops"] = {"marts": {"config": days}}
    return config


def bury_dead_runs(instance: DagsterInstance) -> None:
    """Record runs that a killed command left unfinished as failed, and give back their pool slots."""
    unfinished = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.NOT_STARTED]
    for run in instance.get_runs(RunsFilter(statuses=unfinished, tags=LAUNCHED_BY_COMMAND)):
        instance.report_run_failed(run, message="The process of this run has ended.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
