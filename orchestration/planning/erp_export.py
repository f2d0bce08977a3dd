"""Proposals on their way to an ERP: one CSV file, or an upsert into a PostgreSQL schema.

What is handed out stays handed out until its order line appears: a receiver keeps one order line per `proposal_id`,
however often a line comes.
"""

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.store import Proposal

COLUMNS = (
    *("proposal_id", "state", "as_of_date", "supplier_id", "sku", "location_id", "order_units", "unit_cost"),
    *("order_by_date", "expected_arrival_date"),
)
SCHEMA = "inventorybot"
_DEFINITION = f"""
    create schema if not exists {SCHEMA};
    create table if not exists {SCHEMA}.purchase_order_proposals (
        proposal_id text primary key,
        state text not null,
        as_of_date date not null,
        supplier_id text not null,
        sku text not null,
        location_id text not null,
        order_units numeric(18, 3) not null,
        unit_cost numeric(18, 4),
        order_by_date date,
        expected_arrival_date date,
        exported_at timestamptz not null default now()
    )
"""


def csv_text(proposals: Sequence["Proposal"]) -> str:
    """Return proposals as CSV with a header, `COLUMNS`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_values(proposal) for proposal in proposals)
    return text.getvalue()


def write_csv(path: Path, proposals: Sequence["Proposal"]) -> None:
    """Write a CSV file in one step: a reader sees the whole file or the one before it.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("w", newline="") as file:
            file.write(csv_text(proposals))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def upsert_postgresql(
    url: str, proposals: Sequence["Proposal"], named: Callable[[Iterable[str]], Mapping[str, "Proposal"]]
) -> None:
    """Write proposals into `inventorybot.purchase_order_proposals`, one row per proposal_id, in one transaction.

    What was handed out before and is not any more, as it was cancelled or has its order line, gets its present state.

    Args:
        url: `postgresql://user@host/database`.
        proposals: what is handed out.
        named: gives the proposals that exist among ids.

    Raises:
        psycopg.Error: the database cannot be reached or refuses; nothing of this call is kept.
    """
    import psycopg

    names = ", ".join(COLUMNS)
    values = ", ".join(["%s"] * len(COLUMNS))
    changed = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
    with psycopg.connect(url) as connection:
        # Two first exports at once would both make the schema, and rows taken in two orders wait for each other.
        connection.execute("select pg_advisory_xact_lock(hashtext(%s))", [SCHEMA])
        connection.execute(_DEFINITION)
        connection.cursor().executemany(
            f"insert into {SCHEMA}.purchase_order_proposals ({names}) values ({values}) "
            f"on conflict (proposal_id) do update set {changed}",
            [_values(proposal) for proposal in proposals],
        )
        table = f"{SCHEMA}.purchase_order_proposals"
        standing = connection.execute(f"select proposal_id, state from {table} where state = 'exported'").fetchall()
        left = {row[0] for row in standing} - {proposal.proposal_id for proposal in proposals}
        connection.cursor().executemany(
            f"update {table} set state = %s where proposal_id = %s",
            [(proposal.state, proposal_id) for proposal_id, proposal in named(left).items()],
        )


def _values(proposal: "Proposal") -> list[object]:
    return [
        *(proposal.proposal_id, proposal.state, proposal.as_of_date, proposal.supplier_id, proposal.sku),
        *(proposal.location_id, proposal.order_units, proposal.unit_cost, proposal.order_by_date),
        proposal.expected_date,
    ]
