"""The folder in which batches of a table are made: who may work in it, and what is left there by a killed process.

Belongs here: the lock of a table and cleaning up. Does not: what is made there (batches).
"""

import errno
import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestration.ingest.contract import Table
from orchestration.ingest.errors import IngestBusy, IngestError

_LOCK_SECONDS = 60.0


@contextmanager
def locked(arriving: Path, table: Table) -> Iterator[None]:
    """Hold a table for this process; the operating system lets go of it however the process ends."""
    with (arriving / "lock").open("a") as file:
        give_up = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise IngestBusy(
                        f"another process has been ingesting {table.name} for {_LOCK_SECONDS:.0f} s: wait for it to "
                        "end, or stop it, and run again"
                    ) from None
                time.sleep(0.05)
        yield


def remove_abandoned(arriving: Path) -> None:
    """Remove what a killed process left; the lock is held, so nobody is at work in here."""
    for path in arriving.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def unwritable(raw: Path, reason: str, code: int | None) -> IngestError:
    remedy = "free disk space" if code == errno.ENOSPC else "give it to your user or set INVENTORYBOT_HOME elsewhere"
    return IngestError(f"{raw} cannot be written ({reason}); nothing was committed: {remedy} and run again")
