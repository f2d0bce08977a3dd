"""Files on their way in: whatever is wrong with one, it is refused by name and the others arrive."""

import gzip
import os
import random
import socket
import tempfile
import time
from pathlib import Path

import duckdb
import pytest
from support.small_files import MOVEMENT, Intake, as_csv, as_gzip, as_parquet, movement, product

from orchestration.ingest import intake
from orchestration.ingest.landing import LandingFolder
from orchestration.ingest.limits import Limits
from orchestration.ingest.manifests import read_manifests

HOSTILE_NAMES = [
    *("export[1]", "s*r", "*", "q?", "{a,b}", "[!a-z]", "[", "]", "it's", 'say "hi"', "semi;colon", "a%20b", "100%"),
    *("#1", "$(reboot)", "`id`", "$HOME", "a b", " lead", "-rf", "~root", "d'; drop table staged;--", "back\\slash"),
    *("new\nline", "esc\x1b]0;own\x07", "bell\r", "über", "数量", "\u202etxt", "a" * 240),
]
KINDS = ["good", "empty", "cut", "noise", "other", "link", "dangling", "pipe", "socket", "folder"]
WRITERS = {".csv": lambda *rows: as_csv(*rows).encode(), ".csv.gz": as_gzip, ".parquet": as_parquet}
HEAD = "source,document,line,occurred_at,sku,location_id,movement_type,quantity_units"
ROW = "pos,{0},1,2011-12-01T10:00:00Z,A,UKN,sale,-1"
ODD_FILES = {
    "good": f"{HEAD}\n{ROW}\n",
    "carriage returns": f"{HEAD}\r\n{ROW}\r\n",
    "torn": f"{HEAD}\n{ROW}",
    "cut off": f"{HEAD}\n{ROW}\npos,{{0}},2,2011-12-0",
    "header alone": f"{HEAD}\n",
    "blank lines": f"{HEAD}\n\n{ROW}\n\n",
    "a quoted line feed": f'{HEAD},reason\n{ROW},"two\nlines"\n',
    "a quoted value": f'{HEAD}\n{ROW}\n"pos","{{0}}",2,2011-12-01T10:00:00Z,A,UKN,sale,-1\n',
    "an open quote": f'{HEAD}\n"pos,{{0}},2,2011-12-01T10:00:00Z,A,UKN,sale,-1\n{ROW}\n',
    "a field too many": f"{HEAD}\n{ROW},7\n",
    "a field too few": f"{HEAD}\npos,{{0}}\n{ROW}\n",
    "no number": f"{HEAD}\n{ROW}x\n",
    "old line ends": f"{HEAD}\n{ROW}\r{ROW}\n",
    "a title": f"Sales of May\n{HEAD}\n{ROW}\n",
    "semicolons": f"{HEAD}\n{ROW}\n".replace(",", ";"),
    "a local time": f"{HEAD}\n{ROW}\n".replace("Z,", ","),
    "many lines": f"{HEAD}\n" + "".join(f"{ROW}\n".replace(",1,", f",{n},", 1) for n in range(1_500)),
    "a doubled line": f"{HEAD}\n{ROW}\n{ROW}\n",
    "no such column": f"{HEAD}\n{ROW}\n".replace("sku", "article"),
}


def plant(path: Path, kind: str, content: bytes, draw: random.Random) -> None:
    """Put something hostile at a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link":
        path.symlink_to("/etc/hostname")
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        # The address of a socket is short; the file is moved to where it is wanted.
        beside = Path(tempfile.gettempdir()) / f"{os.getpid()}.sock"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(beside))
        beside.rename(path)
    elif kind == "folder":
        path.mkdir()
    else:
        noise = bytes(draw.randrange(256) for _ in range(len(content)))
        made = {
            "good": content,
            "empty": b"",
            "cut": content[: len(content) * 2 // 3],
            "noise": noise,
            "other": b"a,b\n",
        }
        path.write_bytes(made[kind])


@pytest.mark.parametrize("ending", WRITERS)
def test_a_good_file_arrives_beside_any_hostile_one(tmp_path, ending):
    draw, started = random.Random(7), time.monotonic()
    home = Intake(tmp_path / "it's [a] *home?")
    expected = {"good"}
    for name in HOSTILE_NAMES:
        for kind in KINDS:
            number = f"{HOSTILE_NAMES.index(name)}-{kind}"
            content = WRITERS[ending](movement(document=number))
            plant(home.landing / "stock_movements" / kind / f"{name}{ending}", kind, content, draw)
            expected |= {number} if kind == "good" else set()
    home.put("stock_movements", "~~good.csv", as_csv(movement(document="good")))
    report = home.take_in("stock_movements")
    accepted = {document for (document,) in home.rows("stock_movements", "document")}
    assert accepted >= expected
    assert not any(document.endswith(("-link", "-noise", "-other")) for document in accepted)
    assert report.failed is None
    assert all(file.reason.isprintable() and file.name.isprintable() for file in report.rejected)
    assert all(notice.isprintable() for notice in report.notices)
    assert time.monotonic() - started < 60


def test_a_name_that_is_no_text_is_refused_and_the_others_arrive(tmp_path):
    home = Intake(tmp_path)
    home.put("products", "good.csv", as_csv(product()))
    Path(os.fsdecode(os.fsencode(home.landing / "products") + b"/g\xff.csv")).write_text(as_csv(product(sku="B")))
    report = home.take_in("products")
    assert report.rows.accepted == 1
    assert report.rejected[0].reason == "products/g\\udcff.csv has a name that is not UTF-8 and was not read: rename it"


def test_a_link_is_followed_where_the_home_says_so(tmp_path):
    home = Intake(tmp_path)
    aside = tmp_path / "aside.csv"
    aside.write_text(as_csv(product()))
    (home.landing / "products").mkdir(parents=True)
    (home.landing / "products" / "a.csv").symlink_to(aside)
    place = LandingFolder(home.landing, follow_links=True)
    report = home.take_in("products", landing=place, limits=Limits(follow_links=True))
    assert report.rows.accepted == 1


def test_no_line_of_a_file_outside_is_quoted(tmp_path):
    home = Intake(tmp_path)
    home.put("products", "good.csv", as_csv(product()))
    (home.landing / "products" / "z.csv").symlink_to("/etc/passwd")
    assert "root:" not in str(home.take_in("products"))


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(rows=3), "has 11 rows, at most 3 are read: split it, or set INVENTORYBOT_FILE_ROWS higher"),
        (Limits(bytes=100), "GiB: split it, or set INVENTORYBOT_FILE_GIGABYTES higher"),
        (Limits(seconds=0), "takes longer than 0 s to read: split it, or set INVENTORYBOT_FILE_SECONDS higher"),
    ],
)
@pytest.mark.parametrize("ending", WRITERS)
def test_a_file_beyond_a_limit_is_refused_and_read_once_the_limit_is_higher(tmp_path, ending, limits, told):
    home = Intake(tmp_path)
    home.put("stock_movements", f"a{ending}", WRITERS[ending](*(movement(document=str(n)) for n in range(11))))
    (refused,) = home.take_in("stock_movements", limits=limits).rejected
    assert told.replace("11 rows", "11 rows" if ending == ".parquet" else "12 rows") in refused.reason
    assert home.take_in("stock_movements").rows.accepted == 11


def test_what_unpacks_to_far_more_than_it_is_is_refused(tmp_path):
    home = Intake(tmp_path)
    home.put("products", "good.csv", as_csv(product()))
    bomb = as_csv(product()).encode() + b"B,b,c,1,2\n" * 8_000_000
    home.put("products", "bomb.csv.gz", gzip.compress(bomb))
    report = home.take_in("products")
    assert report.rows.accepted == 1
    assert "unpacks to more than 200 times its size" in report.rejected[0].reason


def test_more_files_than_a_run_reads_wait_for_the_next(tmp_path):
    home = Intake(tmp_path)
    for number in range(5):
        home.put("products", f"{number}.csv", as_csv(product(sku=f"S{number}")))
    first = home.take_in("products", limits=Limits(files=3))
    assert first.rows.accepted == 3
    assert first.notices[0].startswith("products: 2 more new files wait for the next run, which reads 3 at most")
    assert home.take_in("products", limits=Limits(files=3)).rows.accepted == 2


def test_many_refused_files_are_told_in_a_sentence(tmp_path):
    home = Intake(tmp_path)
    for number in range(7):
        home.put("products", f"{number}.csv", f"sku,name\nA{number},Apple\n")
    told = home.take_in("products").failed
    assert told is not None
    assert told.count("products/") == 3
    assert "; 4 more files were refused; it needs the columns sku, " in told


@pytest.mark.parametrize("seed", range(5))
def test_a_damaged_parquet_file_stops_no_other(tmp_path, seed):
    draw, home = random.Random(seed), Intake(tmp_path)
    home.put("products", "good.csv", as_csv(product()))
    content = bytearray(as_parquet(*(product(sku=f"S{n}") for n in range(500))))
    for _ in range(3):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    home.put("products", "bad.parquet", bytes(content))
    report = home.take_in("products")
    assert ("A",) in home.rows("products", "sku")
    assert report.failed is None


def test_later_versions_count_in_the_order_of_their_numbers(tmp_path):
    home = Intake(tmp_path)
    for name, price in (("products_10.csv", "12"), ("products_2.csv", "11"), ("products.csv", "10")):
        home.put("products", name, as_csv(product(unit_price=price)))
    home.take_in("products")
    assert [float(price) for (price,) in home.rows("products", "unit_price")] == [10, 11, 12]


def test_names_that_contradict_the_times_of_files_are_told(tmp_path):
    home = Intake(tmp_path)
    for name, written_at in (("1.csv", 1_700_100_000), ("2.csv", 1_700_000_000)):
        os.utime(home.put("products", name, as_csv(product(unit_price=name[0]))), (written_at, written_at))
    (told,) = home.take_in("products").notices
    assert "2.csv counts as later than 1.csv, as its name says, though it was written earlier: name files so" in told


def test_files_in_folders_are_read_and_hidden_ones_named(tmp_path):
    home = Intake(tmp_path)
    home.put("stock_movements", "2024/05.csv", as_csv(movement()))
    home.put("stock_movements", "licences_of_may.csv", as_csv(movement(document="D2")))
    home.put("stock_movements", "_export.csv", as_csv(movement(document="D3")))
    home.put("stock_movements", "_temporary/0/part.parquet", as_parquet(movement(document="D4")))
    home.put("stock_movements", "_SUCCESS", "")
    (told,) = home.take_in("stock_movements").notices
    names = [name for (name,) in home.rows("stock_movements", "source_file")]
    assert names == ["2024/05.csv", "licences_of_may.csv"]
    assert told.startswith(
        "stock_movements/_export.csv, stock_movements/_temporary/0/part.parquet: a file or folder whose"
    )
    assert told.endswith("rename it without that sign")


def test_a_refused_file_is_remembered_once_and_tried_at_every_run(tmp_path):
    home = Intake(tmp_path)
    home.put("stock_movements", "a.csv", as_csv(movement(quantity_units="-1.234"), delimiter=";"))
    for _ in range(3):
        assert [file.name for file in home.take_in("stock_movements").rejected] == ["a.csv"]
    assert sum(bool(manifest.files) for manifest in read_manifests(home.raw / "stock_movements")) == 1


@pytest.mark.parametrize("kind", [*ODD_FILES, "each"])
def test_small_files_read_at_once_arrive_as_they_do_one_by_one(tmp_path, monkeypatch, kind):
    kinds = ["good", "many lines", kind, kind, "good"] if kind != "each" else [*ODD_FILES, "good"]
    found = []
    for most in (500, 1):
        monkeypatch.setattr(intake, "_MOST_AT_ONCE", most)
        home = Intake(tmp_path / str(most))
        for number, each in enumerate(kinds):
            home.put("stock_movements", f"{number:02}.csv", ODD_FILES[each].replace("{0}", f"D{number}"))
        home.take_in("stock_movements")
        (batch,) = read_manifests(home.raw / "stock_movements")
        files = [(file.name, file.outcome, file.rows, file.reason, file.notices) for file in batch.files]
        accepted, refused = (
            home.rows("stock_movements", "* exclude (ingested_at)", file) for file in ("accepted", "quarantined")
        )
        found.append((accepted, refused, files))
    assert found[0] == found[1]
    assert len(found[0][0]) >= 3


@pytest.mark.parametrize(("form", "first"), [("csv", 2), ("parquet", 1)])
def test_each_row_of_a_large_file_has_the_number_of_its_line_and_its_own_text(tmp_path, form, first):
    home, rows, wrong = Intake(tmp_path), 400_000, [7, 150_000, 299_999]
    path = home.put("stock_movements", f"a.{form}", "")
    columns = ", ".join(f"'{value}' as {name}" for name, value in MOVEMENT.items() if name not in ("document", "line"))
    duckdb.sql(
        f"""
        copy (
            select n as document, if(n in ({", ".join(map(str, wrong))}), 'x', '1') as line, {columns}
            from range({rows}) as numbers (n)
        ) to '{path}' (format {form}, row_group_size 100000)
    """.replace(", row_group_size 100000" if form == "csv" else "·", "")
    )
    assert home.take_in("stock_movements").rows.quarantined == len(wrong)
    numbers = home.rows("stock_movements", "document::integer, source_row")
    assert len(numbers) == rows - len(wrong)
    assert all(source_row == document + first for document, source_row in numbers)
    refused = home.rows("stock_movements", "source_row, original_text", "quarantined")
    assert [source_row for source_row, _ in refused] == [document + first for document in wrong]
    assert all(f"{document}" in text and "x" in text for document, (_, text) in zip(wrong, refused, strict=True))
