"""What a model learns from, as MLflow shows it: names, columns, rows and hashes, never the rows themselves.

Belongs here: describing exported Parquet. Does not: reading it for a training (data.py).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from orchestration.warehouse.exports import read_sql

if TYPE_CHECKING:
    from ml.tracking import DatasetNote


def note_of(path: Path, home: Path, rows: int, digest: str) -> "DatasetNote":
    """Return how MLflow names a Parquet file, or a folder of months.

    Args:
        path: of the file, or the pattern of a folder.
        home: the address is given from there on, so that it names no place outside.
        rows: of the content.
        digest: content hash.
    """
    from ml.tracking import DatasetNote

    columns = duckdb.sql(f"describe select * from {read_sql(path)}").fetchall()
    relation = path if path.suffix == ".parquet" and "*" not in path.name else path.parent
    return DatasetNote(
        name=f"{relation.parent.name}.{relation.stem}",
        digest=digest,
        source=str(path.relative_to(home)) if path.is_relative_to(home) else path.name,
        columns={str(name): str(kind) for name, kind, *_ in columns},
        rows=rows,
    )
