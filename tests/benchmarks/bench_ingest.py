"""Movements from CSV to marts and to a published generation, against one bare DuckDB script that makes the same.

    python tests/benchmarks/bench_ingest.py [rows ...]   default 1,000,000 10,000,000; writes results/ingest.txt

The rows are the invoice lines of UCI Online Retail, repeated under other document numbers, with a few bad ones. The
bare script reads the same CSV and writes the same Parquet: the movements as they came, the movements folded into stock,
and the daily table of every item from its first day on. It checks nothing, quarantines nothing and cannot add a day.
One more day is built as the job refresh_stock builds it: without the tests tagged nightly.

Each measurement is a process of its own; starting Python, importing and parsing the dbt project come before the clock.
Ratios are of processor time in one run; the wall clock is told beside it.
"""

import contextlib
import io
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd  # noqa: F401  imported here, so that no measurement has to
import pyarrow as pa  # noqa: F401
from dbt.cli.main import dbtRunner

from orchestration.home.settings import DBT_PROJECT
from orchestration.ingest.batches import ingest_table
from orchestration.ingest.business_day import read_clock
from orchestration.ingest.contract import load_contract, table_named
from orchestration.ingest.suites import load_suite
from orchestration.publishing.generations import FinishedRun, publish
from orchestration.warehouse.build import EPOCH
from orchestration.warehouse.exports import export_relations, relations_of
from serving.store import Outbox, Store

DATA = Path(os.environ.get("BENCH_DATA", "../shared/data")) / "online_retail" / "online_retail.parquet"
RESULTS = Path(__file__).parent / "results" / "ingest.txt"
DAY_ROWS = 3_000
STEPS = ("ingest", "build", "export", "publish")
OPTIONS = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT), "--quiet", "--no-write-json"]


def movements(rows: int) -> str:
    """SQL of movements made from invoice lines."""
    return f"""
        with lines as (
            select *, row_number() over () - 1 as position from read_parquet('{DATA}') where InvoiceNo not like 'C%'
        ),
        numbers as (select i, i % (select count(*) from lines) as position, i // (select count(*) from lines) as round
                    from range({rows}) as numbers(i))
        select 'pos' as source, InvoiceNo || '-' || round as document, position::integer as line,
               strftime(InvoiceDate, '%Y-%m-%dT%H:%M:%SZ') as occurred_at, StockCode as sku, 'UKN' as location_id,
               'sale' as movement_type, case when i % 50000 = 7 then 5 else -abs(Quantity) - 1 end as quantity_units,
               abs(UnitPrice) as unit_price, Country as reason
        from numbers inner join lines using (position) order by i
    """


def next_day() -> str:
    """SQL of the day after the last one, the same whatever came before."""
    return f"""
        select * replace ('new' || document as document, '2011-12-10' || occurred_at[11:] as occurred_at)
        from ({movements(DAY_ROWS)})
    """


MASTERS = {
    "products": """select distinct StockCode as sku, StockCode as product_name, 'all' as category, 1.0 as unit_cost,
        2.0 as unit_price from read_parquet('{data}')""",
    "locations": """select 'UKN' as location_id, 'North' as location_name, 'warehouse' as location_type,
        'GB' as country, 'Europe/London' as time_zone""",
    "suppliers": "select 'S1' as supplier_id, 'Supplier' as supplier_name, 7 as review_period_days",
    "supplier_terms": """select distinct StockCode as sku, 'UKN' as location_id, 'S1' as supplier_id,
        7 as lead_time_days, 1.0 as unit_cost from read_parquet('{data}')""",
}


class Cost:
    """Processor seconds, wall seconds and peak memory in GB of a step, or of several that follow each other."""

    def __init__(self, cpu: float, wall: float, peak: float) -> None:
        self.cpu, self.wall, self.peak = cpu, wall, peak

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.cpu + other.cpu, self.wall + other.wall, max(self.peak, other.peak))

    def row(self, name: str, rows: int) -> str:
        return f"  {name:<28} {self.cpu:>8.2f} {self.wall:>8.2f} {self.peak:>9.2f} {self.cpu / rows * 1e6:>13.2f}"


def measured(work: Callable[[], None]) -> Cost:
    """Run in a forked process."""
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except (Exception, SystemExit):  # noqa: BLE001  told here, and the parent ends
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit("a measured process failed")
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - started, usage.ru_maxrss / 1e6)


def bare(csv: Path, out: Path) -> None:
    """What a person would write: read, write Parquet, fold into stock, one row per item and day."""
    written = "(format parquet, compression zstd)"
    with duckdb.connect(str(out / "bare.duckdb")) as connection:
        connection.execute("set TimeZone = 'UTC'; set threads = 2; set memory_limit = '4GB'")
        connection.execute(f"""
            create table movements as select *, 0 as revision, occurred_at as recorded_at
            from read_csv('{csv}', types = {{
                'line': 'integer', 'occurred_at': 'timestamptz', 'quantity_units': 'decimal(18,3)',
                'unit_price': 'decimal(18,4)', 'document': 'varchar', 'sku': 'varchar'}})
            where quantity_units < 0
        """)
        connection.execute(f"copy movements to '{out}/movements.parquet' {written}")
        connection.execute("""
            create table folded as select *, source || ':' || document || ':' || line || ':' || revision as movement_id,
                occurred_at::date as day, sum(quantity_units) over (
                    partition by sku, location_id order by occurred_at, source, document, line, revision
                    rows between unbounded preceding and current row
                ) as on_hand_after_units
            from movements
        """)
        connection.execute(f"copy folded to '{out}/folded.parquet' {written}")
        connection.execute(f"""
            copy (
                with days as (
                    select sku, location_id, day, -sum(quantity_units) as sales_units from folded group by all
                ),
                spans as (select sku, location_id, min(day) as first_day from days group by all),
                calendar as (
                    select sku, location_id,
                        unnest(generate_series(first_day, date '2011-12-08', interval 1 day))::date as day
                    from spans
                )
                select *, coalesce(sales_units, 0) as demand_units, -sum(coalesce(sales_units, 0)) over (
                    partition by sku, location_id order by day rows between unbounded preceding and current row
                ) as closing_units
                from calendar left join days using (sku, location_id, day)
            ) to '{out}/daily.parquet' {written}
        """)


class Home:
    """A home whose steps are called one by one, as the job calls them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.landing, self.raw = folder, folder / "landing", folder / "raw"
        self.csv = self.landing / "stock_movements" / "history.csv"
        for table in load_contract():
            (self.landing / table.name).mkdir(parents=True)
        for name, query in MASTERS.items():
            self.land(name, "all.csv", query.format(data=DATA))
        self.url = f"sqlite:///{folder / 'store.sqlite'}"
        Store.migrate(self.url)
        environment = {"WAREHOUSE": "build.duckdb", "RAW": "raw", "PREDICTIONS": "predictions"}
        os.environ.update({f"INVENTORYBOT_{name}": str(folder / value) for name, value in environment.items()})
        with quiet():
            self.manifest = dbtRunner().invoke(["parse", *OPTIONS, "--target-path", str(folder / "target")]).result
        nodes = [node.to_dict() for node in self.manifest.nodes.values()]  # type: ignore[union-attr]
        self.relations = [relation for relation in relations_of(nodes) if relation.name.startswith("marts.")]

    def land(self, table: str, name: str, query: str) -> None:
        with duckdb.connect() as connection:
            connection.execute(f"copy ({query}) to '{self.landing / table / name}' (header)")

    def ingest(self) -> None:
        for table in load_contract():
            report = ingest_table(
                table.name, landing=self.landing, raw=self.raw, ingested_at=datetime.now(UTC), settle_seconds=0
            )
            if report.failed or not report.rows.is_balanced:
                raise SystemExit(f"the ingest failed: {report.failed}")

    def build(self) -> None:
        """Build and test the marts; after the first time as the fast path does, which leaves nightly tests out."""
        is_first = not (self.folder / "build.duckdb").exists()
        told: dict[str, Any] = {"as_of": read_clock(self.raw).as_of.isoformat(), "running_day": True}
        select = ["--select", "staging", "intermediate", "marts", "--exclude-resource-type", "unit_test"]
        select += [] if is_first else ["--exclude", "tag:nightly"]
        with quiet():
            runner = dbtRunner(manifest=self.manifest)  # type: ignore[arg-type]
            result = runner.invoke(
                ["build", *OPTIONS, "--target-path", str(self.folder / "target"), *select, "--vars", json.dumps(told)]
            )
        if not result.success:
            raise SystemExit(f"dbt failed: {result.exception or result.result}")

    def export(self) -> None:
        export_relations(self.folder / "build.duckdb", self.folder / "exports", self.relations)

    def publish(self) -> None:
        with Store.open(self.url) as store:
            publish(
                FinishedRun(
                    run_id="bench",
                    fence=store.claim(EPOCH, "bench", {}),
                    as_of=read_clock(self.raw).as_of,
                    data_as_of=read_clock(self.raw).as_of,
                    ingested_until=datetime.now(UTC).isoformat(),
                    models={},
                    code_version="bench",
                    outbox=Outbox(date(2011, 12, 8), [], store.open_orders().version, {}),
                    archive="none",
                ),
                exports=self.folder / "exports",
                relations=self.relations,
                published=self.folder / "published",
                store=store,
                keep=5,
            )


@contextlib.contextmanager
def quiet() -> Any:
    """Keep what dbt tells to itself."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def bench(rows: int, folder: Path) -> tuple[list[str], Cost]:
    """Measure one size; return the lines to tell and what one more day cost."""
    home, out = Home(folder / "home"), folder / "bare"
    out.mkdir()
    home.land("stock_movements", home.csv.name, movements(rows))
    size = home.csv.stat().st_size / 1e6
    simple = measured(lambda: bare(home.csv, out))
    shutil.rmtree(out)
    first = {name: measured(getattr(home, name)) for name in STEPS}
    home.land("stock_movements", "day.csv", next_day())
    day = {name: measured(getattr(home, name)) for name in STEPS}
    to_marts = first["ingest"] + first["build"] + first["export"]
    whole_day = sum(day.values(), Cost(0, 0, 0))
    lines = [
        f"{rows:,} rows, {size:.0f} MB of CSV",
        "                                  cpu s   wall s   peak GB  cpu µs a row",
        simple.row("bare DuckDB", rows),
        *(cost.row(f"first {name}", rows) for name, cost in first.items()),
        *(cost.row(f"one day, {name}", DAY_ROWS) for name, cost in day.items()),
        f"  CSV to marts / bare: {to_marts.cpu / simple.cpu:.2f} of processor time,"
        f" {to_marts.wall / simple.wall:.2f} of wall time; ingest alone {first['ingest'].cpu / simple.cpu:.2f};"
        f" peak {to_marts.peak:.2f} GB",
        "",
    ]
    return lines, whole_day


def main() -> None:
    """Measure every size asked for and keep the result."""
    if not DATA.exists():
        print(f"{DATA} is absent: set BENCH_DATA to the folder that holds online_retail/")
        return
    for table in load_contract():
        load_suite(table_named(table.name))
    lines = [f"DuckDB {duckdb.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores", ""]
    days: dict[int, Cost] = {}
    for rows in [int(text.replace(",", "")) for text in sys.argv[1:]] or [1_000_000, 10_000_000]:
        with tempfile.TemporaryDirectory() as folder:
            told, days[rows] = bench(rows, Path(folder))
        lines += told
        print("\n".join(told), flush=True)
    (fewest, least), (most, dearest) = min(days.items()), max(days.items())
    if most > fewest:
        lines.append(
            f"one more day, published, on {most:,} rows / on {fewest:,}: {dearest.cpu / least.cpu:.2f} of processor"
            f" time, {dearest.wall / least.wall:.2f} of wall time ({dearest.wall:.1f} s and {least.wall:.1f} s)"
        )
        print(lines[-1])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
