"""Copies of a whole store: taken while others write, checked before they are called a backup.

A backup is a SQLite file with the same tables, whichever database the store lives in.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Connection, insert, select

from serving.store import chain, recovery, stock
from serving.store.database import Database
from serving.store.errors import StoreError, StoreNotEmpty
from serving.store.migrate import migrate, require_current, version
from serving.store.schema import VERSION, ledger_head, metadata

_ROWS = 5_000


def backup(database: Database, path: Path) -> chain.VerifyReport:
    """Write a snapshot of the store to `path`; the file appears whole or not at all."""
    if path.exists():
        raise StoreError(f"There is already a file at {path}; a backup never overwrites a file. Name another one.")
    if not path.parent.is_dir():
        raise StoreError(f"There is no folder {path.parent} to write the backup to; create it first.")
    partial = path.with_name(path.name + ".partial")
    _remove(partial)
    partial_url = f"sqlite:///{partial.resolve()}"
    try:
        if database.is_sqlite:
            _copy_sqlite(Path(str(database.url.database)), partial)
        else:
            migrate(partial_url)
            _copy_into(database, partial_url)
        report = _verified(partial_url)
        _make_single_file(partial)
        partial.replace(path)
        _sync(path.parent)
    finally:
        _remove(partial)
    return report


def restore(path: Path, url: str, now: int) -> chain.VerifyReport:
    """Fill an empty store at `url` from a backup, of this schema version or an earlier one."""
    if not path.is_file():
        raise StoreError(f"There is no backup at {path}.")
    with tempfile.TemporaryDirectory(prefix="inventorybot_") as folder:
        source = Database(f"sqlite:///{_current_version(path.resolve(), Path(folder))}")
        try:
            require_current(source)
            with source.read() as connection:
                report = chain.verify(connection, ())
            if not report.is_whole:
                raise StoreError(f"The backup at {path} is damaged: {report.problems[0]} Take another one.")
            migrate(url)
            _copy_into(source, url)
        finally:
            source.close()
    target = Database(url)
    try:
        with target.write() as connection:
            recovery.advance_epoch(connection, now)
            # An instant is above any count of changes that the lost part may have reached.
            stock.advance_version(connection, now)
    finally:
        target.close()
    return _verified(url)


def _current_version(path: Path, folder: Path) -> Path:
    """Return a backup, or a copy of it in the folder that is brought up where it has an earlier schema version."""
    source = Database(f"sqlite:///{path}")
    try:
        with source.read() as connection:
            found = version(connection)
    finally:
        source.close()
    if found is None:
        raise StoreError(f"The file {path} is not a backup of an online store: name a file that `store backup` wrote.")
    if found >= VERSION:
        return path
    copy = folder / path.name
    _copy_sqlite(path, copy)
    migrate(f"sqlite:///{copy}")
    return copy


def _copy_sqlite(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as reader, sqlite3.connect(target) as writer:
        reader.backup(writer)
    reader.close()
    writer.close()


def _copy_into(source: Database, url: str) -> None:
    target = Database(url)
    try:
        with source.read() as reader, target.write() as writer:
            _require_empty(writer, target.shown_url)
            writer.execute(ledger_head.delete())
            for table in metadata.sorted_tables:
                rows = reader.execution_options(yield_per=_ROWS).execute(select(table))
                for part in rows.partitions(_ROWS):
                    writer.execute(insert(table), [dict(zip(table.c.keys(), row, strict=True)) for row in part])
    finally:
        target.close()


def _require_empty(connection: Connection, shown_url: str) -> None:
    tables: Iterable[str] = (
        table.name
        for table in metadata.sorted_tables
        if table is not ledger_head and connection.execute(select(table).limit(1)).first() is not None
    )
    filled = next(iter(tables), None)
    if filled is not None:
        raise StoreNotEmpty(
            f"The store at {shown_url} holds rows in {filled!r}; a restore never overwrites. Restore to a new URL."
        )


def _verified(url: str) -> chain.VerifyReport:
    database = Database(url)
    try:
        with database.read() as connection:
            report = chain.verify(connection, ())
    finally:
        database.close()
    if not report.is_whole:
        raise StoreError(f"The copy at {database.shown_url} does not verify: {report.problems[0]}")
    return report


def _make_single_file(path: Path) -> None:
    """Fold the write-ahead log into the file, so that copying the one file copies the backup."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
