"""Connections and transactions of the online store, the same for SQLite and PostgreSQL.

Belongs here: engine settings, how a read and a write transaction begin, how a URL is checked. No table is known here
but the head that every writer locks.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, select
from sqlalchemy.engine import URL, make_url

from serving.store.errors import StoreError, StoreUnavailable
from serving.store.schema import ledger_head

BUSY_SECONDS = 30.0


def parse_url(url: str) -> URL:
    """Return the checked database URL, with the driver this project ships.

    Args:
        url: `sqlite:////folder/online_store.sqlite` or `postgresql://user@host/database`.

    Raises:
        StoreError: the URL is malformed, in memory, or of another database.
    """
    try:
        parsed = make_url(url)
    except exc.ArgumentError as error:
        raise StoreError(
            "The online store URL is not a database URL; use sqlite:////folder/online_store.sqlite or "
            "postgresql://user@host/database."
        ) from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise StoreError(
                f"The online store URL {url!r} names no file; a store must outlive its process: "
                "use sqlite:////folder/online_store.sqlite."
            )
        return parsed
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    raise StoreError(f"The online store cannot live in {backend!r}; use a sqlite or a postgresql URL.")


def sqlite_path(url: URL) -> Path | None:
    """Return the file of a SQLite URL, None of any other."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


class Database:
    """One database, opened; hands out read snapshots and write transactions."""

    def __init__(self, url: str) -> None:
        self.url = parse_url(url)
        self.shown_url = self.url.render_as_string(hide_password=True)
        self.engine = _engine(self.url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.mark = "?" if self.is_sqlite else "%s"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection that sees one snapshot and blocks nobody."""
        with self._answering(), self._connect(is_write=False) as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in the only write transaction there is; commits at the end, rolls back on an error.

        SQLite lets one writer in at a time by itself. In PostgreSQL every writer locks the head row first, so the
        order in which sequence numbers are given is the order in which they become visible.
        """
        with self._answering(), self._connect(is_write=True) as connection, connection.begin():
            if not self.is_sqlite:
                connection.execute(select(ledger_head.c.head_id).with_for_update())
            yield connection

    @contextmanager
    def _connect(self, *, is_write: bool) -> Iterator[Connection]:
        options: dict[str, Any] = {"store_write": is_write}
        if not self.is_sqlite:
            options["isolation_level"] = "READ COMMITTED" if is_write else "REPEATABLE READ"
        with self.engine.connect() as connection:
            yield connection.execution_options(**options)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except exc.DatabaseError as error:
            told = unavailable(self.shown_url, error)
            if told is None:
                raise
            raise told from error

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def unavailable(shown_url: str, error: exc.DatabaseError) -> StoreUnavailable | None:
    """Return the error for a database that does not answer or is none; None = the statement is what failed.

    The URL shown carries no password.
    """
    cause = str(error.orig).strip().splitlines()
    # SQLite's own words for a file that is no database, or is damaged; statements fail with subclasses of this one.
    if type(error) is exc.DatabaseError:
        return StoreUnavailable(
            f"The file of {shown_url} cannot be read: {cause[0]}. Name the file of an online store; where this was "
            "one, move it away and restore its latest backup with `inventorybot store restore`."
        )
    if not isinstance(error, exc.OperationalError):
        return None
    return StoreUnavailable(
        f"The online store at {shown_url} does not answer: {cause[0] if cause else 'no reason given'}. "
        "Check that the folder exists, is writable and has space, or that the database server runs and lets this "
        "user in."
    )


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        _write_ahead(connection)
        # FULL syncs the log at every commit: what was acknowledged survives a power cut, not only a crash.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        # 64 MiB: the indexes of a large log are written at random; with the 2 MiB default every batch reads them anew.
        connection.execute("PRAGMA cache_size=-65536")
        # 32 MiB of log before it is folded into the file: a page that many batches touch is then written once.
        connection.execute("PRAGMA wal_autocheckpoint=8192")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that turns into a writer fails at once when another writer came between;
        # taking the lock at the start waits for it instead.
        is_write = connection.get_execution_options().get("store_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log; two that switch a new database at once do not wait for each other by themselves."""
    last = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > last:
                raise
            time.sleep(0.01)
