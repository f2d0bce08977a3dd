"""Run one function in a spawned process with bounded memory, which the system gets back when it ends."""

import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def run_in_child(memory_bytes: int, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a spawned process and return its result; what it raises is raised here.

    Args:
        memory_bytes: bound on the private memory of the process; beyond it allocation fails there, not here.
        function: importable by name; arguments and result travel between the processes.
        *args: of the function.
        **kwargs: of the function.

    Raises:
        MemoryError: its process died, as it does when the system runs out of memory.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_bound_memory, initargs=(memory_bytes,)) as pool:
        try:
            return pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool as error:
            raise MemoryError(
                f"the process of {function.__name__} died; it was bound to {memory_bytes / 2**30:.1f} GiB of private "
                "memory: close other programs, or train on fewer photos"
            ) from error


def _bound_memory(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
