"""Reading text as the types of the contract: exactly, or not at all."""

import re
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.ingest.contract import Column
from orchestration.ingest.parsing import Reading, text_of

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
NUMBERS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.decimals(min_value=-(10**6), max_value=10**6, places=4).map(str),
    st.floats().map(repr),
    st.integers(-(10**6), 10**6).map(str),
    st.text(st.sampled_from(list("0123456789+-.eE,_xnaif ")), max_size=8),
)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


def read(connection: duckdb.DuckDBPyConnection, kind: str, texts: list[str], **options) -> list[tuple]:
    """Read texts as a type; returns the value and whether it was given but cannot be read, for each."""
    reading = Reading(Column("x", kind, "", False, None), "source", **options)
    connection.register("texts", pa.table({"n": range(len(texts)), "source": pa.array(texts, pa.string())}))
    return connection.sql(
        f"""with given as (select n, {reading.given_sql()} from texts),
        typed as (select *, {reading.typed_sql()} from given)
        select x, {reading.is_unreadable()} from typed order by n"""
    ).fetchall()


def exactly(text: str, digits: int, decimals: int) -> Decimal | None:
    """What the text says, where decimal(digits, decimals) can hold it; the noise of a binary float is forgiven."""
    text = text.strip()
    if not NUMBER.fullmatch(text):
        return None
    try:
        value = Decimal(text)
        rounded = value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    except InvalidOperation:
        return None
    if abs(rounded) >= 10 ** (digits - decimals) or abs(value - rounded) > Decimal("1e-9"):
        return None
    return rounded


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(NUMBERS, min_size=20, max_size=60))
def test_a_decimal_is_read_exactly_or_not_at_all(texts, connection):
    found = read(connection, "decimal(18,3)", texts)
    for text, (value, is_unreadable) in zip(texts, found, strict=True):
        expected = exactly(text, 18, 3)
        if expected is None and value is not None and abs(value) > 10**5:
            continue  # the noise that is forgiven grows with the number
        assert value == expected, text
        assert is_unreadable == (expected is None and bool(text.strip()))


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(NUMBERS, min_size=20, max_size=60))
def test_a_whole_number_is_read_exactly_or_not_at_all(texts, connection):
    found = read(connection, "integer", texts)
    for text, (value, _) in zip(texts, found, strict=True):
        expected = exactly(text, 10, 0)
        is_small = expected is not None and -(2**31) <= expected < 2**31
        assert value == (int(expected) if is_small and expected is not None else None), text


@settings(max_examples=20, deadline=None)
@given(days=st.lists(st.dates(), min_size=10, max_size=40))
def test_a_day_of_the_twentieth_and_twenty_first_century_is_read(days, connection):
    found = read(connection, "date", [day.isoformat() for day in days])
    assert [value for value, _ in found] == [day if 1900 <= day.year < 2100 else None for day in days]


@settings(max_examples=20, deadline=None)
@given(instants=st.lists(st.datetimes(datetime(1901, 1, 1), datetime(2099, 12, 1)), min_size=5, max_size=30))
@pytest.mark.parametrize("form", ["{0}T{1}Z", "{0} {1}", "{0}T{1}+00:00"])
def test_an_instant_is_read_to_the_microsecond(form, instants, connection):
    texts = [form.format(instant.date(), instant.time().isoformat("microseconds")) for instant in instants]
    found = read(connection, "timestamp with time zone", texts)
    assert [value.astimezone(UTC) for value, _ in found] == [instant.replace(tzinfo=UTC) for instant in instants]


@pytest.mark.parametrize("text", ["1_000", "0x1F", "0b11", "3.5", "1,000", "3000000000", "-", "١٢", "epoch", "true"])
def test_what_duckdb_would_read_kindly_is_no_whole_number(connection, text):
    assert read(connection, "integer", [text]) == [(None, True)]


@pytest.mark.parametrize("text", ["epoch", "infinity", "2011-12-01 08:00", "2011-12-01 (BC)", "01/12/2011", "20111201"])
def test_what_duckdb_would_read_kindly_is_no_day(connection, text):
    assert read(connection, "date", [text]) == [(None, True)]


@pytest.mark.parametrize("text", ["epoch", "infinity", "2011-12-01", "1322727960", "2011-12-01 08:26 PM", "now"])
def test_what_duckdb_would_read_kindly_is_no_instant(connection, text):
    assert read(connection, "timestamp with time zone", [text]) == [(None, True)]


@pytest.mark.parametrize("blank", ["", " ", "\t", "\u00a0", " \u200b\ufeff"])
def test_blank_text_is_nothing_and_not_unreadable(connection, blank):
    assert read(connection, "integer", [blank]) == [(None, False)]


@pytest.mark.parametrize("text", [" A1", "A1 ", "\tA1\r", "\u00a0A1\u3000", "\ufeffA1"])
def test_text_is_trimmed_of_every_kind_of_blank(connection, text):
    assert read(connection, "varchar", [text]) == [("A1", False)]


def test_text_is_composed(connection):
    assert read(connection, "varchar", ["CAFE\u0301"]) == [("CAF\u00c9", False)]


def test_a_decimal_comma_is_read_where_it_is_said_to_be_one(connection):
    assert read(connection, "decimal(18,3)", ["-1,5"], decimal="comma") == [(Decimal("-1.500"), False)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("A", "A"),
        (3, "3"),
        (Decimal("1.50"), "1.50"),
        (date(2011, 12, 1), "2011-12-01"),
        (datetime(2011, 12, 1, 8, tzinfo=UTC), "2011-12-01T08:00:00+00:00"),
    ],
)
def test_a_value_is_written_as_a_file_would_hold_it(value, text):
    assert text_of(value) == text
