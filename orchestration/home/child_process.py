"""Run one function in a spawned process with bounded memory, which the system gets back when it ends."""

import logging
import multiprocessing
import os
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def run_in_child(memory_bytes: int, log: Path, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a spawned process and return its result; what it raises is raised here.

    Args:
        memory_bytes: bound on the private memory of the process; beyond it allocation fails there, not here.
        log: file that takes what the process writes to its standard error, where TensorFlow is talkative.
        function: importable by name; arguments and result travel between the processes.
        *args: of the function.
        **kwargs: of the function.

    Raises:
        MemoryError: its process died, as it does when the system runs out of memory.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_begin, initargs=(memory_bytes, log)) as pool:
        try:
            return pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool as error:
            raise MemoryError(
                f"the process of {function.__name__} died; its limit was {memory_bytes / 2**30:.1f} GiB of private "
                "memory: close other programs, or train on fewer photos"
            ) from error


def _begin(memory_bytes: int, log: Path) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    # How far a long step has come stands in the file too; other packages keep to warnings.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("ml").setLevel(logging.INFO)
