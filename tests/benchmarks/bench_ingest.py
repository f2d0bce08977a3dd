"""Ingest of movements against a bare DuckDB script that reads the same CSV and writes the same Parquet.

    python tests/benchmarks/bench_ingest.py [rows ...]   default 1,000,000; results in tests/benchmarks/results

The rows are the invoice lines of UCI Online Retail, repeated under other document numbers, with a few bad ones. Each
measurement is a process of its own, its start-up and imports not timed. Ratios are of processor time in one run; the
wall clock is told beside it. Not measured here: the marts (dbt), publication.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd  # noqa: F401  imported here, so that no measurement has to
import pyarrow as pa  # noqa: F401

from orchestration.ingest.arrivals import ingest_table
from orchestration.ingest.contracts import table_named
from orchestration.ingest.rules import load_suite

DATA = Path(os.environ.get("BENCH_DATA", "../shared/data")) / "online_retail" / "online_retail.parquet"
RESULTS = Path(__file__).parent / "results" / "ingest.txt"
DAY_ROWS = 3_000


def movements(rows: int, first: int) -> str:
    """SQL of movements made from invoice lines; `first` sets their documents apart from those of other calls."""
    return f"""
        with lines as (
            select *, row_number() over () - 1 as position from read_parquet('{DATA}') where InvoiceNo not like 'C%'
        ),
        numbers as (select i, i % (select count(*) from lines) as position, i // (select count(*) from lines) as round
                    from range({first}, {first + rows}) as numbers(i))
        select 'pos' as source, InvoiceNo || '-' || round as document, position::integer as line,
               strftime(InvoiceDate, '%Y-%m-%dT%H:%M:%SZ') as occurred_at, StockCode as sku, 'UKN' as location_id,
               'sale' as movement_type, case when i % 50000 = 7 then 5 else -abs(Quantity) - 1 end as quantity_units,
               abs(UnitPrice) as unit_price, Country as reason
        from numbers inner join lines using (position) order by i
    """


def measured(work: Callable[[], None]) -> tuple[float, float, float]:
    """Run in a forked process; returns processor seconds, wall seconds and peak memory in GB."""
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit("a measured process failed")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - started, usage.ru_maxrss / 1e6


def bare(csv: Path, out: Path) -> None:
    """What a person would write: read, write Parquet, sum by day."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"""
            create table movements as select *, 0 as revision, occurred_at as recorded_at
            from read_csv('{csv}', types = {{
                'line': 'integer', 'occurred_at': 'timestamptz', 'quantity_units': 'decimal(18,3)',
                'unit_price': 'decimal(18,4)', 'document': 'varchar', 'sku': 'varchar'}})
        """)
        connection.execute(f"copy movements to '{out / 'movements.parquet'}' (compression zstd)")
        connection.execute(f"""
            copy (select sku, location_id, occurred_at::date as day, sum(quantity_units) as units
                  from movements group by all) to '{out / "daily.parquet"}'
        """)


def ingested(landing: Path, raw: Path) -> None:
    report = ingest_table("stock_movements", landing=landing, raw=raw, ingested_at=datetime.now(UTC), settle_seconds=0)
    if report.failed or not report.rows.is_balanced:
        raise SystemExit(f"the ingest failed: {report.failed}")


def bench(rows: int, folder: Path) -> list[str]:
    landing, raw, out = folder / "landing", folder / "raw", folder / "bare"
    (landing / "stock_movements").mkdir(parents=True)
    out.mkdir()
    csv = landing / "stock_movements" / "history.csv"
    with duckdb.connect() as connection:
        connection.execute(f"copy ({movements(rows, 0)}) to '{csv}' (header)")
    simple = measured(lambda: bare(csv, out))
    ours = measured(lambda: ingested(landing, raw))
    with duckdb.connect() as connection:
        day = landing / "stock_movements" / "day.csv"
        connection.execute(f"copy ({movements(DAY_ROWS, rows)}) to '{day}' (header)")
    one_day = measured(lambda: ingested(landing, raw))
    nothing = measured(lambda: ingested(landing, raw))
    size = csv.stat().st_size / 1e6
    shutil.rmtree(folder)
    return [
        f"{rows:,} rows, {size:.0f} MB of CSV",
        "                         cpu s   wall s   peak GB   cpu µs a row",
        *(
            f"  {name:<20} {cpu:>8.2f} {wall:>8.2f} {memory:>9.2f} {cpu / count * 1e6:>14.2f}"
            for name, (cpu, wall, memory), count in (
                ("bare DuckDB", simple, rows),
                ("ingest", ours, rows),
                (f"one day, {DAY_ROWS:,} rows", one_day, DAY_ROWS),
                ("nothing new", nothing, rows),
            )
        ),
        f"  ingest / bare: {ours[0] / simple[0]:.2f} of processor time, {ours[1] / simple[1]:.2f} of wall time",
        "",
    ]


def main() -> None:
    """Measure every size asked for and keep the result."""
    if not DATA.exists():
        print(f"{DATA} is absent: set BENCH_DATA to the folder that holds online_retail/")
        return
    load_suite(table_named("stock_movements"))
    lines = []
    for rows in [int(text.replace(",", "")) for text in sys.argv[1:]] or [1_000_000]:
        with tempfile.TemporaryDirectory() as folder:
            lines += bench(rows, Path(folder) / "home")
        print("\n".join(lines[-8:]), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
