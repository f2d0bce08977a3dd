"""Prepare a home: folders, Dagster's instance, databases. Safe to repeat."""

import os
from pathlib import Path

from orchestration.home.lock import HomeError
from orchestration.home.settings import Settings

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


def make_store(settings: Settings, *, start_empty: bool = False) -> int:
    """Create the online store of a home or bring it to the current schema; return the schema version.

    Args:
        settings: settings of the home.
        start_empty: make an empty store beside data that another one was kept with.

    Raises:
        HomeError: the home holds data and no store: an empty one would have forgotten every decision.
    """
    from serving.store import Store

    if not start_empty and not Store.exists(settings.store_url) and _holds_data(settings):
        from sqlalchemy import make_url

        address = make_url(settings.store_url).render_as_string(hide_password=True)
        raise HomeError(
            f"there is no online store at {address}, and {settings.home} holds data that one was kept with: restore "
            "its latest backup with `inventorybot store restore FILE`. If there is none, make an empty one with "
            "`inventorybot store migrate --start-empty`: events that no run had loaded, policies and unpublished "
            "decisions are then lost"
        )
    return Store.migrate(settings.store_url)


def _holds_data(settings: Settings) -> bool:
    return any(settings.published.glob("wh_*.json")) or any(settings.raw.glob("*/*/manifest.json"))
