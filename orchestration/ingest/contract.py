"""The input contract: tables and columns as the dbt sources file declares them.

Belongs here: reading `dbt_project/models/staging/__raw.yml`. Does not: the texts made from it (contract_texts), which
values are allowed (suites), how values are read (validator).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from orchestration.home.settings import PROJECT_FOLDER
from orchestration.ingest.errors import ContractError

CONTRACT_FILE = PROJECT_FOLDER / "dbt_project" / "models" / "staging" / "__raw.yml"

Arrival = Literal["facts", "versions", "snapshot"]
Ends = Literal["file", "declared"]

LINEAGE_COLUMNS = (
    ("batch_id", "varchar"),
    ("ingested_at", "timestamp with time zone"),
    ("source_file", "varchar"),
    ("source_row", "integer"),
)
"""Columns that every accepted row carries beside those of the contract, with their types."""

_DATA_TYPE = re.compile(r"varchar|integer|boolean|date|timestamp with time zone|decimal\(\d+,\d+\)")
ARRIVALS = {
    "facts": "Rows are facts: each stays for ever; the same identity with the same content is a duplicate.",
    "versions": "Rows are versions: the latest arrival of a key counts.",
    "snapshot": "The files present are the whole table: what is no longer in them no longer holds.",
}
ENDS: dict[Ends | None, str] = {
    "file": "A file that comes again under its name is a full list: what it no longer has has ended.",
    "declared": "A row ends by being missing only where the home declares full lists.",
    None: "",
}


@dataclass(frozen=True)
class Column:
    """One column of a raw table.

    Attributes:
        name: name, with the unit in it.
        data_type: SQL type in lower case, such as `decimal(18,3)`.
        description: what it means.
        required: whether a null is refused.
        default: text of the value that stands for an absent column or a null, or the name of another column; None
            when there is none.
        is_lenient: whether a value that cannot be used is taken as empty, with a notice, and costs no whole row.
    """

    name: str
    data_type: str
    description: str
    required: bool
    default: str | None
    is_lenient: bool = False

    @property
    def must_be_present(self) -> bool:
        """Whether a file without this column is refused."""
        return self.required and self.default is None


@dataclass(frozen=True)
class Table:
    """One raw table.

    Attributes:
        name: name of the table, of its landing folder and of its suite.
        description: what a row is; ends with the grain.
        required: whether a run stops when there has never been a row.
        arrival: facts, versions or snapshot.
        key: identity columns.
        columns: every column, in order.
        ends: of versions, what is a full list where a home says nothing: a file that comes again under its name, or
            only what is declared; None = rows do not end by being missing.
        over_by: column with the last day of a row; what was over before a list begins, and today, may be missing.
        closed_as: values of `status` of rows that are over, which never end; others end by a SQL source
            only where that is declared.
        most_ended_share: share of the rows of a full list that the next one may lack before it is held; one row may
            always be missing.
        stands_in: table whose rows do instead of those of this one, where it is required; None = no table does.
    """

    name: str
    description: str
    required: bool
    arrival: Arrival
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    ends: Ends | None = None
    over_by: str | None = None
    closed_as: tuple[str, ...] = ()
    most_ended_share: float = 0.2
    stands_in: str | None = None

    @property
    def needed(self) -> str:
        """Whether a home needs the table, in words."""
        alone = "required" if self.required else "optional"
        return f"{alone}, or {self.stands_in}" if self.stands_in else alone

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return the column of that name."""
        return next(column for column in self.columns if column.name == name)


@lru_cache(maxsize=8)
def load_contract(path: Path = CONTRACT_FILE) -> tuple[Table, ...]:
    """Read the raw tables from a dbt sources file.

    Raises:
        ContractError: the file declares something that ingest does not know; the message names table and column.
    """
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    (source,) = [source for source in document["sources"] if source["name"] == "raw"]
    return tuple(_read_table(declared, path) for declared in source["tables"])


def table_named(name: str, contract: Iterable[Table] | None = None) -> Table:
    """Return one table of the contract.

    Raises:
        ContractError: there is no table of that name; the message lists those there are.
    """
    tables = tuple(load_contract() if contract is None else contract)
    for table in tables:
        if table.name == name:
            return table
    raise ContractError(f"no raw table is called {name!r}; there are {', '.join(table.name for table in tables)}")


def _read_table(declared: dict[str, Any], path: Path) -> Table:
    name, meta = declared["name"], declared.get("config", {}).get("meta", {})
    columns = tuple(_read_column(column, f"{path.name}: {name}") for column in declared["columns"])
    arrival = meta.get("arrival")
    if arrival not in ARRIVALS:
        raise ContractError(f"{path.name}: {name} has arrival {arrival!r}; write one of {', '.join(ARRIVALS)}")
    ends = meta.get("ends")
    if ends not in ENDS or (ends and arrival != "versions"):
        raise ContractError(f"{path.name}: {name} has ends {ends!r}; write file or declared, for versions only")
    table = Table(
        name=name,
        description=declared["description"].strip(),
        required=bool(meta.get("required")),
        arrival=cast(Arrival, arrival),
        key=tuple(meta.get("key", ())),
        columns=columns,
        ends=ends,
        over_by=meta.get("over_by"),
        closed_as=tuple(meta.get("closed_as", ())),
        most_ended_share=float(meta.get("most_ended_share", 0.2)),
        stands_in=meta.get("stands_in"),
    )
    unknown = [key for key in table.key if key not in table.column_names]
    if unknown or not table.key:
        raise ContractError(f"{path.name}: the key of {name} names {unknown or 'no column'}")
    return table


def _read_column(declared: dict[str, Any], place: str) -> Column:
    data_type = declared["data_type"].lower().replace(", ", ",")
    if not _DATA_TYPE.fullmatch(data_type):
        raise ContractError(f"{place}.{declared['name']} has data_type {data_type!r}, which ingest cannot read")
    meta = declared.get("config", {}).get("meta", {})
    default = meta.get("default")
    return Column(
        name=declared["name"],
        data_type=data_type,
        description=declared["description"].strip(),
        required=bool(meta.get("required")),
        default=None if default is None else str(default),
        is_lenient=bool(meta.get("lenient")),
    )
