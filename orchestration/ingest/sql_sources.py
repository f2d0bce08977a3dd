"""SQL sources: databases that raw tables are pulled from, a stream of rows into one Parquet file per pull.

Belongs here: the sources file, reading a query past its cursor, saying why a source cannot be read. Does not: judging
rows (validator), committing them (batches).

EXAMPLE shows every option of the sources file. What the overlap reads twice is recognised as duplicate. PostgreSQL is
read by ADBC as Arrow, everything else by SQLAlchemy.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from orchestration.home.settings import Settings
from orchestration.ingest.contract import Table, load_contract, table_named
from orchestration.ingest.errors import ContractError, SourceUnavailable
from orchestration.ingest.formats import check_delivery, check_zone
from orchestration.ingest.parsing import text_of

EXAMPLE = """\
sources:
  - name: erp                        # the channel is sql:erp
    table: stock_movements           # raw table it fills
    url: ERP_DATABASE_URL            # environment variable that holds the URL: no credentials in files
    query: select * from movements   # or  from: movements
    cursor: updated_at               # optional: a column that grows; only rows past it are read again
    overlap: 2 hours                 # optional: how far before the cursor to read again (a number for a number)
    columns: {quantity_units: qty}   # optional: column of the contract: column of the query
    time_zone: Europe/Berlin         # optional: zone of times without an offset; default: UTC
    delivers: changes                # optional: changes = what the query lacks still holds; full = of master data and
                                     # orders, it has ended. Default: full without a cursor, but of order lines;
                                     # changes with one
"""

_ROWS_AT_ONCE = 20_000
_ATTEMPTS = 3
_FIRST_PAUSE = 0.5
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(second|minute|hour|day|week)s?")
_SECRET = re.compile("pass|pwd|secret|token|key", re.IGNORECASE)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_Read = TypeVar("_Read")
_KNOWN_OPTIONS = {"name", "table", "url", "query", "from", "cursor", "overlap", "columns", "time_zone", "delivers"}


@dataclass(frozen=True)
class SqlSource:
    """One database query that fills a raw table.

    Attributes:
        name: name of the source.
        table: raw table it fills.
        url_variable: environment variable that holds the SQLAlchemy URL.
        query: SQL whose rows are the arrival.
        cursor: column that grows with every change; None = everything is read every time.
        overlap: how far before the last cursor to read again: seconds for an instant, units for a number.
        columns: per contract column the column of the query that holds it, where the names differ.
        time_zone: zone of times without an offset; None = UTC.
        is_full: whether each pull is the full list of what the source brings.
        url: the URL itself; not shown.
    """

    name: str
    table: str
    url_variable: str
    query: str
    cursor: str | None = None
    overlap: float = 0.0
    columns: Mapping[str, str] = field(default_factory=dict)
    time_zone: str | None = None
    is_full: bool = False
    url: str | None = field(default=None, repr=False)

    @property
    def channel(self) -> str:
        """The way its rows come by, as manifests and raw rows name it."""
        return f"sql:{self.name}"


@dataclass(frozen=True)
class SourceTrial:
    """What trying a source showed.

    Attributes:
        source: the source.
        works: whether an ingest would read it.
        message: what was found, or what is wrong and what to do.
    """

    source: SqlSource
    works: bool
    message: str


def read_sources(settings: Settings) -> tuple[SqlSource, ...]:
    """Read the SQL sources of a home, their URLs from the environment.

    Raises:
        ContractError: the sources file names a table, column or option that does not exist.
    """
    return load_sources(settings.sources_file, os.environ)


def load_sources(path: Path, environment: Mapping[str, str]) -> tuple[SqlSource, ...]:
    """Read the sources file of a home; no file means no sources.

    Args:
        path: `sources.yml`.
        environment: where the URLs are looked up.

    Raises:
        ContractError: the file names a table, column or option that does not exist; the message names the source.
    """
    if not path.exists():
        return ()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ContractError(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict) or not all(isinstance(one, dict) for one in document.get("sources") or []):
        raise ContractError(f"{path} has no list `sources:`; `inventorybot sources example` shows one")
    sources = tuple(_read_source(declared, path, environment) for declared in document.get("sources") or [])
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ContractError(f"{path} names the source {twice[0]} twice: give each its own name")
    return sources


def _read_source(declared: Mapping[str, Any], path: Path, environment: Mapping[str, str]) -> SqlSource:
    name = str(declared.get("name", ""))
    place = f"{path.name}: source {name or '?'}"
    if not _NAME.fullmatch(name):
        raise ContractError(f"{place}: name {name!r} must be a word of lower-case letters, digits and _")
    strange = sorted(set(declared) - _KNOWN_OPTIONS)
    if strange:
        raise ContractError(f"{place}: unknown option {strange[0]!r}; there are {', '.join(sorted(_KNOWN_OPTIONS))}")
    absent = [option for option in ("table", "url") if not declared.get(option)]
    if absent or bool(declared.get("query")) == bool(declared.get("from")):
        raise ContractError(f"{place}: {f'{absent[0]} is missing' if absent else 'give either query or from'}")
    if declared["table"] not in {table.name for table in load_contract()}:
        raise ContractError(f"{place}: {declared['table']!r} is not a raw table; `inventorybot schema` lists them")
    table = table_named(declared["table"])
    columns = declared.get("columns") or {}
    unknown = sorted(set(columns) - set(table.column_names))
    if unknown:
        raise ContractError(f"{place}: {table.name} has no column {unknown[0]!r}")
    variable = str(declared["url"])
    if "://" in variable:
        raise ContractError(f"{place}: url names an environment variable that holds the URL, not the URL itself")
    query = declared.get("query") or f"select * from {declared['from']}"
    return SqlSource(
        name=name,
        table=table.name,
        url_variable=variable,
        query=str(query).strip().rstrip(";"),
        cursor=declared.get("cursor"),
        overlap=_overlap(declared.get("overlap", 0), place),
        columns=dict(columns),
        time_zone=_zone(declared.get("time_zone"), place),
        is_full=_is_full(declared, table, place),
        url=environment.get(variable),
    )


def _zone(value: object, place: str) -> str | None:
    if value is None:
        return None
    try:
        check_zone(str(value))
    except ContractError as error:
        raise ContractError(f"{place}: {error}") from error
    return str(value)


def _is_full(declared: Mapping[str, Any], table: Table, place: str) -> bool:
    """Tell whether each pull is a full list: as declared, else where everything is read every time.

    A query of orders may look back some weeks only, and an order line that ends is ordered again: it must be declared.
    """
    said = declared.get("delivers")
    if said == "full" and declared.get("cursor"):
        raise ContractError(
            f"{place}: what is past a cursor is no full list: leave out cursor, or write delivers: changes"
        )
    try:
        check_delivery(table, said)
    except ContractError as error:
        raise ContractError(f"{place}: {error}") from error
    return (said or ("changes" if declared.get("cursor") or table.closed_as else "full")) == "full"


def _overlap(value: object, place: str) -> float:
    if isinstance(value, int | float) and value >= 0:
        return float(value)
    found = _DURATION.fullmatch(str(value).strip())
    if not found:
        raise ContractError(f"{place}: overlap {value!r} is neither a number nor a duration such as '2 hours'")
    return float(found[1]) * _UNITS[found[2]]


def pull(
    source: SqlSource, path: Path, *, since: str | None, pause: Callable[[float], None] = time.sleep
) -> str | None:
    """Read what a source holds past a cursor into a Parquet file, a batch of rows at a time.

    Args:
        source: the source.
        path: file to write; its columns are named as in the contract where the source maps them.
        since: cursor that the last pull returned; None = from the beginning.
        pause: waits between attempts.

    Returns:
        The cursor to go on from; `since` where nothing was found, None where the source has no cursor.

    Raises:
        SourceUnavailable: URL missing, database unreachable after three attempts, query refused, cursor column
            missing. Messages never hold the password.
    """
    return _patiently(lambda: _pull_once(source, path, since), pause)


def try_source(source: SqlSource, *, pause: Callable[[float], None] = time.sleep) -> SourceTrial:
    """Read the first rows of a source and compare its columns with the contract."""
    try:
        return _patiently(lambda: _try_once(source), pause)
    except SourceUnavailable as error:
        return SourceTrial(source, False, str(error))


def _patiently(read: Callable[[], _Read], pause: Callable[[float], None]) -> _Read:
    """Read, and try again with growing pauses what may pass by itself."""
    attempt = 1
    while True:
        try:
            return read()
        except SourceUnavailable as error:
            if attempt == _ATTEMPTS or not error.may_pass:
                raise
        pause(_FIRST_PAUSE * 2 ** (attempt - 1))
        attempt += 1


def _try_once(source: SqlSource) -> SourceTrial:
    table = table_named(source.table)
    first = next((batch for batch in _batches(source, source.query, None) if batch.num_rows), None)
    names = first.schema.names if first is not None else next(_batches(source, source.query, None)).schema.names
    kept = _renamed(source, names)
    lacking = [column.name for column in table.columns if column.must_be_present and column.name not in kept]
    if lacking:
        message = f"lacks {', '.join(lacking)}; the query has {', '.join(names)}: map them under columns"
        return SourceTrial(source, False, message)
    if source.cursor is not None and source.cursor not in names:
        return SourceTrial(source, False, f"the query has no column {source.cursor!r} to be the cursor")
    findings = ["works"] if first is not None else ["works, and has no rows"]
    strangers = [name for name in kept if name not in table.column_names]
    findings += [f"columns that are not part of the contract are left out: {', '.join(strangers)}"] if strangers else []
    return SourceTrial(source, True, "; ".join(findings))


def _pull_once(source: SqlSource, path: Path, since: str | None) -> str | None:
    query, bound = source.query, None
    if source.cursor is not None and since is not None:
        query = f"select * from ({source.query}) as pulled where pulled.{source.cursor} > {{cursor}}"
        bound = _stepped_back(since, source.overlap)
    writer, highest = None, since
    try:
        for batch in _batches(source, query, bound):
            highest = _later(highest, _highest(source, batch))
            renamed = _contract_columns(source, batch)
            if writer is None:
                writer = pq.ParquetWriter(path, renamed.schema, compression="zstd")
            writer.write_batch(renamed)
    finally:
        if writer is not None:
            writer.close()
    return highest if source.cursor is not None else None


def _batches(source: SqlSource, query: str, bound: Any) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a query as Arrow, at least one batch, empty where there are no rows."""
    if not source.url:
        raise SourceUnavailable(
            f"the environment variable {source.url_variable} is not set: put the URL of the database into it, as in "
            "postgresql://user:password@host/database"
        )
    if re.match(r"postgres(ql)?(\+\w+)?://", source.url):
        return _postgresql_batches(source, query, bound)
    return _sqlalchemy_batches(source, query, bound)


def _postgresql_batches(source: SqlSource, query: str, bound: Any) -> Iterator[pa.RecordBatch]:
    import adbc_driver_manager
    from adbc_driver_postgresql import dbapi

    assert source.url is not None
    url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", source.url)
    try:
        with dbapi.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("set transaction read only")
            cursor.execute(query.replace("{cursor}", "$1"), None if bound is None else (bound,))
            reader = cursor.fetch_record_batch()
            schema = pa.schema([_plain_field(column) for column in reader.schema])
            empty = True
            for batch in reader:
                empty = False
                arrays = [column.storage if hasattr(column, "storage") else column for column in batch.columns]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            if empty:
                yield pa.RecordBatch.from_pylist([], schema=schema)
    except adbc_driver_manager.Error as error:
        may_pass = isinstance(error, adbc_driver_manager.OperationalError)
        raise _unavailable(source, error, may_pass=may_pass) from None


def _plain_field(column: Any) -> Any:
    """Return a field whose extension type (numeric comes as opaque text) is its storage."""
    kind = column.type
    return pa.field(column.name, kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind)


def _sqlalchemy_batches(source: SqlSource, query: str, bound: Any) -> Iterator[pa.RecordBatch]:
    from sqlalchemy import create_engine, exc, text

    assert source.url is not None
    try:
        engine = create_engine(_read_only(source.url))
        statement = text(query.replace(":", r"\:").replace("{cursor}", ":bound"))
        with closing(engine.connect()) as connection:
            parameters = {} if bound is None else {"bound": bound}
            result = connection.execution_options(stream_results=True).execute(statement, parameters)
            names = list(result.keys())
            yield _text_batch(names, [])
            for rows in result.partitions(_ROWS_AT_ONCE):
                yield _text_batch(names, [tuple(row) for row in rows])
        engine.dispose()
    except exc.SQLAlchemyError as error:
        may_pass = isinstance(error, exc.OperationalError) and "syntax" not in str(error)
        raise _unavailable(source, error, may_pass=may_pass) from None
    except ImportError as error:
        raise SourceUnavailable(
            f"the database of {source.url_variable} needs a driver that is not installed ({error}): install it beside "
            "InventoryBot, or write the URL for a driver that is there"
        ) from None


def _read_only(url: str) -> str:
    """Return the URL of a SQLite file so that it is never made or written; other URLs as they are."""
    found = re.fullmatch(r"sqlite:///(/?[^?]+)", url)
    return f"sqlite:///file:{found[1]}?mode=ro&uri=true" if found else url


def _text_batch(names: list[str], rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    arrays = [pa.array([text_of(value) for value in column], pa.string()) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _renamed(source: SqlSource, names: list[str]) -> dict[str, str]:
    """Return the columns to keep: name in the contract, or as it is, by name in the query."""
    by_query = {column: name for name, column in source.columns.items()}
    contract = table_named(source.table).column_names
    kept = {name: by_query.get(name, name) for name in names if name not in contract or name not in source.columns}
    if source.cursor is not None and kept.get(source.cursor) not in contract:
        kept.pop(source.cursor, None)
    return {renamed: name for name, renamed in kept.items()}


def _contract_columns(source: SqlSource, batch: pa.RecordBatch) -> pa.RecordBatch:
    kept = _renamed(source, batch.schema.names)
    return pa.RecordBatch.from_arrays([batch.column(name) for name in kept.values()], names=list(kept))


def _highest(source: SqlSource, batch: pa.RecordBatch) -> str | None:
    if source.cursor is None:
        return None
    if source.cursor not in batch.schema.names:
        raise SourceUnavailable(
            f"the query has no column {source.cursor!r} to be the cursor; it has {', '.join(batch.schema.names)}"
        )
    column = batch.column(source.cursor)
    if pa.types.is_string(column.type):
        values = [_key(value) for value in column.to_pylist() if value is not None]
        return _written(max(values)) if values else None
    value = pc.max(column).as_py()
    return None if value is None else _written(_key(value))


# A cursor is kept as text with its kind before it, so that 9 < 10 and an instant stays one.
_Key = tuple[str, Any]


def _key(value: Any) -> _Key:
    if isinstance(value, datetime):
        return "instant", value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return "instant", datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str):
        return ("number", Decimal(value)) if re.fullmatch(r"-?\d+(\.\d+)?", value) else ("text", value)
    return "number", Decimal(str(value))


def _written(key: _Key) -> str:
    kind, value = key
    return f"{kind}:{value.isoformat() if kind == 'instant' else value}"


def _read(cursor: str) -> _Key:
    kind, _, value = cursor.partition(":")
    if kind == "instant":
        return kind, datetime.fromisoformat(value)
    return (kind, Decimal(value)) if kind == "number" else (kind, value)


def _later(known: str | None, found: str | None) -> str | None:
    if known is None or found is None:
        return known or found
    return found if _read(found) > _read(known) else known


def _stepped_back(cursor: str, overlap: float) -> Any:
    kind, value = _read(cursor)
    if kind == "instant":
        return value - timedelta(seconds=overlap)
    if kind == "number":
        number = value - Decimal(str(overlap))
        return int(number) if number == number.to_integral_value() else float(number)
    if not overlap:
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    return (moment - timedelta(seconds=overlap)).isoformat(sep=value[10] if len(value) > 10 else "T")


def _unavailable(source: SqlSource, error: Exception, *, may_pass: bool) -> SourceUnavailable:
    from sqlalchemy import exc, make_url

    reason = str(getattr(error, "orig", None) or error).splitlines()[0]
    shown = source.url_variable
    try:
        url = make_url(source.url or "")
        # Options may hold credentials too, as in ?password=: neither they nor their values are shown.
        shown = f"{source.url_variable} ({url.set(query={}).render_as_string(hide_password=True)})"
        hidden = [str(url.password)] if url.password else []
        hidden += [str(value) for name, value in url.query.items() if _SECRET.search(name)]
        for secret in sorted(filter(None, hidden), key=len, reverse=True):
            reason = reason.replace(secret, "***").replace(quote(secret), "***")
    except exc.ArgumentError:
        reason = "it is not a database URL, as in postgresql://user:password@host/database"
    remedy = "check that it runs and may be reached" if may_pass else "check URL, credentials and query"
    return SourceUnavailable(f"the database of {shown} cannot be read: {reason}; {remedy}", may_pass=may_pass)
