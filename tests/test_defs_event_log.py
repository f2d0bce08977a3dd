"""Dagster's event log: which files are spared the wait for the disk, and for how long."""

from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from orchestration.defs.event_log import unhurried

FULL, NORMAL = 2, 1


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "dagster" / "history" / "events.db"
    path.parent.mkdir(parents=True)
    write(path, "pragma journal_mode = wal")
    return path


def write(path: Path, statement: str) -> int:
    """Execute a statement as Dagster does, over a connection of its own; return how it waits for the disk."""
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
        connection.commit()
        waits: int = connection.exec_driver_sql("pragma synchronous").scalar_one()
    engine.dispose()
    return waits


def test_events_do_not_wait_for_the_disk(log: Path) -> None:
    with unhurried(log.parents[1]):
        assert write(log, "create table events (id)") == NORMAL


def test_the_journal_stays_while_a_run_works(log: Path) -> None:
    journal = log.with_name("events.db-wal")
    with unhurried(log.parents[1]):
        write(log, "create table events (id)")
        assert journal.exists()
    assert not journal.exists()


def test_other_files_wait_as_ever(log: Path, tmp_path: Path) -> None:
    with unhurried(log.parents[1]):
        assert write(tmp_path / "online_store.sqlite", "create table events (id)") == FULL


def test_afterwards_the_log_waits_as_ever(log: Path) -> None:
    with unhurried(log.parents[1]):
        pass
    assert write(log, "create table events (id)") == FULL
