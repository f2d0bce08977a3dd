"""Work that is to die in the middle, in a process of its own."""

import os
import signal
from collections.abc import Callable


def killed(work: Callable[[], None]) -> None:
    """Run work in a fork of this warm process, which is expected to die by SIGKILL."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the process ended before the point at which it was to be killed"
    assert os.WTERMSIG(status) == signal.SIGKILL
