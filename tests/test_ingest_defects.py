"""Every defect of the corpus, through every channel it can come by."""

import gzip
import random
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
import yaml

from orchestration.ingest.batches import ArrivalReport, ingest_table
from orchestration.ingest.contract import table_named
from orchestration.ingest.staging import Events
from orchestration.ingest.suites import literal, quoted

CORPUS = yaml.safe_load((Path(__file__).parent / "defects" / "corpus.yml").read_text(encoding="utf-8"))
ARRIVED = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
MOVEMENTS = "stock_movements"


def channels_of(case: dict) -> list[str]:
    every = ["csv", "parquet", "stream"] if case.get("table", MOVEMENTS) == MOVEMENTS else ["csv", "parquet"]
    return case.get("channels", every)


def by_channel(cases: list[dict]) -> list:
    return [
        pytest.param(case, channel, id=f"{case['name']}-{channel}") for case in cases for channel in channels_of(case)
    ]


def value_of(text: str | None) -> str | None:
    return "x" * int(text.removeprefix("repeat ")) if text and text.startswith("repeat ") else text


def row_of(table: str, change: dict, number: int) -> dict[str, str | None]:
    """The good row of a table with a change; its first text key tells it from the others unless the change sets it."""
    row = {**CORPUS["bases"][table], **{name: value_of(text) for name, text in change.items()}}
    contract = table_named(table)
    told_apart_by = ["document", *contract.key] if table == MOVEMENTS else list(contract.key)
    free = [name for name in told_apart_by if contract.column(name).data_type == "varchar" and name not in change]
    for name in [name for name in free if name != "country"][:1]:
        row[name] = f"{row[name]}{number}"
    return row


def csv_value(text: str | None) -> str:
    return '"' + (text or "").replace('"', '""') + '"' if text is not None else ""


def write_csv(path: Path, rows: list[dict]) -> None:
    lines = [",".join(rows[0]), *(",".join(csv_value(text) for text in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")


def write_parquet(path: Path, rows: list[dict], typed: dict | None = None) -> None:
    """Write rows as text columns; a column of `typed` takes the type of its expression, which the last row holds."""
    typed = typed or {}
    selects = []
    for row in rows:
        values = {name: literal(text) if name in typed else f"{literal(text)}::varchar" for name, text in row.items()}
        if row is rows[-1]:
            values |= typed
        selects.append("select " + ", ".join(f"{value} as {quoted(name)}" for name, value in values.items()))
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"copy ({' union all '.join(selects)}) to {literal(str(path))} (format parquet)")


class Taken:
    """What became of rows given to a table through a channel."""

    def __init__(self, table: str, channel: str, rows: list[dict], typed: dict | None = None) -> None:
        with TemporaryDirectory() as folder:
            landing, raw = Path(folder) / "landing", Path(folder) / "raw"
            (landing / table).mkdir(parents=True)
            events = None
            if channel == "csv":
                write_csv(landing / table / "given.csv", rows)
            elif channel == "parquet":
                write_parquet(landing / table / "given.parquet", rows, typed)
            else:
                events = Events([{**row, "sequence": number} for number, row in enumerate(rows, 1)], 1, len(rows))
            self.report = ingest_table(
                table, landing=landing, raw=raw, ingested_at=ARRIVED, events=events, settle_seconds=0
            )
            self._read(raw / table)

    def _read(self, raw: Path) -> None:
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            relation = connection.sql(f"select * from '{raw}/*/accepted.parquet'")
            texts = ", ".join(f"{quoted(name)}::varchar as {quoted(name)}" for name in relation.columns)
            accepted = connection.sql(f"select {texts} from '{raw}/*/accepted.parquet'").fetchall()
            self.accepted = {int(row[-1]): dict(zip(relation.columns, row, strict=True)) for row in accepted}
            quarantined = connection.sql(
                f"select source_row, rule, reason, original_text from '{raw}/*/quarantined.parquet' order by source_row"
            ).fetchall()
        self.quarantined = {row: (rule, reason, text) for row, rule, reason, text in quarantined}


FIRST_ROW = {"csv": 2, "parquet": 1, "stream": 1}


@cache
def taken_together(table: str, channel: str) -> tuple[Taken, dict[str, int]]:
    """Every one-row defect of a table and channel in one file, a good row before and behind; and where each one is."""
    cases = [
        case
        for case in CORPUS["rows"]
        if case.get("table", MOVEMENTS) == table
        and channel in channels_of(case)
        and not (channel == "parquet" and "parquet" in case)
    ]
    rows = [row_of(table, {}, 0), *(row_of(table, case["change"], n) for n, case in enumerate(cases, 1))]
    rows.append(row_of(table, {}, len(rows)))
    taken = Taken(table, channel, rows)
    line, places = FIRST_ROW[channel], {}
    for name, row in zip(["first", *(case["name"] for case in cases), "last"], rows, strict=True):
        places[name] = line
        line += 1 + (sum((text or "").count("\n") for text in row.values()) if channel == "csv" else 0)
    return taken, places


@pytest.mark.parametrize(("case", "channel"), by_channel(CORPUS["rows"]))
def test_a_row_is_judged_as_the_corpus_says(case, channel):
    table = case.get("table", MOVEMENTS)
    if channel == "parquet" and "parquet" in case:
        taken, place = (
            Taken(table, channel, [row_of(table, {}, 0), row_of(table, case["change"], 1)], case["parquet"]),
            2,
        )
    else:
        taken, places = taken_together(table, channel)
        place = places[case["name"]]
    if "accepted" in case:
        assert place in taken.accepted, taken.quarantined.get(place)
        assert {name: taken.accepted[place][name] for name in case["accepted"]} == case["accepted"]
    else:
        rule, reason, original = taken.quarantined[place]
        assert rule == case["rule"]
        assert case["reason"] in reason
        assert original


@pytest.mark.parametrize("table", sorted(CORPUS["bases"]))
@pytest.mark.parametrize("channel", ["csv", "parquet"])
def test_good_rows_beside_defects_go_on(table, channel):
    taken, places = taken_together(table, channel)
    assert {places["first"], places["last"]} <= set(taken.accepted)


@pytest.mark.parametrize(("case", "channel"), by_channel(CORPUS["groups"]))
def test_rows_of_one_identity_are_settled_as_the_corpus_says(case, channel):
    table = case.get("table", MOVEMENTS)
    base = CORPUS["bases"][table]
    taken = Taken(table, channel, [{**base, **change} for change in case["rows"]])
    rows = taken.report.rows
    assert (rows.accepted, rows.duplicate, rows.quarantined) == tuple(
        case.get(name, 0) for name in ("accepted", "duplicate", "quarantined")
    )
    if "rule" in case:
        ((rule, reason, _),) = taken.quarantined.values()
        assert rule == case["rule"]
        assert case["reason"] in reason


def content_of(case: dict) -> bytes:
    names = [case.get("replace", {}).get(name, name) for name in CORPUS["bases"][MOVEMENTS]]
    rows = [[text or "" for text in row_of(MOVEMENTS, {}, number).values()] for number in (1, 2)]
    sign = ";" if case.get("semicolons") else "\t" if case.get("tabs") else ","
    if sign == ";":
        rows = [[text.replace(".", ",") for text in row] for row in rows]
    text = case.get("text", "").replace("{header}", sign.join(names)).replace("{2000000}", "x" * 2_000_000)
    opened = "".join(f'pos,O{n},1,0,2011-12-01T10:00:00Z,,85123A,UKN,sale,-6,2.55,,,"open\n' for n in range(200))
    text = text.replace("{row}", sign.join(rows[0])).replace("{row 2}", sign.join(rows[1]))
    text = text.replace("{200 open lines}", opened)
    content = text.encode(case.get("encoding", "utf-8"))
    content += bytes.fromhex(case.get("hex", ""))
    if "gzip" in case:
        content = gzip.compress(content)
        content = content if case["gzip"] == "whole" else content[:-12]
    return content


def write_file(path: Path, case: dict) -> None:
    if "parquet" not in case:
        path.write_bytes(content_of(case))
        return
    row = row_of(MOVEMENTS, {}, 1)
    write_parquet(
        path,
        [{"sku": row["sku"]} if case["parquet"] == "narrow" else row],
        {"sku": "['85123A']"} if case["parquet"] == "nested" else None,
    )
    if case["parquet"] == "cut":
        path.write_bytes(path.read_bytes()[:-100])


def taken_file(case: dict, folder: Path) -> ArrivalReport:
    path = folder / "landing" / MOVEMENTS / f"given{case.get('ending', '.csv')}"
    path.parent.mkdir(parents=True)
    write_file(path, case)
    return ingest_table(
        MOVEMENTS, landing=folder / "landing", raw=folder / "raw", ingested_at=ARRIVED, settle_seconds=0
    )


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CORPUS["files"]])
def test_a_file_is_judged_as_the_corpus_says(case, tmp_path):
    report = taken_file(case, tmp_path)
    if "rejected" in case:
        (file,) = report.rejected
        assert case["rejected"] in file.reason
        assert "stock_movements/given" in file.reason
        assert report.rows.rows_in == 0
        return
    assert not report.rejected
    assert (report.rows.accepted, report.rows.quarantined) == (case["accepted"], case.get("quarantined", 0))
    if "rule" in case:
        assert case["rule"] in report.quarantined_by_rule
    if "line" in case:
        found = duckdb.sql(f"select source_row from '{tmp_path}/raw/stock_movements/*/quarantined.parquet'").fetchall()
        assert found == [(case["line"],)]
    if "notice" in case:
        assert case["notice"] in " ".join(report.notices)


NASTY = [
    *("", " ", "NULL", "nan", "-0", "1e9", "1e-9", "1.0004", "0.0004", "9" * 30, "-1.5", "1,5", "1.234,5", "0x1F", "²"),
    *("true", "2011-12-01", "2011-02-30T10:00:00Z", "2011-12-01T10:00:00+14:00", "9999-12-31T23:59:59Z", "yesterday"),
    *(
        "sale",
        "SALE",
        "count",
        "receipt",
        "theft",
        "x" * 1_001,
        'a "quoted" word',
        "two\nlines",
        "a,b;c\td",
        "\u200b",
        "é",
    ),
    *("'; drop table staged; --", "{sku}", "%s", "\\N", "=1+1", "💥"),
]


def fuzzed_rows(rng: random.Random, count: int) -> tuple[list[dict[str, str | None]], set[int]]:
    """Return movements of which two in three have values spoilt, and the numbers of those left alone."""
    rows, sound = [], set()
    for number in range(count):
        row = row_of(MOVEMENTS, {}, number)
        if rng.random() < 1 / 3:
            sound.add(number)
        else:
            for name in rng.sample([name for name in row if name != "document"], rng.randint(1, 3)):
                text = rng.choice(NASTY)
                row[name] = text if rng.random() < 0.8 else "".join(rng.sample(text + (row[name] or ""), len(text)))
        rows.append(row)
    return rows, sound


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(50))
def test_two_thousand_fuzzed_rows_are_each_accepted_known_or_quarantined(seed):
    rng = random.Random(seed)
    rows, sound = fuzzed_rows(rng, 2_000)
    channel = ["csv", "parquet", "stream"][seed % 3]
    taken = Taken(MOVEMENTS, channel, rows)
    counts = taken.report.rows
    assert counts.rows_in == len(rows) == counts.accepted + counts.duplicate + counts.quarantined
    assert (len(taken.accepted), len(taken.quarantined)) == (counts.accepted, counts.quarantined)
    assert not taken.accepted.keys() & taken.quarantined.keys()
    accepted = {row["document"] for row in taken.accepted.values()}
    assert {row_of(MOVEMENTS, {}, number)["document"] for number in sound} <= accepted
    assert all(rule and reason for rule, reason, _ in taken.quarantined.values())


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(50))
def test_a_file_with_bytes_spoilt_is_rejected_or_balances(seed, tmp_path):
    rng = random.Random(seed)
    path = tmp_path / "landing" / MOVEMENTS / "given.csv"
    path.parent.mkdir(parents=True)
    write_csv(path, [row_of(MOVEMENTS, {}, number) for number in range(2_000)])
    content = bytearray(path.read_bytes())
    begin = content.index(b"\n") + 1
    for _ in range(rng.choice([1, 20, 400])):
        content[rng.randrange(begin, len(content))] = rng.randrange(256)
    path.write_bytes(content)
    report = ingest_table(
        MOVEMENTS, landing=tmp_path / "landing", raw=tmp_path / "raw", ingested_at=ARRIVED, settle_seconds=0
    )
    if report.rejected:
        assert report.rejected[0].reason
        return
    raw = f"{tmp_path}/raw/{MOVEMENTS}/*"
    (accepted,) = duckdb.sql(f"select count(*) from '{raw}/accepted.parquet'").fetchall()[0]
    (quarantined,) = duckdb.sql(f"select count(*) from '{raw}/quarantined.parquet'").fetchall()[0]
    assert report.rows.is_balanced
    assert (accepted, quarantined) == (report.rows.accepted, report.rows.quarantined)


def test_the_corpus_holds_at_least_sixty_distinct_classes():
    cases = [*CORPUS["rows"], *CORPUS["groups"], *CORPUS["files"]]
    assert len({case["name"] for case in cases}) == len(cases) >= 60


def test_the_corpus_covers_every_kind_of_defect():
    kinds = Counter(case["kind"] for key in ("rows", "groups", "files") for case in CORPUS[key])
    wanted = {"structure", "encoding", "presence", "type", "range", "reference", "identity", "time", "unit", "size"}
    assert set(kinds) == wanted
