"""What Dagster keeps of runs, as people ask for it: how the last one ended, and which are old enough to go.

Belongs here: reading and thinning out the history. Does not: executing (cli/runs.py), what a run made (cli/summary.py).
"""

import re
import shutil
import sqlite3
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import shorten

from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, RunRecord, RunsFilter

from orchestration.defs.jobs import LAUNCHED_BY_COMMAND
from orchestration.home.lock import holder, is_claimed
from orchestration.home.settings import Settings

COMMANDS = {"daily_restock": "run", "refresh_stock": "refresh", "train_models": "train"}
"""Job -> the command that executes it."""

_ENDED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
_COLOURS, _DBT_SAID, _BRIEF_CHARACTERS = re.compile(r"\x1b\[[\d;]*m"), "Errors parsed from dbt logs:", 400
_RECLAIMED_SHARE = 0.1
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class LastRun:
    """The run that began last.

    Attributes:
        job: its job.
        run_id: its id in Dagster.
        state: succeeded, failed, cancelled, killed (its process is gone), at work or waiting (for its turn).
        at: instant of its end, or of its begin where it has none, UTC.
        reasons: for a failed one, a line per step that failed.
    """

    job: str
    run_id: str
    state: str
    at: datetime
    reasons: tuple[str, ...] = ()


def last_run(settings: Settings) -> LastRun | None:
    """Return the run that began last in a home; None where none ever did."""
    if not (settings.dagster_home / "history" / "runs.db").exists():
        return None
    with DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        return last_run_of(instance, settings)


def last_run_of(instance: DagsterInstance, settings: Settings) -> LastRun | None:
    """Return the run that an instance saw begin last, as `last_run` does."""
    record = next(iter(instance.get_run_records(limit=1)), None)
    if record is None:
        return None
    run, state = record.dagster_run, _state_of(record, is_claimed(settings))
    seconds = record.end_time or record.start_time
    at = datetime.fromtimestamp(seconds, UTC) if seconds else record.create_timestamp
    reasons = tuple(_failures_of(instance, run.run_id)) if state == "failed" else ()
    return LastRun(run.job_name, run.run_id, state, at, reasons)


def _state_of(record: RunRecord, is_held: bool) -> str:
    run = record.dagster_run
    ended = dict(zip(_ENDED, ("succeeded", "failed", "cancelled"), strict=True))
    if run.status in ended:
        return ended[run.status]
    if is_held:
        return "at work"
    is_begun = run.status in (DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)
    return "killed" if is_begun or LAUNCHED_BY_COMMAND.items() <= run.tags.items() else "waiting"


def _failures_of(instance: DagsterInstance, run_id: str) -> Iterable[str]:
    failed = instance.get_records_for_run(run_id, of_type=DagsterEventType.STEP_FAILURE).records
    for event in (record.event_log_entry.dagster_event for record in failed):
        if event is not None:
            error = event.step_failure_data.error
            cause = error and (error.cause or error)
            yield f"{event.step_key}: {_brief(cause.message if cause else event.message or '')}"


def _brief(message: str) -> str:
    """Return what an error says in one line; of an error of dbt, what dbt said."""
    said = _COLOURS.sub("", message).rpartition(_DBT_SAID)[2]
    return shorten(said, _BRIEF_CHARACTERS, placeholder=" ...").rstrip(".")


def describe(run: LastRun | None, settings: Settings) -> str:
    """Return how the last run ended and what to do, as one paragraph."""
    if run is None:
        return "Last run: none yet; start one with `inventorybot run`."
    again, at = f"`inventorybot {COMMANDS.get(run.job, 'run')}`", f"{run.at:%Y-%m-%d %H:%M} UTC"
    look = f"`inventorybot ui` shows every step, and {settings.home / 'run.log'} the output of dbt"
    match run.state:
        case "succeeded":
            return f"Last run: {run.job} succeeded at {at}."
        case "failed":
            reasons = "; ".join(run.reasons) or "no step gives a reason"
            return (
                f"Last run: {run.job} FAILED at {at}: {reasons}. The previous publication stays current. {look}."
                f" Correct the cause, then run {again} again."
            )
        case "killed":
            return (
                f"Last run: {run.job} began at {at} and was KILLED: its process has ended. No data are lost or"
                f" counted twice, and the previous publication stays current. Run {again} again."
            )
        case "cancelled":
            return f"Last run: {run.job} was cancelled at {at}. Run {again} again if you need it."
        case "waiting":
            return f"Last run: {run.job} has waited since {at}; Dagster's daemon starts it (`inventorybot ui`)."
        case _:
            return f"Last run: {run.job} has been running since {at} ({holder(settings)})."


def runs_to_forget(records: Iterable[RunRecord], *, now: datetime, days: int, most: int) -> list[str]:
    """Return the ids of ended runs that are older than so many days, or not among the latest so many.

    The last run and the last success of every job stay, however old: they say how the home stands.
    """
    latest = sorted(records, key=lambda record: record.create_timestamp, reverse=True)
    succeeded: set[str] = set()
    found = []
    for place, record in enumerate(latest):
        run = record.dagster_run
        is_last_success = run.status == DagsterRunStatus.SUCCESS and run.job_name not in succeeded
        if is_last_success:
            succeeded.add(run.job_name)
        is_old = now - record.create_timestamp > timedelta(days=days) or place >= most
        if is_old and place and run.status in _ENDED and not is_last_success:
            found.append(run.run_id)
    return found


def ended_runs(instance: DagsterInstance) -> list[RunRecord]:
    """Return what Dagster knows of every run, also of those at work."""
    return list(instance.get_run_records(RunsFilter()))


def forget_runs(instance: DagsterInstance, run_ids: Collection[str]) -> None:
    """Remove runs, their events and their logs from a SQLite instance, and give the space back to the disk."""
    from dagster._core.storage.event_log import SqliteEventLogStorage

    root, events = Path(instance.root_directory), instance.event_log_storage
    for run_id in run_ids:
        if isinstance(events, SqliteEventLogStorage):
            # The file of the run's events goes whole: emptying it first would take a tenth of a second each.
            instance.run_storage.delete_run(run_id)
            with events.index_connection() as connection:
                events.delete_events_for_run(connection, run_id)
            events.free_concurrency_slots_for_run(run_id)
        else:
            instance.delete_run(run_id)
        for file in (root / "history" / "runs").glob(f"{run_id}.db*"):
            file.unlink(missing_ok=True)
        shutil.rmtree(root / "storage" / run_id, ignore_errors=True)


def compact(folder: Path) -> list[Path]:
    """Give the empty pages of Dagster's SQLite files back to the disk; return the files that others hold just now."""
    held = []
    for file in (folder / "history" / "runs.db", folder / "history" / "runs" / "index.db"):
        if not file.exists():
            continue
        with closing(sqlite3.connect(file, timeout=_PATIENCE_SECONDS, isolation_level=None)) as connection:
            pages, free = (
                connection.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "freelist_count")
            )
            if free < _RECLAIMED_SHARE * pages:
                continue
            try:
                connection.execute("vacuum")
                connection.execute("pragma wal_checkpoint(truncate)")
            except sqlite3.OperationalError:
                held.append(file)
    return held
