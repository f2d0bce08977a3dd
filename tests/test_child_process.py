"""The child process: an answer comes back, a failure is told, memory is bounded."""

import os

import pytest

from orchestration.child_process import run_in_child

GIB = 2**30


def divide(upper: int, lower: int) -> float:
    return upper / lower


def allocate(size: int) -> int:
    return len(bytearray(size))


def die() -> None:
    os._exit(9)


def test_the_answer_comes_back() -> None:
    assert run_in_child(GIB, divide, 6, 3) == 2.0


def test_the_work_is_done_elsewhere() -> None:
    assert run_in_child(GIB, os.getpid) != os.getpid()


def test_what_it_raises_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        run_in_child(GIB, divide, 1, 0)


def test_memory_is_bounded() -> None:
    with pytest.raises(MemoryError):
        run_in_child(GIB, allocate, 2 * GIB)


def test_a_process_that_dies_is_named() -> None:
    with pytest.raises(MemoryError, match="the process of die died"):
        run_in_child(GIB, die)
