"""Files of movements and products in every form in which suppliers send them, and a home that takes them in."""

import gzip
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.home.sql_text import path_literal
from orchestration.ingest.batches import ArrivalReport, ingest_table
from orchestration.ingest.limits import FileRules, Limits

MORNING = datetime(2026, 11, 23, 6, tzinfo=UTC)
MOVEMENT = {
    "source": "pos",
    "document": "D1",
    "line": "1",
    "occurred_at": "2024-05-01T10:00:00Z",
    "sku": "A",
    "location_id": "L1",
    "movement_type": "sale",
    "quantity_units": "-1",
}
PRODUCT = {"sku": "A", "product_name": "Apple", "category": "food", "unit_cost": "1", "unit_price": "2"}


class Intake:
    """A landing folder and a raw folder, with a clock that an hour passes on between two arrivals."""

    def __init__(self, folder: Path) -> None:
        self.landing, self.raw, self.now = folder / "landing", folder / "raw", MORNING

    def put(self, table: str, name: str, content: bytes | str) -> Path:
        path = self.landing / table / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def take_in(self, table: str, **options: Any) -> ArrivalReport:
        self.now += timedelta(hours=1)
        files = FileRules(options.pop("limits", Limits()), options.pop("formats", ()))
        given = {"landing": self.landing, "raw": self.raw, "ingested_at": self.now, "settle_seconds": 0}
        return ingest_table(table, **{**given, "files": files, **options})

    def rows(self, table: str, columns: str, file: str = "accepted") -> list[tuple[Any, ...]]:
        files = path_literal(self.raw / table, f"*/{file}.parquet")
        return duckdb.sql(f"select {columns} from read_parquet({files}) order by batch_id, source_row").fetchall()


def movement(**change: str) -> dict[str, str]:
    return {**MOVEMENT, **change}


def product(**change: str) -> dict[str, str]:
    return {**PRODUCT, **change}


def as_csv(*rows: dict[str, str], delimiter: str = ",") -> str:
    return "".join(f"{delimiter.join(values)}\n" for values in (rows[0], *(row.values() for row in rows)))


def as_gzip(*rows: dict[str, str]) -> bytes:
    return gzip.compress(as_csv(*rows).encode())


def as_parquet(*rows: dict[str, str], **columns: pa.Array) -> bytes:
    arrays = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    written = io.BytesIO()
    pq.write_table(pa.table({**arrays, **columns}), written)
    return written.getvalue()
