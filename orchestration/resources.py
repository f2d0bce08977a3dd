"""Dagster resources: thin shells that hand out plain Python objects. The only place that reads the environment."""

import os
import sys
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import ConfigurableResource
from dagster_dbt import DbtCliResource
from packaging.version import Version

from orchestration.settings import DBT_PROJECT, PROJECT_FOLDER, Settings

if TYPE_CHECKING:
    from ml.tracking import Tracking
    from orchestration.ingest.landing import LandingPlace
    from orchestration.ingest.sql_sources import SqlSource
    from orchestration.notifications import Notifier
    from serving.store import Store


def read_settings() -> Settings:
    """Read the settings of the home from the environment.

    Raises:
        ValueError: a variable holds a value that cannot be read; the message names variable, value and remedy.
    """
    home = Path(os.environ.get("INVENTORYBOT_HOME") or PROJECT_FOLDER / "data").expanduser().resolve()
    return Settings(
        home=home,
        landing=_read_landing(home),
        store_url=os.environ.get("INVENTORYBOT_STORE_URL") or f"sqlite:///{home / 'online_store.sqlite'}",
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow' / 'mlflow.db'}",
        artifact_root=os.environ.get("INVENTORYBOT_ARTIFACTS") or str(home / "mlflow" / "artifacts"),
        as_of=_read_day("INVENTORYBOT_AS_OF"),
        cycle_service_level=_read_number("INVENTORYBOT_CYCLE_SERVICE_LEVEL", 0.95, above=0.5, below=1.0),
        holding_cost_rate=_read_number("INVENTORYBOT_HOLDING_COST_RATE", 0.25, above=0.0, below=10.0),
        order_budget=_read_budget("INVENTORYBOT_ORDER_BUDGET"),
        generations_kept=int(_read_number("INVENTORYBOT_GENERATIONS_KEPT", 5, above=0, below=10_000)),
    )


def _read_landing(home: Path) -> Path | str:
    text = os.environ.get("INVENTORYBOT_LANDING")
    if text and "://" in text:
        from orchestration.ingest.landing import s3_address

        s3_address(text)
        return text
    return Path(text or home / "landing").expanduser().resolve()


def _read_day(name: str) -> date | None:
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a day; write it as 2011-12-08") from None


def _read_number(name: str, default: float, *, above: float, below: float) -> float:
    text = os.environ.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a number; write one between {above:g} and {below:g}") from None
    if not above < number < below:
        raise ValueError(f"{name}={text!r} is out of range; write a number between {above:g} and {below:g}")
    return number


def _read_budget(name: str) -> float | None:
    return _read_number(name, 0.0, above=-1.0, below=1e15) if os.environ.get(name) else None


def read_sources(settings: Settings) -> "tuple[SqlSource, ...]":
    """Read the SQL sources of a home, their URLs from the environment.

    Raises:
        ContractError: the sources file names a table, column or option that does not exist.
    """
    from orchestration.ingest.sql_sources import load_sources

    return load_sources(settings.sources_file, os.environ)


def open_landing(settings: Settings) -> "LandingPlace":
    """Return where files arrive; S3 is reached with the credentials and the address of the usual AWS environment.

    AWS_ENDPOINT_URL_S3 names a server that is not Amazon's.
    """
    from orchestration.ingest.landing import LandingFolder, S3Landing

    if isinstance(settings.landing, Path):
        return LandingFolder(settings.landing)
    from dagster_aws.s3 import S3Resource

    # A connection that is not made within 3 s is tried again, as `standard` has it; without, a minute is waited each.
    os.environ.setdefault("AWS_DEFAULTS_MODE", "standard")
    return S3Landing(settings.landing, S3Resource(max_attempts=4).get_client())


class HomeResource(ConfigurableResource[None]):
    """The home and its settings."""

    def settings(self) -> Settings:
        """Return the settings of this process."""
        return read_settings()

    def landing(self) -> "LandingPlace":
        """Return where files arrive."""
        return open_landing(read_settings())

    def sources(self) -> "tuple[SqlSource, ...]":
        """Return the SQL sources of the home."""
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


def read_notifiers() -> "tuple[Notifier, ...]":
    """Return who is told of a failed run: INVENTORYBOT_NOTIFY_WEBHOOK, INVENTORYBOT_NOTIFY_SMTP, or nobody.

    Raises:
        ValueError: a variable is missing or holds no address; the message names it, never its value.
    """
    from orchestration.notifications import EmailNotifier, WebhookNotifier

    notifiers: list[Notifier] = []
    webhook = _read_address("INVENTORYBOT_NOTIFY_WEBHOOK", ("https", "http"))
    if webhook:
        notifiers.append(WebhookNotifier(webhook))
    server = _read_address("INVENTORYBOT_NOTIFY_SMTP", ("smtp", "smtps"))
    if server:
        recipients = [name.strip() for name in os.environ.get("INVENTORYBOT_NOTIFY_TO", "").split(",") if name.strip()]
        if not recipients:
            raise ValueError("INVENTORYBOT_NOTIFY_TO is empty; write the addresses to tell, as ann@example.org,bo@...")
        sender = os.environ.get("INVENTORYBOT_NOTIFY_FROM") or recipients[0]
        notifiers.append(EmailNotifier(server, sender, tuple(recipients)))
    return tuple(notifiers)


def _read_address(name: str, schemes: tuple[str, ...]) -> str | None:
    text = os.environ.get(name)
    if not text:
        return None
    scheme, sign, rest = text.partition("://")
    if scheme not in schemes or not sign or not rest:
        raise ValueError(f"{name} holds no address; write one that begins with {schemes[0]}://")
    return text


class NotifierResource(ConfigurableResource[None]):
    """Who is told of a failed run."""

    def notifiers(self) -> "tuple[Notifier, ...]":
        """Return the notifiers that the environment names, none where it names none."""
        return read_notifiers()


class ParsedDbt(DbtCliResource):
    """dbt's command line, started on the project as it was parsed (orchestration.parsed_project)."""

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
        global_config_flags=["-P", "-m", "orchestration.parsed_project"],
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
