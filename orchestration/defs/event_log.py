"""Dagster's event log in SQLite, without a wait for the disk at every event.

Dagster opens its files again for every event. Each commit waits for the disk, and each close, being the last, folds the
journal back into the file: some 5,000 waits in a run. A connection that stays open keeps the journal, and what the
machine loses of the log in a power failure is recorded nowhere else, but nothing needs it: the stores of the home keep
their own waits.

Belongs here: how a run's process opens those files. Does not: the online store (serving/store).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine


@contextmanager
def unhurried(folder: Path) -> Iterator[None]:
    """Spare the SQLite files in a folder the wait for the disk, as long as this process works on them."""
    kept: dict[Path, sqlite3.Connection] = {}

    def spare(connection: Any, _record: Any) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        file = Path(connection.execute("pragma database_list").fetchone()[2])
        if folder not in file.parents:
            return
        connection.execute("pragma synchronous = normal")
        if file not in kept:
            kept[file] = stack.enter_context(closing(sqlite3.connect(file, check_same_thread=False)))
        # Only a connection that has read is counted as a user of the journal.
        kept[file].execute("select count(*) from sqlite_schema").fetchone()

    with ExitStack() as stack:
        event.listen(Engine, "connect", spare)
        stack.callback(event.remove, Engine, "connect", spare)
        yield
