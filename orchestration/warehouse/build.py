"""One build of the warehouse: its clock, its fence, dbt's arguments.

Belongs here: what surrounds dbt. Does not: SQL (dbt_project/), Dagster (defs/assets/warehouse.py), what models hand
back to dbt (handoff.py).
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.home.business_clock import BusinessClock
from orchestration.home.fingerprints import code_fingerprint
from orchestration.home.settings import Settings
from orchestration.warehouse.exports import Relation, export_relations

if TYPE_CHECKING:
    import pandas as pd

EPOCH = "generation"
"""Row of the online store that names the generation readers see; a build holds its fence."""

_BUILD = "build.json"


@dataclass(frozen=True)
class Build:
    """A build of the marts, as the steps after it read it.

    Attributes:
        run_id: run that built it.
        as_of: business day, ISO.
        ingested_until: instant up to which arrivals count, ISO, UTC.
        fence: token under which this run may publish.
        code: fingerprint of the dbt project.
        running_day: whether stock and orders count what is known of the day after the business day.
        rebuild_from: first day of a backfill, ISO; None = only what changed is rebuilt.
        data_as_of: business day that the movements tell, ISO, whatever day was given; None where nobody asked.
        counts_from: instant before which movements have a date that cannot be right, ISO, UTC; None = there are none.
        counts_until: instant from which on movements have a date that cannot be right, ISO, UTC; None = there are none.
        plan_other_consumption: whether use that recurs without a sale is demand.
    """

    run_id: str
    as_of: str
    ingested_until: str
    fence: int
    code: str
    running_day: bool = False
    rebuild_from: str | None = None
    data_as_of: str | None = None
    counts_from: str | None = None
    counts_until: str | None = None
    plan_other_consumption: bool = False

    @property
    def looks_back(self) -> bool:
        """Whether the day was given and the movements tell of later ones."""
        return not self.running_day and self.data_as_of is not None and self.as_of < self.data_as_of

    @property
    def as_of_date(self) -> date:
        """The business day."""
        return date.fromisoformat(self.as_of)

    def days_before(self, days: int) -> "pd.Timestamp":
        """Return the day so many days before the business day."""
        import pandas as pd

        return pd.Timestamp(self.as_of_date - timedelta(days=days))

    @property
    def dbt_vars(self) -> str:
        """The variables of dbt, as its command line takes them."""
        always = {"as_of": self.as_of, "ingested_until": self.ingested_until, "running_day": self.running_day}
        always |= {"looks_back": True} if self.looks_back else {}
        names = ("rebuild_from", "counts_from", "counts_until", "plan_other_consumption")
        optional = {name: getattr(self, name) for name in names}
        return json.dumps(always | {name: value for name, value in optional.items() if value})


def begin_build(
    *,
    run_id: str,
    clock: BusinessClock,
    fence: int,
    given: date | None = None,
    rebuild_from: date | None = None,
    plan_other_consumption: bool = False,
) -> Build:
    """Return a build that counts everything that has arrived by now.

    Args:
        run_id: run that builds it.
        clock: what the movements say about time.
        fence: token under which this run may publish.
        given: business day to look back at as it ended; None = the latest one, and what is known of the day after.
        rebuild_from: first day of a backfill.
        plan_other_consumption: whether use that recurs without a sale is demand.

    Raises:
        ValueError: a backfill from a day that has not been.
    """
    as_of, running_day = given or clock.as_of, given is None
    if rebuild_from is not None and rebuild_from > as_of + timedelta(days=running_day):
        raise ValueError(
            f"backfill from {rebuild_from}: the last complete day is {as_of}, and no facts of a later day exist; "
            "give that day or an earlier one"
        )
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    rebuilt = rebuild_from.isoformat() if rebuild_from else None
    return Build(
        run_id,
        as_of.isoformat(),
        now,
        fence,
        code_fingerprint("dbt_project"),
        running_day,
        rebuilt,
        data_as_of=clock.as_of.isoformat(),
        counts_from=clock.counts_from.isoformat() if clock.counts_from else None,
        counts_until=clock.counts_until.isoformat() if clock.counts_until else None,
        plan_other_consumption=plan_other_consumption,
    )


def needs_full_refresh(settings: Settings, build: Build) -> bool:
    """Return whether the incremental marts must be rebuilt: other SQL, another demand, an earlier day, or none yet."""
    if not settings.warehouse_file.exists() or not (settings.exports / _BUILD).exists():
        return True
    before = read_build(settings)
    demand_is_another = before.plan_other_consumption != build.plan_other_consumption
    return before.code != build.code or demand_is_another or before.as_of > build.as_of


def row_counts(database: Path) -> dict[str, int]:
    """Return the rows of every table and view of the warehouse, by name; nothing else may have it open."""
    if not database.exists():
        return {}
    import duckdb

    layers = "('staging', 'intermediate', 'marts', 'reporting')"
    with duckdb.connect(str(database), read_only=True) as connection:
        named = connection.sql(
            f"""
            select schema_name, table_name from duckdb_tables() where schema_name in {layers}
            union all
            select schema_name, view_name from duckdb_views() where schema_name in {layers}
            """
        ).fetchall()
        return {
            name: connection.sql(f'select count(*) from "{schema}"."{name}"').fetchall()[0][0] for schema, name in named
        }


def export_build(settings: Settings, build: Build, relations: Iterable[Relation]) -> None:
    """Export relations of a build that passed all its tests; no build is there to be read while they change."""
    (settings.exports / _BUILD).unlink(missing_ok=True)
    export_relations(settings.warehouse_file, settings.exports, relations)
    write_build(settings, build)


def write_build(settings: Settings, build: Build) -> None:
    """Say which build the exports belong to."""
    (settings.exports / _BUILD).write_text(json.dumps(asdict(build), indent=2))


def read_build(settings: Settings) -> Build:
    """Return the build that the exported marts belong to.

    Raises:
        FileNotFoundError: nothing has been built in this home.
    """
    path = settings.exports / _BUILD
    if not path.exists():
        raise FileNotFoundError(f"no marts have been built in {settings.home}: run `inventorybot run` first")
    return Build(**json.loads(path.read_text()))
