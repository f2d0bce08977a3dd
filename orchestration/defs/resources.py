"""Dagster resources: thin shells that hand out plain Python objects; what the environment says comes from there."""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dagster import ConfigurableResource
from dagster_dbt import DbtCliResource
from packaging.version import Version

from orchestration.home.environment import read_settings
from orchestration.home.settings import DBT_PROJECT, Settings

if TYPE_CHECKING:
    from ml.tracking import Tracking
    from orchestration.ingest.landing import LandingPlace
    from orchestration.ingest.sql_sources import SqlSource
    from orchestration.notifications import Notifier
    from serving.store import Store


class HomeResource(ConfigurableResource[None]):
    """The home and its settings."""

    def settings(self) -> Settings:
        """Return the settings of this process."""
        return read_settings()

    def landing(self) -> "LandingPlace":
        """Return where files arrive."""
        from dagster_aws.s3 import S3Resource

        from orchestration.ingest.landing import S3_ATTEMPTS, open_landing

        return open_landing(read_settings(), S3Resource(max_attempts=S3_ATTEMPTS).get_client)

    def sources(self) -> "tuple[SqlSource, ...]":
        """Return the SQL sources of the home."""
        from orchestration.ingest.sql_sources import read_sources

        return read_sources(read_settings())


class StoreResource(ConfigurableResource[None]):
    """The online store: event ledger, quarantine, epochs."""

    url: str

    def open(self) -> "Store":
        """Return the store, schema checked."""
        from serving.store import Store

        return Store.open(self.url)


class TrackingResource(ConfigurableResource[None]):
    """MLflow: experiments, registered models, champions."""

    tracking_uri: str
    artifact_root: str

    def open(self) -> "Tracking":
        """Return the tracking client of this home."""
        from ml.tracking import Tracking

        return Tracking(self.tracking_uri, self.artifact_root)


class NotifierResource(ConfigurableResource[None]):
    """Who gets reports of failed runs."""

    def notifiers(self) -> "tuple[Notifier, ...]":
        """Return the notifiers that the environment names, none where it names none."""
        from orchestration.notifications import read_notifiers

        return read_notifiers()


class ParsedDbt(DbtCliResource):
    """dbt's command line, started on the project as it was parsed (orchestration.warehouse.dbt)."""

    @property
    def _cli_version(self) -> Version:
        """The version of dbt, without a start of dbt to ask for it."""
        return Version(version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:
        """Nothing: an adapter of this process serves columns and row counts that are read from the exports here."""


def dbt_resource(settings: Settings) -> DbtCliResource:
    """Return dbt's command line bound to the home: dbt reads its paths from the environment set here."""
    os.environ.update(
        INVENTORYBOT_WAREHOUSE=str(settings.warehouse_file),
        INVENTORYBOT_RAW=str(settings.raw),
        INVENTORYBOT_PREDICTIONS=str(settings.predictions),
        DBT_SEND_ANONYMOUS_USAGE_STATS="false",
    )
    return ParsedDbt(
        project_dir=str(DBT_PROJECT),
        profiles_dir=str(DBT_PROJECT),
        dbt_executable=sys.executable,
        global_config_flags=["-P", "-m", "orchestration.warehouse.dbt"],
    )


def default_resources() -> dict[str, object]:
    """Return the resources of a home that the environment describes; nothing is opened yet."""
    settings = read_settings()
    return {
        "home": HomeResource(),
        "store": StoreResource(url=settings.store_url),
        "tracking": TrackingResource(tracking_uri=settings.tracking_uri, artifact_root=settings.artifact_root),
        "notifier": NotifierResource(),
        "dbt": dbt_resource(settings),
    }
