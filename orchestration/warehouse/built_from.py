"""What the warehouse was built from, so that nothing is built again whose inputs, code and options are the same.

Belongs here: fingerprints of what dbt reads, and the record of the last build that passed all its tests. Does not:
running dbt (defs/assets/warehouse.py), what is in the tables (dbt_project/).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestration.home.fingerprints import library_fingerprint, text_fingerprint
from orchestration.home.settings import Settings
from orchestration.home.sql_text import path_literal
from orchestration.warehouse.build import Build
from orchestration.warehouse.exports import content_hash

_LIBRARIES = ("dbt-core", "dbt-duckdb", "duckdb")
_IN_BATCH = 3
"""Parts of the path of a batch's file within raw: table, batch, file."""


@dataclass(frozen=True)
class BuiltFrom:
    """What the tables of the warehouse rest on.

    Attributes:
        marts: fingerprint of all that staging, intermediate models and marts were built from; empty = they have to be
            built.
        is_whole: whether the tests tagged nightly ran too.
        rows: rows of each table and view as they were built: the views of a home that has moved show another place.
        predictions: content of each file that reporting read, by table; None = reporting has to be built.
        checks: what the tests said, by layer, as `defs` keeps it.
        changed_at: time of the last change of the warehouse's file, ns; another one = somebody else changed it.
    """

    marts: str = ""
    is_whole: bool = False
    rows: Mapping[str, int] = field(default_factory=dict)
    predictions: Mapping[str, str] | None = None
    checks: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    changed_at: int = 0


def read_built_from(settings: Settings) -> BuiltFrom:
    """Return the record of the last build; an empty one where there is none, or another hand changed the warehouse."""
    path = _record(settings)
    if not path.exists() or not settings.warehouse_file.exists():
        return BuiltFrom()
    recorded = BuiltFrom(**json.loads(path.read_text()))
    return recorded if recorded.changed_at == settings.warehouse_file.stat().st_mtime_ns else BuiltFrom()


def forget_built_from(settings: Settings) -> None:
    """Say that the tables are about to change: whoever is killed now leaves a warehouse that is built again."""
    _record(settings).unlink(missing_ok=True)


def write_built_from(settings: Settings, built: BuiltFrom) -> None:
    """Record what the tables rest on, once they are built, tested and exported."""
    changed_at = settings.warehouse_file.stat().st_mtime_ns
    beside = _record(settings).with_suffix(".tmp")
    beside.write_text(json.dumps(asdict(built) | {"changed_at": changed_at}))
    beside.replace(_record(settings))


def inputs_of_marts(settings: Settings, build: Build, tables: Iterable[str] = ()) -> str:
    """Return a fingerprint of all that the marts are built from: raw files, code, options, and days of publication.

    Args:
        settings: of the home.
        build: to come.
        tables: of `predictions` that marts read, without generations.
    """
    options = {**json.loads(build.dbt_vars), "ingested_until": None}
    places = sorted(path.relative_to(settings.raw) for path in settings.raw.rglob("*") if path.is_file())
    counted = [place for place in places if not place.parts[0].startswith(".") and not _comes_later(place, build)]
    found = [(place, (settings.raw / place).stat()) for place in counted]
    files = [(str(place), state.st_size, state.st_mtime_ns) for place, state in found]
    days = _days_of_batches(settings, build, {place.parts[1] for place in counted if len(place.parts) == _IN_BATCH})
    return text_fingerprint(
        build.code, library_fingerprint(_LIBRARIES), options, files, days, contents_of(settings, tables)
    )


def contents_of(settings: Settings, tables: Iterable[str]) -> dict[str, str]:
    """Return the content of each file that Python hands to dbt, by table of `predictions`; absent = no file."""
    paths = {table: settings.predictions / f"{table}.parquet" for table in tables}
    return {table: "{} {}".format(*content_hash(path)) for table, path in paths.items() if path.exists()}


def _comes_later(place: Path, build: Build) -> bool:
    """Return whether a file is of a batch that the build does not count; a batch id is an instant in UTC."""
    until = f"{datetime.fromisoformat(build.ingested_until).astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
    return len(place.parts) == _IN_BATCH and place.parts[1] > until


def _days_of_batches(settings: Settings, build: Build, batches: Iterable[str]) -> list[tuple[str, bool, str]]:
    """Return what generations do to the marts: whether a batch came with the first one, and the day it counts from.

    The rules are those of int_batch_days.sql and the macro published_day, which alone read generations before
    reporting. A publication changes neither for what it published.
    """
    import duckdb

    path = settings.predictions / "generations.parquet"
    published: list[tuple[str, str]] = []
    if path.exists():
        # A batch id is the instant of arrival in UTC, as text that sorts.
        published = duckdb.execute(
            f"""
            select
                strftime(timezone('UTC', ingested_until), '%Y%m%dT%H%M%S.%fZ'),
                greatest(business_date, coalesce(data_until_date, business_date))::date::varchar
            from read_parquet({path_literal(path)})
            order by number
            """
        ).fetchall()
    latest = max([build.as_of, *(day for _, day in published)])
    found = []
    for batch in sorted(batches):
        covering = [number for number, (until, _) in enumerate(published) if until >= batch]
        is_first = not published or 0 in covering
        found.append((batch, is_first, min((published[number][1] for number in covering), default=latest)))
    return found


def _record(settings: Settings) -> Path:
    return settings.warehouse_file.with_name("built_from.json")
