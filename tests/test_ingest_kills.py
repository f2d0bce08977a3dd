"""kill -9 at any point of an ingest: nothing lost, nothing doubled, nothing half-visible.

A trial is one process forked from this one, which has everything imported, and killed by itself on the n-th line that
it executes in orchestration/ingest, or by this one after a random time. The next process finishes the work.
"""

import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd  # noqa: F401  imported here, so that no trial has to
import pytest
import sqlalchemy.dialects.sqlite  # noqa: F401

import orchestration.ingest
from orchestration.ingest.batches import ingest_table
from orchestration.ingest.contract import table_named
from orchestration.ingest.manifests import Counts, ledger_watermark, read_manifests
from orchestration.ingest.sql_sources import SqlSource
from orchestration.ingest.staging import Events
from orchestration.ingest.suites import load_suite

MORNING = datetime(2026, 11, 23, 6, tzinfo=UTC)
INGEST = str(Path(orchestration.ingest.__file__).parent)
HEADER = "source,document,line,occurred_at,sku,location_id,movement_type,quantity_units"
CHANNELS = ["file", "sql", "stream"]


def values(number: int, units: str = "-1") -> list[str]:
    return ["pos", str(number), "1", "2011-12-01T10:00:00Z", "A", "UKN", "sale", units]


# Good rows, a duplicate and a row that breaks a rule, whatever channel they come by.
ROWS = [*(values(n) for n in range(40)), values(7), values(99, "5")]
EXPECTED = Counts(rows_in=42, accepted=40, duplicate=1, quarantined=1)


def prepare(folder: Path) -> None:
    landing = folder / "landing" / "stock_movements"
    landing.mkdir(parents=True)
    (landing / "a.csv").write_text("\n".join([HEADER, *(",".join(row) for row in ROWS)]) + "\n")
    with sqlite3.connect(folder / "erp.sqlite") as connection:
        connection.execute(f"create table movements ({HEADER}, id integer)")
        connection.executemany(
            "insert into movements values (?, ?, ?, ?, ?, ?, ?, ?, ?)", [(*row, n) for n, row in enumerate(ROWS, 1)]
        )
    connection.close()


def ingest(folder: Path, channel: str, hour: int) -> None:
    options = {}
    if channel == "sql":
        url = f"sqlite:///{folder}/erp.sqlite"
        options["sources"] = [SqlSource("erp", "stock_movements", "ERP", "select * from movements", "id", url=url)]
    if channel == "stream":
        names = HEADER.split(",")
        after = ledger_watermark(folder / "raw")
        rows = [{**dict(zip(names, row, strict=True)), "sequence": n} for n, row in enumerate(ROWS, 1) if n > after]
        options["events"] = Events(rows, after + 1, len(ROWS)) if rows else None
    ingest_table(
        "stock_movements",
        landing=folder / ("landing" if channel == "file" else "nothing"),
        raw=folder / "raw",
        ingested_at=MORNING + timedelta(hours=hour),
        settle_seconds=0,
        **options,
    )


def in_a_process(work: Callable[[], None]) -> int:
    """Fork, work, end; returns the signal that killed it, 0 when it ended by itself."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def killed_on_line(number: int, work: Callable[[], None]) -> Callable[[], None]:
    """Return work that kills its process on the n-th line in orchestration/ingest; that counts lines for 0."""
    seen = 0

    def trace(frame, event, argument):
        nonlocal seen
        if not frame.f_code.co_filename.startswith(INGEST):
            return None
        if event == "line":
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    def traced() -> None:
        sys.settrace(trace)
        work()
        sys.settrace(None)
        if number == 0:
            Path(os.environ["LINES_FILE"]).write_text(str(seen))

    return traced


def lines_of(channel: str, folder: Path) -> int:
    os.environ["LINES_FILE"] = str(folder / "lines")
    in_a_process(killed_on_line(0, lambda: ingest(folder, channel, 1)))
    return int((folder / "lines").read_text())


def assert_whole(folder: Path) -> None:
    """What a reader sees at any moment: batches that are complete, or nothing."""
    batches = folder / "raw" / "stock_movements"
    for batch in batches.iterdir() if batches.exists() else []:
        assert sorted(path.name for path in batch.iterdir()) == [
            "accepted.parquet",
            "manifest.json",
            "quarantined.parquet",
        ]


def assert_nothing_lost_or_doubled(folder: Path, channel: str) -> None:
    raw = folder / "raw"
    assert_whole(folder)
    manifests = read_manifests(raw / "stock_movements")
    total = sum((manifest.rows for manifest in manifests), Counts())
    assert total.is_balanced
    assert (total.accepted, total.quarantined) == (EXPECTED.accepted, EXPECTED.quarantined)
    with duckdb.connect() as connection:
        found = connection.sql(f"select document from '{raw}/stock_movements/*/accepted.parquet'").fetchall()
    assert sorted(int(document) for (document,) in found) == list(range(40))
    assert [path.name for path in (raw / ".arriving" / "stock_movements").iterdir()] == ["lock"]
    if channel == "stream":
        assert ledger_watermark(raw) == len(ROWS)


def trial(folder: Path, channel: str, first: Callable[[], int]) -> None:
    first()
    assert_whole(folder)
    assert in_a_process(lambda: ingest(folder, channel, 2)) == 0
    assert in_a_process(lambda: ingest(folder, channel, 3)) == 0
    assert_nothing_lost_or_doubled(folder, channel)


@pytest.fixture(scope="module", autouse=True)
def warmed() -> None:
    load_suite(table_named("stock_movements"))


@pytest.fixture(scope="module", params=CHANNELS)
def channel_and_lines(request, tmp_path_factory) -> tuple[str, int]:
    folder = tmp_path_factory.mktemp("count")
    prepare(folder)
    return request.param, lines_of(request.param, folder)


def killed_at(folder: Path, channel: str, line: int) -> None:
    prepare(folder)
    died_of = []
    work = killed_on_line(line, lambda: ingest(folder, channel, 1))
    trial(folder, channel, lambda: died_of.append(in_a_process(work)))
    assert died_of == [signal.SIGKILL]


@pytest.mark.parametrize("tenth", range(10))
def test_killed_on_a_line_and_started_again(channel_and_lines, tenth, tmp_path):
    channel, lines = channel_and_lines
    killed_at(tmp_path, channel, 1 + lines * tenth // 10 + random.Random(tenth).randrange(lines // 10))


@pytest.mark.parametrize("channel", CHANNELS)
def test_not_killed_the_expected_rows_are_there(channel, tmp_path):
    prepare(tmp_path)
    trial(tmp_path, channel, lambda: in_a_process(lambda: ingest(tmp_path, channel, 1)))
    (first, *_) = read_manifests(tmp_path / "raw" / "stock_movements")
    assert first.rows == EXPECTED


@pytest.mark.deep
@pytest.mark.parametrize("fortieth", range(40))
def test_killed_on_forty_lines_of_every_door(channel_and_lines, fortieth, tmp_path):
    channel, lines = channel_and_lines
    killed_at(tmp_path, channel, 1 + (lines - 2) * fortieth // 39)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(500))
def test_killed_at_a_random_moment(seed, tmp_path):
    draw = random.Random(seed)
    channel = draw.choice(CHANNELS)
    prepare(tmp_path)

    def first() -> int:
        pid = os.fork()
        if pid == 0:
            ingest(tmp_path, channel, 1)
            os._exit(0)
        time.sleep(draw.uniform(0, 0.3))
        os.kill(pid, signal.SIGKILL)
        return os.waitpid(pid, 0)[1]

    trial(tmp_path, channel, first)
