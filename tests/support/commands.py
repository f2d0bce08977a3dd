"""The command `inventorybot` on a home that a test names: as it is installed, or forked from a process that is warm."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from orchestration.warehouse.dbt import prepare_project

COMMAND = str(Path(sys.executable).parent / "inventorybot")

_SERVER = multiprocessing.get_context("forkserver")
# What every run loads, so that none waits for it.
_SERVER.set_forkserver_preload(
    [
        *("support.commands", "orchestration.cli", "orchestration.cli.runs", "orchestration.definitions"),
        *("serving.store", "pandas", "great_expectations", "mlflow", "xgboost", "dagster_aws.s3"),
    ]
)


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("INVENTORYBOT_", "DAGSTER_"))}
    return kept | {"INVENTORYBOT_HOME": str(home), "PYTHONWARNINGS": "ignore"}


def installed(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as it is installed, from the load of its libraries on."""
    return subprocess.run(
        [COMMAND, *arguments], env=environment(home), capture_output=True, text=True, timeout=400, check=False
    )


def inventorybot(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return Command(home, *arguments).wait()


class Command:
    """A command in a process of its own, forked from one that has the libraries loaded already."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.arguments = arguments
        folder = Path(tempfile.mkdtemp(prefix=f"said_of_{home.name}_", dir=home.parent))
        self.out, self.err = folder / "out", folder / "err"
        self.out.touch()
        self.err.touch()
        # Before the libraries are loaded, which read what it writes.
        prepare_project()
        self._process = _SERVER.Process(target=_run, args=(home, arguments, self.out, self.err))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.is_alive()

    def wait(self) -> subprocess.CompletedProcess[str]:
        self._process.join(600)
        code = self._process.exitcode
        assert code is not None, self.err.read_text()
        return subprocess.CompletedProcess(self.arguments, code, self.out.read_text(), self.err.read_text())

    def wait_until(self, step: str) -> None:
        """Wait until it tells of a step."""
        while step not in self.err.read_text():
            assert self._process.is_alive(), f"it ended before {step!r}:\n{self.err.read_text()}"
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it and whatever it has started, by SIGKILL."""
        os.killpg(self.pid, signal.SIGKILL)
        self._process.join(60)


def _run(home: Path, arguments: Sequence[str], out: Path, err: Path) -> None:
    os.setsid()
    for path, descriptor in ((out, 1), (err, 2)):
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC)
        os.dup2(handle, descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w", 1, closefd=False), os.fdopen(2, "w", 1, closefd=False)
    for name in [name for name in os.environ if name.startswith(("INVENTORYBOT_", "DAGSTER_"))]:
        del os.environ[name]
    os.environ |= {"INVENTORYBOT_HOME": str(home), "PYTHONWARNINGS": "ignore"}
    warnings.simplefilter("ignore")
    sys.argv = ["inventorybot", *arguments]
    from orchestration.cli import main

    main()
