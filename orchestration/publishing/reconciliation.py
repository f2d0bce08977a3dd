"""A restored store beside what outlived it: which proposals the published generations and the archive name.

Belongs here: reading them. Does not: what becomes of them in the store (serving/store/recovery.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.home.settings import Settings
from orchestration.home.sql_text import path_literal
from orchestration.ingest.contract import table_named
from orchestration.ingest.manifests import ONLINE_STORE, ledger_watermark
from orchestration.planning.policies import note_of
from orchestration.publishing.generations import anchors, current_manifest
from orchestration.warehouse.build import EPOCH

if TYPE_CHECKING:
    from serving.store import Recovered, Store

_ROWS = 10_000
_TERMS = "proposal_id, as_of_date, supplier_id, sku, location_id, order_units, unit_cost, order_by_date"
_DECIDED = (
    *("cause", "rejected_until_date", "rejected_until_units", "adjusted_units", "adjusted_by"),
    "acknowledged_units",
)


def reconcile(settings: Settings, store: "Store") -> "tuple[Recovered, int]":
    """Let the store take back what is published and it does not know.

    The list of the current generation has the state of each proposal, and its archive the rejections that held;
    earlier generations and the archive tell what the other ids stand for, so that none of them names anything else from
    here on. Movements that came by the store
    and were taken in by a run come back from the arrival batches; the next run knows them as duplicates.

    Returns:
        What the store found, and how many movements came back.
    """
    from serving.store import Published

    head, _ = store.head()
    manifest = current_manifest(settings.published)
    sequence = max([ledger_watermark(settings.raw), *(seen for seen, _ in anchors(settings.published))])
    lines = {line["proposal_id"]: line for line in (*_archived(settings), *_archived_transfers(settings))}
    databases = sorted(settings.published.glob("wh_*.duckdb"))
    lines |= {line["proposal_id"]: {**line, "state": "superseded"} for file in databases for line in _listed(file)}
    if manifest is None:
        found = store.reconcile(Published(EPOCH, None, {}, list(lines.values()), sequence))
        return found, _take_back_movements(settings, store, head)
    current = _listed(settings.published / f"wh_{manifest['generation']}.duckdb")
    lines |= {line["proposal_id"]: line for line in (*_rejected(settings, manifest), *current)}
    noted = ("content_hash", "as_of", "data_as_of", "run_id")
    detail = {name: manifest[name] for name in noted if name in manifest}
    found = store.reconcile(Published(EPOCH, manifest["generation"], detail, list(lines.values()), sequence))
    return found, _take_back_movements(settings, store, head)


def _take_back_movements(settings: Settings, store: "Store", head: int) -> int:
    """Append the movements that arrival batches hold from the store and the store has no more; return how many."""
    if not any(settings.raw.glob("stock_movements/*/accepted.parquet")):
        return 0
    names = [column.name for column in table_named("stock_movements").columns]
    taken = 0
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        answer = connection.execute(
            f"""
            select {", ".join(names)}
            from read_parquet({path_literal(settings.raw, "stock_movements/*/accepted.parquet")}, union_by_name = true)
            where source_file = '{ONLINE_STORE}' and source_row > ?
            order by source_row
            """,
            [head],
        )
        while rows := answer.fetchmany(_ROWS):
            events = [dict(zip(names, row, strict=True)) for row in rows]
            taken += store.append(events, source="restore").accepted
    return taken


def _listed(database: Path) -> list[Mapping[str, Any]]:
    """Return the proposals that a generation lists, in the terms of the outbox."""
    with duckdb.connect(str(database), read_only=True) as connection:
        names = _columns(connection, "purchase_order_proposals")
        if not names:
            return []
        # Generations of an earlier version of this software lack some of these, and ids of transfers.
        also = [name for name in _DECIDED if name in names]
        orders = _rows(
            connection,
            f"""
            select {", ".join([_TERMS, *also])}, state, order_by_date as expires_date,
                expected_arrival_date as expected_date
            from reporting.purchase_order_proposals
            """,
        )
        names = _columns(connection, "stock_transfers")
        if "proposal_id" not in names:
            return orders
        also = [name for name in _DECIDED if name in names]
        return orders + _rows(
            connection,
            f"""
            select {", ".join(["proposal_id", *also])}, as_of_date, sku, from_location_id,
                to_location_id as location_id, transfer_units as order_units, unit_cost, order_by_date, state,
                order_by_date as expires_date, expected_arrival_date as expected_date
            from reporting.stock_transfers
            where proposal_id is not null
            """,
        )


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    """Return the columns of a reporting table; none where there is no such table."""
    found = connection.execute(
        "select column_name from duckdb_columns() where schema_name = 'reporting' and table_name = ?", [table]
    )
    return {name for (name,) in found.fetchall()}


def lost_policies(settings: Settings, store: "Store") -> dict[str, list[str]]:
    """Return the policy overrides that the published orders follow and the store does not know.

    Returns:
        Items, as `MUG at N`, by override: what it sets, by which scope, by whom and why.
    """
    path = _archived_file(settings, current_manifest(settings.published), "restock_policies")
    if path is None:
        return {}
    known = sorted({note_of(override) for override in store.policy_overrides()}, key=len, reverse=True)
    with duckdb.connect() as connection:
        followed = connection.execute(
            f"""
            select policy_note, sku || ' at ' || location_id from read_parquet({path_literal(path)})
            where policy_note is not null order by sku, location_id
            """
        ).fetchall()
    lost: dict[str, list[str]] = {}
    for notes, item in followed:
        for note in known:
            notes = notes.replace(note, "")
        if unknown := notes.strip("; "):
            lost.setdefault(unknown, []).append(item)
    return lost


def _rejected(settings: Settings, manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rejections that held when the current generation was decided, needed or not."""
    found: list[Mapping[str, Any]] = []
    for table, source in (("rejected_needs", "supplier_id"), ("rejected_transfers", "from_location_id")):
        path = _archived_file(settings, manifest, table)
        if path is None:
            continue
        with duckdb.connect() as connection:
            found += _rows(
                connection,
                f"""
                select proposal_id, proposed_for_date::date as as_of_date, {source}, sku, location_id,
                    order_units::decimal(18, 3) as order_units,
                    case when not isnan(unit_cost) then unit_cost::decimal(18, 4) end as unit_cost,
                    order_by_date::date as order_by_date, order_by_date::date as expires_date,
                    expected_date::date as expected_date, 'rejected' as state, rejection as cause,
                    rejected_until_date::date as rejected_until_date,
                    case when not isnan(rejected_until_units) then rejected_until_units::decimal(18, 3) end
                        as rejected_until_units
                from read_parquet({path_literal(path)})
                """,
            )
    return found


def _archived_file(settings: Settings, manifest: Mapping[str, Any] | None, table: str) -> Path | None:
    """Return a table of the archive of a generation; None = the archive is not kept, or of an earlier version."""
    name = manifest.get("archive") if manifest else None
    path = settings.archive / name / f"{table}.parquet" if name else None
    return path if path is not None and path.is_file() else None


def _archived(settings: Settings) -> list[Mapping[str, Any]]:
    """Return the committed proposals that archived runs counted as on order."""
    if not any(settings.archive.glob("*/open_proposals.parquet")):
        return []
    with duckdb.connect() as connection:
        return _rows(
            connection,
            f"""
            select proposal_id, proposed_for_date::date as as_of_date, supplier_id, sku, location_id,
                open_units::decimal(18, 3) as order_units,
                case when not isnan(unit_cost) then unit_cost::decimal(18, 4) end as unit_cost,
                order_by_date::date as order_by_date, order_by_date::date as expires_date,
                expected_date::date as expected_date, 'superseded' as state
            from read_parquet({path_literal(settings.archive, "*/open_proposals.parquet")}, union_by_name = true)
            qualify row_number() over (partition by proposal_id order by as_of_date desc) = 1
            """,
        )


def _archived_transfers(settings: Settings) -> list[Mapping[str, Any]]:
    """Return the committed transfers that archived runs counted."""
    if not any(settings.archive.glob("*/open_transfers.parquet")):
        return []
    with duckdb.connect() as connection:
        return _rows(
            connection,
            f"""
            select proposal_id, proposed_for_date::date as as_of_date, from_location_id, sku, location_id,
                order_units::decimal(18, 3) as order_units,
                case when not isnan(unit_cost) then unit_cost::decimal(18, 4) end as unit_cost,
                order_by_date::date as order_by_date, order_by_date::date as expires_date,
                expected_date::date as expected_date, 'superseded' as state
            from read_parquet({path_literal(settings.archive, "*/open_transfers.parquet")}, union_by_name = true)
            qualify row_number() over (partition by proposal_id order by as_of_date desc, expected_date desc) = 1
            """,
        )


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[Mapping[str, Any]]:
    answer = connection.execute(query)
    names = [column[0] for column in answer.description or ()]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
