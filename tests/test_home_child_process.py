"""The child process: an answer comes back, a failure is told, memory is bounded."""

import os
import sys
from pathlib import Path

import pytest

from orchestration.home.child_process import run_in_child

GIB = 2**30


def divide(upper: int, lower: int) -> float:
    return upper / lower


def allocate(size: int) -> int:
    return len(bytearray(size))


def complain() -> None:
    print("a warning", file=sys.stderr, flush=True)


def die() -> None:
    os._exit(9)


def test_the_answer_comes_back(tmp_path: Path) -> None:
    assert run_in_child(GIB, tmp_path / "log", divide, 6, 3) == 2.0


def test_the_work_is_done_elsewhere(tmp_path: Path) -> None:
    assert run_in_child(GIB, tmp_path / "log", os.getpid) != os.getpid()


def test_what_it_raises_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run_in_child(GIB, tmp_path / "log", divide, 1, 0)


def test_memory_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(MemoryError):
        run_in_child(GIB, tmp_path / "log", allocate, 2 * GIB)


def test_a_process_that_dies_is_named(tmp_path: Path) -> None:
    with pytest.raises(MemoryError, match="the process of die died"):
        run_in_child(GIB, tmp_path / "log", die)


def test_what_it_writes_to_standard_error_goes_to_the_log(tmp_path: Path) -> None:
    run_in_child(GIB, tmp_path / "log", complain)
    assert "a warning" in (tmp_path / "log").read_text()
