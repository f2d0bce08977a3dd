"""Histories: what each business day published, put together from the archive for the tables of analysts.

Belongs here: which rows of an archive a history keeps. Does not: the archive itself (archive.py), how long it is kept
(`orchestration.defs.retention`): a history ends where the archive does.
"""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from orchestration.home.fingerprints import text_fingerprint
from orchestration.home.settings import Settings
from orchestration.home.sql_text import literal
from orchestration.planning.archive import ARCHIVED_INPUTS, archives_in_force
from orchestration.warehouse.build import Build
from orchestration.warehouse.exports import export_path, parquet_of, read_sql
from orchestration.warehouse.handoff import kept_predictions

if TYPE_CHECKING:
    from serving.store import Epoch

LAGS = (1, 7, 14, 28)
"""Days ahead at which published forecasts are kept and judged; all days ahead would be fourteen times as much."""

_MARTS = {relation.split(".")[1]: relation for relation in ARCHIVED_INPUTS}
_TABLES = (*_MARTS, "demand_forecasts", "restock_lines")

# What a history keeps of one business day, {as_of}; the other names in braces are tables of its archive.
QUERIES = {
    "published_forecasts": f"""
        select
            sku, location_id, day, as_of_date, periods_ahead::integer as periods_ahead,
            mean_units, q10_units, q50_units, q90_units, model_version
        from {{demand_forecasts}}
        where periods_ahead in {LAGS}
    """,
    "item_snapshots": """
        select
            positions.sku, positions.location_id, positions.as_of_date as as_known_on, demand.demand_units,
            demand.is_in_stock, positions.on_hand_units, positions.sold_since_units, positions.on_order_units,
            positions.inventory_position_units, items.unit_cost, items.unit_price, lines.supplier_id, lines.status,
            lines.order_units
        from {fct_stock_position} as positions
        inner join {dim_item_locations} as items using (sku, location_id)
        left join {restock_lines} as lines using (sku, location_id)
        left join {fct_daily_demand} as demand
            on demand.sku = positions.sku and demand.location_id = positions.location_id
            and demand.day = date '{as_of}'
    """,
}


def write_history(settings: Settings, build: Build, table: str) -> Path:
    """Write what this run and the archive of every earlier business day say of a table; return the file.

    An archive never changes: what was read from it before is taken from the file as it was, and goes with the archive.

    Args:
        settings: of the home.
        build: of this run, whose own rows come from what it has predicted and decided so far.
        table: key of `QUERIES`.

    Raises:
        FileNotFoundError: an archive lacks a table.
    """
    query = QUERIES[table]
    made_by = text_fingerprint(query)
    path = settings.predictions / f"{table}.parquet"
    days = {folder.name: day for day, folder in archives_in_force(settings, build).items()}
    beside = path.with_suffix(".tmp")
    try:
        with duckdb.connect() as connection:
            before = kept_predictions(settings, table, made_by)
            kept = _archives_of(connection, before) & set(days) if before else set()
            parts = [_rows(settings, query, build.as_of, None)]
            parts += [_rows(settings, query, day, name) for name, day in days.items() if name not in kept]
            if kept:
                parts.append(f"select * from {read_sql(path)} where archive in ({_listed(kept)})")
            connection.execute(
                f"copy ({' union all by name '.join(parts)}) to {literal(beside)}"
                f" (format parquet, compression zstd, kv_metadata {{made_from: '{made_by}'}})"
            )
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def write_generations(settings: Settings, epochs: Iterable["Epoch"]) -> Path:
    """Write when each generation before this run was published, and for which business day; return the file.

    Args:
        settings: of the home.
        epochs: what the online store says of the generations, oldest first.
    """
    import pandas as pd

    columns = {
        "number": "int64",
        "generation": "string",
        "business_date": "datetime64[us]",
        "data_until_date": "datetime64[us]",
        "published_at": "datetime64[us, UTC]",
        "ingested_until": "datetime64[us, UTC]",
        "run_id": "string",
        "content_hash": "string",
    }
    frame = pd.DataFrame(map(_published, epochs), columns=list(columns)).astype(columns)
    path = settings.predictions / "generations.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    try:
        frame.to_parquet(beside, index=False)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _published(epoch: "Epoch") -> tuple[object, ...]:
    # Earlier versions of this software did not note which arrivals a generation counts: those until its publication.
    noted = epoch.detail.get("ingested_until")
    return (
        *(epoch.number, epoch.value, epoch.detail.get("as_of"), epoch.detail.get("data_as_of"), epoch.recorded_at),
        *(datetime.fromisoformat(noted) if noted else epoch.recorded_at, epoch.run_id),
        epoch.detail.get("content_hash"),
    )


def _rows(settings: Settings, query: str, as_of: str, archive: str | None) -> str:
    """Return a query of one business day, which reads its archive; None = what this run has made so far."""
    tables = {name: read_sql(_source(settings, name, archive)) for name in _TABLES if f"{{{name}}}" in query}
    return f"select *, '{archive or ''}' as archive from ({query.format(as_of=as_of, **tables)}) as rows_of_day"


def _source(settings: Settings, table: str, archive: str | None) -> Path:
    if archive:
        return parquet_of(settings.archive, f"{archive}.{table}")
    return export_path(settings, _MARTS[table]) if table in _MARTS else settings.predictions / f"{table}.parquet"


def _archives_of(connection: duckdb.DuckDBPyConnection, path: Path) -> set[str]:
    found = connection.execute(f"select distinct archive from {read_sql(path)}").fetchall()
    return {name for (name,) in found}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(literal, sorted(names)))
