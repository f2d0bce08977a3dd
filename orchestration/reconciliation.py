"""A restored store beside what outlived it: which proposals the published generations and the archive name.

Belongs here: reading them. Does not: what becomes of them in the store (serving/store/recovery.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.exports import quoted
from orchestration.publication import EPOCH, current_manifest
from orchestration.settings import Settings

if TYPE_CHECKING:
    from serving.store import Recovered, Store

_TERMS = "proposal_id, as_of_date, supplier_id, sku, location_id, order_units, unit_cost, order_by_date"


def reconcile(settings: Settings, store: "Store") -> "Recovered":
    """Let the store take back what is published and it does not know.

    The list of the current generation tells the state of each proposal; earlier generations and the archive tell what
    the other ids stand for, so that none of them names anything else from here on.
    """
    from serving.store import Published

    manifest = current_manifest(settings.published)
    lines = {line["proposal_id"]: line for line in _archived(settings)}
    databases = sorted(settings.published.glob("wh_*.duckdb"))
    lines |= {line["proposal_id"]: {**line, "state": "superseded"} for file in databases for line in _listed(file)}
    if manifest is None:
        return store.reconcile(Published(EPOCH, None, {}, list(lines.values())))
    current = _listed(settings.published / f"wh_{manifest['generation']}.duckdb")
    lines |= {line["proposal_id"]: line for line in current}
    detail = {"content_hash": manifest["content_hash"], "as_of": manifest["as_of"], "run_id": manifest["run_id"]}
    return store.reconcile(Published(EPOCH, manifest["generation"], detail, list(lines.values())))


def _listed(database: Path) -> list[Mapping[str, Any]]:
    """Return the proposals that a generation lists, in the terms of the outbox."""
    with duckdb.connect(str(database), read_only=True) as connection:
        names = {
            row[0]
            for row in connection.execute(
                "select column_name from duckdb_columns() "
                "where schema_name = 'reporting' and table_name = 'purchase_order_proposals'"
            ).fetchall()
        }
        if not names:
            return []
        # Generations of an earlier version of this software have no rejections.
        also = [name for name in ("cause", "rejected_until_date", "rejected_until_units") if name in names]
        return _rows(
            connection,
            f"""
            select {", ".join([_TERMS, *also])}, state, order_by_date as expires_date,
                expected_arrival_date as expected_date
            from reporting.purchase_order_proposals
            """,
        )


def _archived(settings: Settings) -> list[Mapping[str, Any]]:
    """Return the committed proposals that archived runs counted as on order."""
    if not any(settings.archive.glob("*/open_proposals.parquet")):
        return []
    with duckdb.connect() as connection:
        return _rows(
            connection,
            f"""
            select proposal_id, proposed_for_date as as_of_date, supplier_id, sku, location_id,
                open_units::decimal(18, 3) as order_units,
                case when not isnan(unit_cost) then unit_cost::decimal(18, 4) end as unit_cost,
                order_by_date, order_by_date as expires_date, expected_date, 'superseded' as state
            from read_parquet('{quoted(settings.archive)}/*/open_proposals.parquet', union_by_name = true)
            qualify row_number() over (partition by proposal_id order by as_of_date desc) = 1
            """,
        )


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[Mapping[str, Any]]:
    answer = connection.execute(query)
    names = [column[0] for column in answer.description or ()]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
