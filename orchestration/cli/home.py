"""The home as commands use it: settings, store and champion, with errors shown without a traceback.

Belongs here: what several commands begin with. Does not: what they print (output.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestration.home.environment import read_settings
from orchestration.home.settings import Settings

if TYPE_CHECKING:
    from ml.forecast import FittedForecaster
    from serving.store import Store

FAILED = 1
"""Exit code of a command that did not do what it was asked to."""


def home_settings() -> Settings:
    """Return the settings of the home.

    Raises:
        click.ClickException: a variable of the environment cannot be read.
    """
    try:
        return read_settings()
    except ValueError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def opened_store() -> Iterator["Store"]:
    """Open the online store of the home; its errors are shown without a traceback."""
    from serving.store import Store, StoreError

    try:
        with Store.open(home_settings().store_url) as opened:
            yield opened
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def business_day() -> date:
    """Return the business day of the current generation, today where nothing is published yet."""
    from orchestration.publishing.generations import current_manifest

    manifest = current_manifest(home_settings().published)
    return datetime.now(UTC).date() if manifest is None else date.fromisoformat(manifest["as_of"])


def published_home() -> Settings:
    """Return the settings of a home that has published something.

    Raises:
        click.ClickException: nothing is published yet.
    """
    from orchestration.publishing.generations import current_manifest

    settings = home_settings()
    if current_manifest(settings.published) is None:
        raise click.ClickException(f"nothing is published in {settings.home} yet: run `inventorybot run` first")
    return settings


@contextmanager
def demand_champion() -> Iterator[tuple[Settings, "FittedForecaster"]]:
    """Load the champion of demand; what is missing is shown without a traceback."""
    from ml.forecast import load
    from ml.tracking import FolderHashError, Tracking

    settings = published_home()
    tracking = Tracking(settings.tracking_uri, settings.artifact_root)
    champion = tracking.champion("demand_forecast")
    if champion is None:
        raise click.ClickException("demand_forecast has no champion yet: run `inventorybot run` first")
    try:
        yield settings, load(tracking.load_folder(champion))
    except (FileNotFoundError, FolderHashError) as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def errors_shown() -> Iterator[Settings]:
    """Give the settings, and show errors without a traceback."""
    from orchestration.home.lock import HomeError
    from orchestration.ingest.errors import IngestError
    from serving.store import StoreError

    try:
        yield read_settings()
    except (HomeError, IngestError, StoreError, ValueError) as error:
        raise click.ClickException(str(error)) from error


def has_store(settings: Settings) -> bool:
    """Return whether there is an online store: showing rows does not make one."""
    from sqlalchemy import make_url

    url = make_url(settings.store_url)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


def open_store(settings: Settings) -> "Store":
    """Open the online store, within `errors_shown`."""
    from serving.store import Store

    return Store.open(settings.store_url)
