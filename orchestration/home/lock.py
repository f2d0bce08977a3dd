"""The lock of a home: one run at a time, across processes.

Belongs here: taking the lock, telling who holds it. Does not: what a run does while it holds it.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from orchestration.home.settings import Settings

_UNKNOWN = "unknown process"
_LOOK_SECONDS = 0.2
"""How long a look at the lock may hold it, at the very most."""


class HomeError(Exception):
    """A home that cannot be used; the message names place, cause and remedy."""


def is_claimed(settings: Settings) -> bool:
    """Tell whether a process holds the home; the look itself holds up nobody (`claimed` tries again)."""
    try:
        with (settings.home / "run.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (BlockingIOError, PermissionError):
        return True
    return False


def holder(settings: Settings) -> str:
    """Return the process that claimed the home last, as in `process 17`."""
    try:
        return (settings.home / "run.lock").read_text().strip() or _UNKNOWN
    except OSError:
        return _UNKNOWN


@contextmanager
def claimed(settings: Settings, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the home for one run; the operating system lets go of it when the process ends, however it ends.

    Args:
        settings: settings of the home.
        wait_seconds: how long to wait for another process that holds it.

    Raises:
        HomeError: another process still holds it; the message names that process.
    """
    path, give_up = settings.home / "run.lock", time.monotonic() + max(wait_seconds, _LOOK_SECONDS)
    with path.open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < give_up:
                    time.sleep(_LOOK_SECONDS / 4)
                    continue
                raise HomeError(
                    f"another run is working on {settings.home} ({holder(settings)}): "
                    "wait for it to end, or stop it, and run again"
                ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
