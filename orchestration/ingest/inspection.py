"""What Parquet files say of themselves, and whether they can be decoded: found out in a process of its own.

Belongs here: looking at files that strangers wrote, with bounded memory and time; a file that kills its reader kills
that process alone. Does not: which types a column may have (layouts), the rows (validator).
"""

import json
import re
import resource
import selectors
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from orchestration.home.sql_text import path_literal, quoted
from orchestration.ingest.errors import FileRejected
from orchestration.ingest.limits import Allowance

_MEMORY_BYTES = 4 << 30
_WORDS = re.compile(r"[^a-z0-9]+")
_BLOB, _FLOATS = "BLOB", ("FLOAT", "DOUBLE")


@dataclass(frozen=True)
class InspectedColumn:
    """A column of a Parquet file.

    Attributes:
        name: as the file has it.
        sql_name: as DuckDB calls it: a repeated name gets a number.
        sql_type: type that DuckDB reads it as.
        arrow_type: type that the file declares.
        is_empty: whether a column of floating-point numbers, nulls or bytes has no value at all.
        is_text: whether every value of a column of bytes is text in UTF-8.
    """

    name: str
    sql_name: str
    sql_type: str
    arrow_type: str
    is_empty: bool = False
    is_text: bool = True


@dataclass(frozen=True)
class Inspected:
    """A Parquet file that can be decoded.

    Attributes:
        rows: number of rows.
        columns: columns in order.
    """

    rows: int
    columns: tuple[InspectedColumn, ...]


def inspect_files(
    paths: Sequence[Path], wanted: Sequence[str], allowances: Sequence[Allowance]
) -> Iterator[Inspected | FileRejected]:
    """Look at Parquet files in a process of its own, one after the other; yield what was found of each, in order.

    Args:
        paths: files.
        wanted: names of columns whose values are decoded, as `plain_name` writes them.
        allowances: what reading each may cost; its time begins with the file before.
    """
    done = 0
    while done < len(paths):
        limits = allowances[done].limits
        asked = json.dumps([[str(path) for path in paths[done:]], list(wanted), limits.rows, limits.bytes])
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "orchestration.ingest.inspection"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as child:
            try:
                assert child.stdin is not None and child.stdout is not None
                child.stdin.write(asked)
                child.stdin.close()
                while done < len(paths):
                    allowance = allowances[done]
                    answer = _line(child.stdout, allowance.limits.seconds)
                    found = _judged(answer, allowance)
                    done += 1
                    yield found
                    if not answer:
                        break
            finally:
                child.kill()


def _line(stream: IO[str], seconds: float) -> str | None:
    """Return the next line of a process; nothing where it ended, None where it takes too long."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return stream.readline() if selector.select(seconds) else None


def _judged(answer: str | None, allowance: Allowance) -> Inspected | FileRejected:
    if answer is None:
        return allowance.too_slow()
    if not answer:
        return FileRejected(f"{allowance.place} makes the reader of Parquet die: it is damaged; export it again")
    found = json.loads(answer)
    if "error" in found:
        return FileRejected(f"{allowance.place} is not a readable Parquet file ({found['error']}): export it again")
    try:
        allowance.check_rows(found["rows"])
        allowance.check_bytes(found["bytes"], 1 << 62)
    except FileRejected as error:
        return error
    return Inspected(found["rows"], tuple(InspectedColumn(**column) for column in found["columns"]))


def inspect_here(path: Path, wanted: Sequence[str]) -> Inspected:
    """Look at a Parquet file of our own, in this process."""
    found = _look_at(str(path), set(wanted), 1 << 62, 1 << 62)
    return Inspected(found["rows"], tuple(InspectedColumn(**column) for column in found["columns"]))


def plain_name(name: str) -> str:
    """Return a column name as the contract writes names: lower case, one underscore for anything between words."""
    return _WORDS.sub("_", name.strip().lower()).strip("_")


def _look_at(path: str, wanted: set[str], most_rows: int, most_bytes: int) -> dict[str, Any]:
    import duckdb
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        schema, metadata = file.schema_arrow, file.metadata
        rows = metadata.num_rows
        size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
        if rows > most_rows or size > most_bytes:
            return {"rows": rows, "bytes": size, "columns": []}
        with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
            source = f"read_parquet({path_literal(Path(path))})"
            described = [
                (name, kind) for name, kind, *_ in connection.sql(f"describe select * from {source}").fetchall()
            ]
            columns = [
                {"name": declared.name, "sql_name": name, "sql_type": kind, "arrow_type": str(declared.type)}
                for declared, (name, kind) in zip(schema, described, strict=True)
            ]
            read = [column for column in columns if plain_name(column["name"]) in wanted]
            for column in read:
                column.update(_values_of(connection, source, column))
            if read:
                names = ", ".join(quoted(column["sql_name"]) for column in read)
                connection.sql(f"select max(hash({names})) from {source}").fetchall()
        for _ in file.iter_batches(columns=[column["name"] for column in read], batch_size=1 << 16):
            pass
    return {"rows": rows, "bytes": size, "columns": columns}


def _values_of(connection: Any, source: str, column: dict[str, str]) -> dict[str, bool]:
    name, kind = quoted(column["sql_name"]), column["sql_type"]
    if kind == _BLOB:
        count, text = connection.sql(
            f"select count({name}), count(*) filter ({name} is not null and try(decode({name})) is null) from {source}"
        ).fetchall()[0]
        return {"is_empty": not count, "is_text": not text}
    if kind in _FLOATS or column["arrow_type"] == "null":
        is_number = f" and not isnan({name})" if kind in _FLOATS else ""
        (count,) = connection.sql(f"select count(*) filter ({name} is not null{is_number}) from {source}").fetchall()[0]
        return {"is_empty": not count}
    return {}


def _answer_all() -> None:
    import duckdb
    import pyarrow as pa

    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    paths, wanted, rows, size = cast("tuple[list[str], list[str], int, int]", json.load(sys.stdin))
    for path in paths:
        try:
            found = _look_at(path, set(wanted), rows, size)
        except (duckdb.Error, pa.ArrowException, OSError, ValueError, MemoryError, KeyError, UnicodeError) as error:
            found = {"error": (str(error).splitlines() or [type(error).__name__])[0][:200]}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    _answer_all()
