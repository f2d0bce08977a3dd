"""How often code reads each Parquet file: DuckDB's own connections, listening to the queries they are given."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb


class Listening:
    """A connection that counts the files named in its queries and answers them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, read: Counter[str]) -> None:
        self._connection, self._read = connection, read

    def __enter__(self) -> "Listening":
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def execute(self, query: str, *rest: object) -> Any:
        self._read.update(Path(found).stem for found in re.findall(r"read_parquet\('([^']+)'", query))
        return self._connection.execute(query, *rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
