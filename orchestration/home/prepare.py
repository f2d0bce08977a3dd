"""Prepare a home and the project: folders, Dagster's instance, databases, dbt's manifest. Safe to repeat."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestration.home.settings import DBT_PROJECT, PROJECT_FOLDER, WAREHOUSE_NAME, Settings
from orchestration.warehouse.dbt import FINGERPRINT, PARSED, fingerprint, is_parsed

# A pool without a limit lets two runs write at once; a cancelled run keeps its place unless it is freed.
_DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 1
  pools:
    default_limit: 1
    granularity: op
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 30
retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days:
      skipped: 2
      failure: 30
      success: 90
      started: 90
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
"""


_UNKNOWN = "unknown process"
_LOOK_SECONDS = 0.2
"""How long a look at the lock may hold it, at the very most."""


class HomeError(Exception):
    """A home that cannot be used; the message names place, cause and remedy."""


def prepare_project() -> None:
    """Parse the dbt project when its files have changed since the last time; a fresh clone has no manifest."""
    if is_parsed():
        return
    FINGERPRINT.unlink(missing_ok=True)
    command = [str(Path(sys.executable).parent / "dbt"), "--quiet", "parse", "--no-partial-parse"]
    folders = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    result = subprocess.run(
        [*command, *folders, "--target-path", str(PARSED)],
        cwd=PROJECT_FOLDER,
        # dbt calls the database after its file; the folder is that of no home yet.
        env=os.environ | {"INVENTORYBOT_WAREHOUSE": WAREHOUSE_NAME},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise HomeError(f"dbt cannot parse {DBT_PROJECT}:\n{result.stdout}{result.stderr}")
    FINGERPRINT.write_text(fingerprint())


def configure_instance(folder: Path) -> None:
    """Configure Dagster's instance: one run at a time, pools of one, runs whose process died found and tried again."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text(_DAGSTER_YAML)


def prepare_home(settings: Settings) -> None:
    """Create the folders and databases of a home.

    Raises:
        HomeError: the home is not writable, or holds data and no online store.
    """
    from ml.tracking import Tracking

    try:
        for folder in (settings.raw, settings.exports, settings.predictions, settings.archive, settings.published):
            folder.mkdir(parents=True, exist_ok=True)
        configure_instance(settings.dagster_home)
        probe = settings.home / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise HomeError(
            f"the home {settings.home} cannot be written ({error.strerror}: {error.filename}): "
            "give it to your user or set INVENTORYBOT_HOME to a folder that you may write"
        ) from error
    make_store(settings)
    Tracking(settings.tracking_uri, settings.artifact_root)


def make_store(settings: Settings, *, begin_anew: bool = False) -> int:
    """Create the online store of a home or bring it to the current schema; return the schema version.

    Args:
        settings: settings of the home.
        begin_anew: make an empty store beside data that another one was kept with.

    Raises:
        HomeError: the home holds data and no store: an empty one would have forgotten every decision.
    """
    from serving.store import Store

    if not begin_anew and not Store.exists(settings.store_url) and _holds_data(settings):
        from sqlalchemy import make_url

        address = make_url(settings.store_url).render_as_string(hide_password=True)
        raise HomeError(
            f"there is no online store at {address}, and {settings.home} holds data that one was kept with: restore "
            "its latest backup with `inventorybot store restore FILE`. If there is none, begin with an empty one by "
            "`inventorybot store migrate --begin-anew`: events that no run had taken in, policies and the decisions "
            "that are not published are lost then"
        )
    return Store.migrate(settings.store_url)


def _holds_data(settings: Settings) -> bool:
    return any(settings.published.glob("wh_*.json")) or any(settings.raw.glob("*/*/manifest.json"))


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
