"""Columns and types: what would be read wrongly is refused, what is meant is found."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from support.small_files import Intake, as_csv, as_parquet, movement, product

TWO = (movement(document="D1", movement_type="adjustment"), movement(document="D2", movement_type="adjustment"))
NOON = [datetime(2024, 5, 1, 12), datetime(2024, 5, 1, 13)]
NUMBERS = [Decimal("-1.5"), Decimal("-2")]


def read(tmp_path, column: str, values: pa.Array) -> list[str] | str:
    """Return what became of two values of a column, as text, or why the file was refused."""
    home = Intake(tmp_path)
    home.put("stock_movements", "a.parquet", as_parquet(*TWO, **{column: values}))
    report = home.take_in("stock_movements")
    if report.rejected:
        return report.rejected[0].reason
    return [text for (text,) in home.rows("stock_movements", f"{column}::varchar")]


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("quantity_units", pa.array(NUMBERS, pa.decimal128(38, 3)), ["-1.500", "-2.000"]),
        ("quantity_units", pa.array([-1.5, -2.0]).cast(pa.float16()), ["-1.500", "-2.000"]),
        ("quantity_units", pa.array([-1.1, -2.3], pa.float32()), ["-1.100", "-2.300"]),
        ("line", pa.array([1, 2], pa.uint64()), ["1", "2"]),
        ("sku", pa.array(["A", "B"]).dictionary_encode(), ["A", "B"]),
        ("sku", pa.array(["Ærø".encode(), b"B"]), ["Ærø", "B"]),
        ("sku", pa.array([12, 13]), ["12", "13"]),
        ("sku", pa.array([Decimal(12), Decimal(13)], pa.decimal128(9, 0)), ["12", "13"]),
        ("lot_id", pa.array([float("nan"), None], pa.float64()), [None, None]),
        ("reason", pa.nulls(2), [None, None]),
        ("occurred_at", pa.array(NOON, pa.timestamp("s")), ["2024-05-01 12:00:00+00", "2024-05-01 13:00:00+00"]),
        ("occurred_at", pa.array(NOON, pa.timestamp("ns")), ["2024-05-01 12:00:00+00", "2024-05-01 13:00:00+00"]),
        (
            "occurred_at",
            pa.array(NOON, pa.timestamp("us", "Europe/Berlin")),
            ["2024-05-01 12:00:00+00", "2024-05-01 13:00:00+00"],
        ),
    ],
)
def test_a_type_is_read_exactly(tmp_path, column, values, expected):
    found = read(tmp_path, column, values)
    assert [text and text.replace("+00:00", "+00") for text in found] == expected


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        (
            "quantity_units",
            pa.array(NUMBERS, pa.decimal256(50, 3)),
            "no more than 38 digits can be read: write it as dec",
        ),
        ("quantity_units", pa.array([timedelta(1), timedelta(2)]), "is a span of time (duration[us]): write numbers"),
        ("quantity_units", pa.array([True, False]), "has the type BOOLEAN: write numbers"),
        ("quantity_units", pa.array([time(1), time(2)]), "has the type TIME: write numbers"),
        ("sku", pa.array([12.0, 4.01e12]), "has the type DOUBLE, which changes codes such as 00123: write it as text"),
        ("sku", pa.array([date(2024, 5, 1)] * 2), "has the type DATE: write it as text"),
        ("sku", pa.array([b"\xff", b"B"]), "holds bytes that are no text in UTF-8: write it as text"),
        ("occurred_at", pa.array([1714557600, 1714557601]), "has the type BIGINT: write instants in UTC"),
        ("reason", pa.array([{"a": 1}] * 2), "has the nested type STRUCT(a BIGINT): write plain values"),
        ("reason", pa.array([["a"]] * 2), "has the nested type VARCHAR[]: write plain values"),
    ],
)
def test_a_type_that_would_be_falsified_is_refused_with_a_remedy(tmp_path, column, values, told):
    assert read(tmp_path, column, values).startswith(f"stock_movements/a.parquet: column {column} ")
    assert told in read(tmp_path, column, values)


@pytest.mark.parametrize("above", ["sep=;\n", "Report of May\n\n", "Report;;;\nfrom;1;to;2\n", '"sep=;"\n'])
def test_the_header_is_found_behind_what_stands_above_it(tmp_path, above):
    home = Intake(tmp_path)
    rows = (movement(), movement(document="D2", line="x"))
    home.put("stock_movements", "a.csv", above + as_csv(*rows, delimiter=";"))
    report = home.take_in("stock_movements")
    assert report.rows.accepted == 1
    line = above.count("\n") + 3
    assert home.rows("stock_movements", "source_row, rule", "quarantined") == [(line, "line_unreadable")]


def test_a_value_of_no_use_costs_no_product(tmp_path):
    home = Intake(tmp_path)
    rows = [product(sku=str(n), case_pack_units=text) for n, text in enumerate(["6", "abc", "0"])]
    home.put("products", "a.csv", as_csv(*rows))
    report = home.take_in("products")
    assert [units and float(units) for (units,) in home.rows("products", "case_pack_units")] == [6, None, None]
    assert report.notices == (
        "a.csv, row 3: case_pack_units is abc, which cannot be used, and was taken as empty: correct it and send the "
        "row again",
        "a.csv, row 4: case_pack_units is 0, which cannot be used, and was taken as empty: correct it and send the "
        "row again",
    )


def test_a_whole_column_of_no_use_costs_no_product(tmp_path):
    home = Intake(tmp_path)
    home.put("products", "a.parquet", as_parquet(product(), case_pack_units=pa.array([["a"]])))
    report = home.take_in("products")
    assert report.rows.accepted == 1
    (told,) = report.notices
    assert told.endswith("has the nested type VARCHAR[]: write plain values; it was taken as empty")
