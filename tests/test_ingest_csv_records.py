"""CSV files: two ways to read one, one meaning; encodings and headers."""

import csv
import io
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from orchestration.ingest.contract import table_named
from orchestration.ingest.csv_records import (
    Record,
    csv_relation,
    file_columns,
    originals,
    read_values,
    readable_relation,
    records,
    rewrite,
)
from orchestration.ingest.csv_text import CsvText, readable_text
from orchestration.ingest.errors import FileRejected
from orchestration.ingest.files import LandingFile, stat_file
from orchestration.ingest.layouts import Layout, csv_layout
from orchestration.ingest.limits import Allowance, Limits

LOTS = table_named("stock_lots")
LAYOUT = Layout(("a", "b", "c"), {}, (), ",")
ALLOWANCE = Allowance("stock_lots/lots.csv", Limits())
VALUES = st.text(st.sampled_from(list('ab1 ,;"\n\té')), max_size=6)
LINES = st.text(st.sampled_from(list('ab1 ,"')), max_size=12)
THREE_VALUES = st.tuples(*[st.text(st.sampled_from(list('ab1 "')), max_size=4)] * 3).map(",".join)


def text_file(folder: Path, content: str) -> CsvText:
    path = folder / "given.csv"
    path.write_text(content, encoding="utf-8", newline="")
    return CsvText(path, content.count("\n") + (not content.endswith("\n")), not content.endswith("\n"))


def text_of(file: LandingFile, work: Path) -> CsvText:
    return readable_text(file, file.path, work, ALLOWANCE)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def read_by_duckdb(connection: duckdb.DuckDBPyConnection, path: Path) -> list[tuple] | None:
    try:
        return connection.sql(f"from {csv_relation(path, file_columns(LAYOUT), ',')}").fetchall()
    except duckdb.InvalidInputException:
        return None


def as_duckdb(values: list[str]) -> tuple:
    return tuple(value or None for value in values)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(rows=st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=5))
def test_what_a_csv_writer_wrote_is_read_value_by_value(rows, tmp_path):
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([("a", "b", "c"), *rows])
    found = list(records(text_file(tmp_path, written.getvalue()), LAYOUT))
    assert [tuple(record.values) for record in found] == rows


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(lines=st.lists(THREE_VALUES, min_size=1, max_size=3))
@example(lines=[',,  ""'])
def test_a_file_that_both_readers_can_read_means_the_same_to_both(lines, tmp_path, connection):
    text = text_file(tmp_path, "a,b,c\n" + "\n".join(lines) + "\n")
    by_duckdb = read_by_duckdb(connection, text.path)
    found = list(records(text, LAYOUT))
    assume(by_duckdb is not None and len(by_duckdb) + 1 == text.lines)
    assume(all(record.values is not None for record in found))
    assert [as_duckdb(record.values) for record in found] == by_duckdb


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(lines=st.lists(LINES, min_size=1, max_size=6), end=st.sampled_from(["", "\n"]))
def test_every_line_that_is_not_blank_is_in_exactly_one_record(lines, end, tmp_path):
    text = text_file(tmp_path, "a,b,c\n" + "\n".join(lines) + end)
    found = list(records(text, LAYOUT))
    covered = [line for record in found for line in record.text.split("\n")]
    assert [line for line in covered if line.strip()] == [line for line in lines if line.strip()]
    assert [record.line for record in found] == sorted({record.line for record in found})


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(lines=st.lists(LINES, min_size=1, max_size=6))
def test_a_rewritten_file_is_read_whole_by_duckdb(lines, tmp_path, connection):
    text = text_file(tmp_path, "a,b,c\n" + "\n".join(lines) + "\n")
    broken: list[Record] = []
    rewrite(text, LAYOUT, tmp_path / "copy", broken, ALLOWANCE)
    found = connection.sql(f"from {readable_relation(tmp_path / 'copy', LAYOUT)}").fetchall()
    good = [record for record in records(text, LAYOUT) if record.values is not None]
    assert found == [(str(record.line), *as_duckdb(record.values)) for record in good]
    assert len(found) + len(broken) == len(list(records(text, LAYOUT)))


@settings(max_examples=100, deadline=None)
@given(values=st.tuples(VALUES, VALUES, VALUES))
def test_a_record_is_told_apart_into_the_values_it_was_made_of(values):
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(values)
    assert tuple(read_values(written.getvalue(), ",")) == values


def test_original_text_is_found_by_line(tmp_path):
    text = text_file(tmp_path, "a,b,c\n1,2,3\r\n4,5,6\n7,8,9")
    assert list(originals(text, LAYOUT, [2, 4], is_plain=True)) == [(2, "1,2,3"), (4, "7,8,9")]


def test_original_text_of_a_record_of_two_lines_is_both(tmp_path):
    text = text_file(tmp_path, 'a,b,c\n1,2,"x\ny"\n4,5,6\n')
    assert list(originals(text, LAYOUT, [2, 4], is_plain=False)) == [(2, '1,2,"x\ny"'), (4, "4,5,6")]


def layout_of(folder: Path, content: str) -> Layout:
    path = folder / "stock_lots" / "lots.csv"
    path.parent.mkdir()
    path.write_text(content, encoding="utf-8")
    file = stat_file(path)
    return csv_layout(file, text_of(file, folder), LOTS)


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_the_delimiter_is_read_off_the_header(tmp_path, sign):
    assert layout_of(tmp_path, sign.join(LOTS.column_names) + "\n").delimiter == sign


def test_names_are_recognised_in_any_order_and_case(tmp_path):
    layout = layout_of(tmp_path, "Expires Date,LOT-ID,sku, location_id \n")
    assert layout.sources == {
        "sku": "sku",
        "location_id": "location_id",
        "lot_id": "LOT-ID",
        "expires_date": "Expires Date",
    }


def test_missing_columns_are_named_with_the_nearest_stranger(tmp_path):
    with pytest.raises(FileRejected) as raised:
        layout_of(tmp_path, "sku,location,lot_id\n")
    assert str(raised.value) == (
        "stock_lots/lots.csv lacks the columns location_id (rename location?), expires_date; its first line names sku, "
        "location, lot_id: the first line must be the header, with the columns of the contract"
    )


def test_a_file_that_is_not_utf8_is_refused_with_byte_line_and_remedy(tmp_path):
    path = tmp_path / "stock_lots" / "lots.csv"
    path.parent.mkdir()
    path.write_bytes(b"sku\nA\nCAF\xc9\n")
    with pytest.raises(FileRejected) as raised:
        text_of(stat_file(path), tmp_path)
    assert str(raised.value) == (
        "stock_lots/lots.csv is not UTF-8: byte 0xc9 at byte 9 (line 3), which in Latin-1 reads 'sku A CAFÉ '; "
        "save it as UTF-8"
    )


def test_a_character_across_two_chunks_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr("orchestration.ingest.csv_text._CHUNK", 5)
    path = tmp_path / "lots.csv"
    path.write_text("sku\nédéjà vu\n", encoding="utf-8")
    assert text_of(stat_file(path), tmp_path).lines == 2


def test_a_wrong_byte_in_a_later_chunk_is_placed_in_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr("orchestration.ingest.csv_text._CHUNK", 5)
    path = tmp_path / "lots.csv"
    path.write_bytes(b"sku\n\xc3\xa9\nABC\nCAF\xc9\n")
    with pytest.raises(FileRejected, match=r"byte 0xc9 at byte 14 \(line 4\)"):
        text_of(stat_file(path), tmp_path)
