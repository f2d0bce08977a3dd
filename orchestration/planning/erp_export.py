"""Proposals on their way to an ERP and back: CSV files, or tables in a PostgreSQL schema.

What is handed out stays handed out until its order line appears: a receiver keeps one order line per `proposal_id`,
however often a line comes. Each side writes only what is its own: we write orders, their lines and withdrawals, the ERP
writes acknowledgements.

Belongs here: the shapes of these files and tables. Does not: states (serving/store).
"""

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.store import Acknowledgement, Proposal

COLUMNS = (
    *("proposal_id", "state", "as_of_date", "supplier_id", "sku", "location_id", "order_units", "unit_cost"),
    *("order_by_date", "expected_arrival_date", "order_id", "supplier_name", "supplier_sku", "product_name"),
    *("location_name", "unit_of_measure", "pack_units", "order_packs", "order_value", "currency", "reason"),
    *("proposal_type", "from_location_id", "from_location_name"),
)
"""`proposal_type` is `order` (from a supplier) or `transfer` (from a location of ours): then supplier_id is empty, and
unit_cost and order_value are what moving costs."""
HEADER_COLUMNS = (
    *("order_id", "supplier_id", "supplier_name", "location_id", "location_name", "order_date"),
    *("expected_arrival_date", "line_count", "order_value", "currency", "supplier_order_value"),
    *("minimum_order_value", "is_below_minimum", "proposal_type", "from_location_id", "from_location_name"),
)
WITHDRAWAL_COLUMNS = (
    *("proposal_id", "order_id", "erp_order", "supplier_id", "sku", "location_id", "order_units"),
    *("withdrawn_by", "reason", "proposal_type", "from_location_id", "from_location_name"),
)
ACKNOWLEDGEMENT_COLUMNS = ("proposal_id", "erp_order", "ordered_units")
SCHEMA = "inventorybot"
_TYPES = {
    "as_of_date": "date",
    "order_date": "date",
    "order_by_date": "date",
    "expected_arrival_date": "date",
    "order_units": "numeric(18, 3)",
    "pack_units": "numeric(18, 3)",
    "order_packs": "numeric(18, 3)",
    "unit_cost": "numeric(18, 4)",
    "order_value": "numeric(18, 4)",
    "supplier_order_value": "numeric(18, 4)",
    "minimum_order_value": "numeric(18, 4)",
    "line_count": "integer",
    "is_below_minimum": "boolean",
}
_OURS = ("exported", "withdrawn")


def line_rows(proposals: Sequence["Proposal"], currency: str | None = None) -> list[dict[str, Any]]:
    """Return order lines, one for each proposal, `COLUMNS`."""
    return [_line(proposal, currency) for proposal in proposals]


def header_rows(proposals: Sequence["Proposal"], currency: str | None = None) -> list[dict[str, Any]]:
    """Return an order of each supplier, or of each location that gives, for each location, `HEADER_COLUMNS`.

    A supplier counts its minimum over all its orders of the export, as the contract says of `minimum_order_value`.
    """
    made: list[dict[str, Any]] = []
    by_order = sorted(line_rows(proposals, currency), key=lambda line: (str(line["order_id"]), line["proposal_id"]))
    details = {proposal.proposal_id: proposal.detail for proposal in proposals}
    for order_id, group in groupby(by_order, key=lambda line: line["order_id"]):
        lines = list(group)
        common = {name: lines[0][name] for name in HEADER_COLUMNS if name in lines[0]}
        least = [_number(details[line["proposal_id"]].get("minimum_order_value")) for line in lines]
        arrivals = [line["expected_arrival_date"] for line in lines if line["expected_arrival_date"]]
        made.append(
            common
            | {
                "order_id": order_id,
                "order_date": max(line["as_of_date"] for line in lines),
                "expected_arrival_date": max(arrivals, default=None),
                "line_count": len(lines),
                "order_value": sum((line["order_value"] for line in lines), Decimal(0)),
                "minimum_order_value": max(filter(None, least), default=None),
            }
        )
    for header in made:
        alike = [each for each in made if each["supplier_id"] == header["supplier_id"]]
        alike = [header] if header["proposal_type"] == "transfer" else alike
        value = sum((each["order_value"] for each in alike), Decimal(0))
        least_value = header["minimum_order_value"]
        header["supplier_order_value"] = value
        header["is_below_minimum"] = least_value is not None and value < least_value
    return [{name: header[name] for name in HEADER_COLUMNS} for header in made]


def withdrawal_rows(withdrawn: Sequence["Proposal"]) -> list[dict[str, Any]]:
    """Return what the ERP must not order, or cancel, `WITHDRAWAL_COLUMNS`."""
    return [
        {
            **{name: getattr(proposal, name) for name in WITHDRAWAL_COLUMNS if hasattr(proposal, name)},
            "order_units": proposal.final_units,
            "withdrawn_by": proposal.changed_by,
            "reason": proposal.change_reason,
            **_origin(proposal),
        }
        for proposal in withdrawn
    ]


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file in one step: a reader sees the whole file or the one before it.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("w", newline="") as file:
            file.write(csv_text(columns, rows))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@dataclass(frozen=True)
class Handout:
    """What the ERP is handed.

    Attributes:
        lines: proposals to order.
        orders: all proposals of their orders, also those that the ERP knows already: headers count them.
        withdrawn: what was handed out, has ended, and the ERP has not acknowledged as withdrawn.
        currency: of all money; None = not said.
    """

    lines: Sequence["Proposal"]
    orders: Sequence["Proposal"]
    withdrawn: Sequence["Proposal"]
    currency: str | None = None


def write_folder(folder: Path, handout: Handout) -> None:
    """Write `purchase_order_lines.csv`, `withdrawals.csv` and, last, `purchase_orders.csv`.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "purchase_order_lines.csv", COLUMNS, line_rows(handout.lines, handout.currency))
    write_csv(folder / "withdrawals.csv", WITHDRAWAL_COLUMNS, withdrawal_rows(handout.withdrawn))
    write_csv(folder / "purchase_orders.csv", HEADER_COLUMNS, header_rows(handout.orders, handout.currency))


def read_acknowledgements(path: Path) -> list["Acknowledgement"]:
    """Read what an ERP says it ordered, `ACKNOWLEDGEMENT_COLUMNS`; empty units = as proposed, 0 = nothing.

    A copy of the export with the orders filled in is read too; its order_units count where ordered_units are empty.

    Raises:
        OSError: the file cannot be read.
        ValueError: a column is missing or unknown, or a cell cannot be read; the message names the column or the row.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [name for name in ACKNOWLEDGEMENT_COLUMNS[:2] if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{path} has no column {' and no column '.join(missing)}: its first line names the columns, "
                f"{', '.join(ACKNOWLEDGEMENT_COLUMNS)}"
            )
        known = {*ACKNOWLEDGEMENT_COLUMNS, *COLUMNS}
        unknown = [name for name in reader.fieldnames or () if name and name not in known]
        if unknown:
            raise ValueError(
                f"{path} has the column {' and the column '.join(map(repr, unknown))}, which nothing reads: call the "
                "units that were ordered ordered_units, and leave other columns out"
            )
        return [_acknowledged(f"{path}, row {number}", row) for number, row in enumerate(reader, 1)]


def upsert_postgresql(url: str, handout: Handout, named: Callable[[Iterable[str]], Mapping[str, "Proposal"]]) -> None:
    """Write orders and their lines into the schema `inventorybot`, one row per order and proposal, in one transaction.

    `purchase_orders` and `purchase_order_proposals` are ours, and so is `state`: exported, withdrawn, or what the
    ERP wrote there, which stays. `withdrawn_reason` says since when and why a line is not to be ordered, whatever its
    state. `purchase_order_acknowledgements` is the ERP's: it is made where it is not there, and never written.

    Args:
        url: `postgresql://user@host/database`.
        handout: what is handed out and withdrawn.
        named: gives the proposals that exist among ids.

    Raises:
        psycopg.Error: the database cannot be reached or refuses; nothing of this call is kept.
    """
    import psycopg

    with psycopg.connect(url) as connection:
        # Two first exports at once would both make the schema, and rows taken in two orders wait for each other.
        connection.execute("select pg_advisory_xact_lock(hashtext(%s))", [SCHEMA])
        for statement in _definitions():
            connection.execute(statement)
        _upsert(connection, "purchase_orders", HEADER_COLUMNS, header_rows(handout.orders, handout.currency))
        _upsert(connection, "purchase_order_proposals", COLUMNS, line_rows(handout.lines, handout.currency))
        table = f"{SCHEMA}.purchase_order_proposals"
        standing = connection.execute(f"select proposal_id from {table} where withdrawn_reason is null").fetchall()
        withdrawals = [
            (f"{proposal.state} by {proposal.changed_by}: {proposal.change_reason}".rstrip(": "), proposal_id)
            for proposal_id, proposal in named({row[0] for row in standing}).items()
            if proposal.state in ("rejected", "superseded", "expired", "cancelled") and not proposal.has_order_line
        ]
        connection.cursor().executemany(
            f"update {table} set withdrawn_reason = %s, withdrawn_at = now(), "
            f"state = case when state = 'exported' then 'withdrawn' else state end where proposal_id = %s "
            "and withdrawn_reason is null",
            withdrawals,
        )


def acknowledgements_postgresql(url: str) -> list["Acknowledgement"]:
    """Return what the ERP wrote into `inventorybot.purchase_order_acknowledgements`.

    Raises:
        psycopg.Error: the database cannot be reached, or has no such table: nothing was exported to it.
    """
    import psycopg

    from serving.store import Acknowledgement

    names = ", ".join(ACKNOWLEDGEMENT_COLUMNS)
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            f"select {names} from {SCHEMA}.purchase_order_acknowledgements order by proposal_id"
        ).fetchall()
    return [Acknowledgement(*row) for row in rows]


def _definitions() -> list[str]:
    def columns(names: Sequence[str]) -> str:
        return ", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in names[1:])

    lines = f"{SCHEMA}.purchase_order_proposals"
    # A table of an earlier version of this software lacks the columns after the tenth.
    later = (*(f"{name} {_TYPES.get(name, 'text')}" for name in COLUMNS[10:]), "withdrawn_at timestamptz")
    later = (*later, "withdrawn_reason text")
    return [
        f"create schema if not exists {SCHEMA}",
        f"create table if not exists {SCHEMA}.purchase_orders (order_id text primary key, {columns(HEADER_COLUMNS)})",
        f"alter table {SCHEMA}.purchase_orders "
        + ", ".join(f"add column if not exists {name} {_TYPES.get(name, 'text')}" for name in HEADER_COLUMNS[-3:]),
        f"create table if not exists {lines} (proposal_id text primary key, {columns(COLUMNS[:10])}, "
        "exported_at timestamptz not null default now())",
        f"alter table {lines} " + ", ".join(f"add column if not exists {column}" for column in later),
        f"create table if not exists {SCHEMA}.purchase_order_acknowledgements (proposal_id text primary key, "
        "erp_order text, ordered_units numeric(18, 3), acknowledged_at timestamptz not null default now())",
    ]


def _upsert(connection: Any, table: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    changed = [f"{name} = excluded.{name}" for name in columns[1:] if name != "state"]
    kept = f"{SCHEMA}.{table}.state"
    if "state" in columns:
        ours = ", ".join(f"'{state}'" for state in _OURS)
        changed.append(f"state = case when {kept} in ({ours}) then excluded.state else {kept} end")
        changed.append("withdrawn_at = null, withdrawn_reason = null")
    connection.cursor().executemany(
        f"insert into {SCHEMA}.{table} ({', '.join(columns)}) values ({', '.join(['%s'] * len(columns))}) "
        f"on conflict ({columns[0]}) do update set {', '.join(changed)}",
        [[row[name] for name in columns] for row in rows],
    )


def _line(proposal: "Proposal", currency: str | None) -> dict[str, Any]:
    detail = proposal.detail
    pack = _number(detail.get("pack_units"))
    return {
        **{name: getattr(proposal, name) for name in COLUMNS[:9]},
        "order_units": proposal.final_units,
        "expected_arrival_date": proposal.expected_date,
        "order_id": proposal.order_id,
        **{name: detail.get(name) for name in ("supplier_name", "supplier_sku", "product_name", "location_name")},
        "unit_of_measure": detail.get("unit_of_measure"),
        "pack_units": pack,
        "order_packs": proposal.final_units / pack if pack else None,
        "order_value": (proposal.final_units * (proposal.unit_cost or 0)).quantize(Decimal("0.0001")),
        "currency": currency,
        "reason": _reason(proposal),
        **_origin(proposal),
    }


def _reason(proposal: "Proposal") -> str | None:
    """Return the reason of the order; its terms add up to what was proposed, the adjustment to what is ordered."""
    from serving.store import units_text

    reason = proposal.detail.get("reason")
    if proposal.adjusted_units is None:
        return reason
    change = proposal.adjusted_units - proposal.order_units
    term = f"{'+' if change > 0 else '−'} {units_text(abs(change))} adjusted by {proposal.adjusted_by}"
    adjusted = f"{units_text(proposal.order_units)} {term} = {units_text(proposal.adjusted_units)}."
    return f"{reason} {adjusted}" if reason else adjusted


def _origin(proposal: "Proposal") -> dict[str, Any]:
    """Return what kind of proposal it is, and the location that a transfer leaves."""
    return {
        "proposal_type": "transfer" if proposal.is_transfer else "order",
        "from_location_id": proposal.from_location_id or None,
        "from_location_name": proposal.detail.get("from_location_name"),
    }


def _number(text: object) -> Decimal | None:
    return None if text is None else Decimal(str(text))


def _acknowledged(place: str, row: Mapping[str, str | None]) -> "Acknowledgement":
    from serving.store import Acknowledgement

    proposal_id, erp_order = ((row[name] or "").strip() for name in ACKNOWLEDGEMENT_COLUMNS[:2])
    units = (row.get("ordered_units") or row.get("order_units") or "").strip()
    if not proposal_id:
        raise ValueError(f"{place} names no proposal_id")
    try:
        return Acknowledgement(proposal_id, erp_order or None, Decimal(units) if units else None)
    except InvalidOperation:
        raise ValueError(f"{place}: ordered_units {units!r} is not a number; write it as 48 or 12.5") from None
