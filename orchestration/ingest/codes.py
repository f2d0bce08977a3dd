"""Codes that people said to stand for others: a sku that a keyboard or a spreadsheet has changed, mapped for good.

Belongs here: keeping what was said, and SQL that follows it. Does not: which codes look alike (the warehouse).
Raw rows stay as they came: the raw views of the warehouse show them with the code that is meant. Events of the online
store keep their codes, as its ledger does.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from orchestration.home.sql_text import literal, path_literal, quoted
from orchestration.ingest.errors import IngestError
from orchestration.ingest.manifests import ONLINE_STORE

COLUMN_OF_RULE = {"unknown_sku": "sku", "unknown_location": "location_id", "unknown_supplier": "supplier_id"}
"""Column whose code is not known, per rule under which rows wait."""

_MASTER = {"sku": "products", "location_id": "locations", "supplier_id": "suppliers"}
_FILE = "mapped_codes.json"


@dataclass(frozen=True)
class MappedCode:
    """A code that stands for another one.

    Attributes:
        column_name: sku, location_id or supplier_id.
        code: as rows have it.
        meaning: the code that is meant.
        said_by: who said so, and why.
        said_at: when, ISO 8601.
    """

    column_name: str
    code: str
    meaning: str
    said_by: str
    said_at: str


def load_codes(raw: Path) -> tuple[MappedCode, ...]:
    """Return what was said of codes, in the order of their names; nothing where nobody said anything."""
    path = raw / _FILE
    return tuple(MappedCode(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))) if path.exists() else ()


def map_code(raw: Path, column: str, code: str, meaning: str, *, said_by: str, said_at: datetime) -> None:
    """Say that a code stands for another one, in every row that came and will come by files and SQL sources.

    Raises:
        IngestError: the code that is meant is not known, is mapped itself, or is the same.
    """
    known = load_codes(raw)
    if code == meaning or any(one.code == meaning and one.column_name == column for one in known):
        raise IngestError(
            f"{column} {meaning!a} stands for another code already, or is the same: give the one that is meant"
        )
    files = path_literal(raw / _MASTER[column], "*/accepted.parquet")
    try:
        found = duckdb.execute(f"select 1 from read_parquet({files}) where {quoted(column)} = ? limit 1", [meaning])
        is_known = bool(found.fetchall())
    except duckdb.IOException:
        is_known = False
    if not is_known:
        raise IngestError(f"{column} {meaning!a} is not among the {_MASTER[column]}: load it first, or correct it")
    others = [one for one in known if (one.column_name, one.code) != (column, code)]
    _save(raw, [*others, MappedCode(column, code, meaning, said_by, said_at.isoformat())])


def forget_code(raw: Path, column: str, code: str) -> None:
    """Take back that a code stands for another one: its rows wait again.

    Raises:
        IngestError: nobody has said so.
    """
    known = load_codes(raw)
    kept = [one for one in known if (one.column_name, one.code) != (column, code)]
    if len(kept) == len(known):
        raise IngestError(
            f"{column} {code!a} stands for no other code: `inventorybot sources list` shows those that do"
        )
    _save(raw, kept)


def _save(raw: Path, codes: Sequence[MappedCode]) -> None:
    raw.mkdir(parents=True, exist_ok=True)
    beside = raw / f"{_FILE}.tmp"
    ordered = sorted(codes, key=lambda one: (one.column_name, one.code))
    beside.write_text(json.dumps([asdict(one) for one in ordered], indent=1) + "\n", encoding="utf-8")
    beside.replace(raw / _FILE)


def meant(raw: Path, column: str) -> str:
    """Return the SQL of a column of raw rows with the code that is meant."""
    codes = [one for one in load_codes(raw) if one.column_name == column]
    if not codes:
        return quoted(column)
    cases = " ".join(f"when {quoted(column)} = {literal(one.code)} then {literal(one.meaning)}" for one in codes)
    return f"case when source_file = {literal(ONLINE_STORE)} then {quoted(column)} {cases} else {quoted(column)} end"
