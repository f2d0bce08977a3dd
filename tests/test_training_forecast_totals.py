"""Which of the notes on forecast totals a run tells."""

from pathlib import Path

import duckdb
import pytest

from orchestration.training.forecast_totals import forecast_remarks, parting_totals

COLUMNS = "category, week_start, forecast_units, usual_units, is_parting, note"


@pytest.fixture
def totals():
    """Return the means to hold rows as a published relation."""
    connections = []

    def hold(rows: str) -> duckdb.DuckDBPyConnection:
        connections.append(duckdb.connect())
        connections[-1].execute(f"create schema reporting; create table reporting.forecast_totals as {rows}")
        return connections[-1]

    yield hold
    for connection in connections:
        connection.close()


PARTING = f"""
    select * from (values
        (null, date '2012-01-02', 150, 100, false, null),
        (null, date '2012-01-09', 194, 100, true, 'The forecast for the week from 9 January 2012 is 194 units.'),
        ('bags', date '2012-01-02', 20, 10, true, 'The forecast of bags is 20 units.'),
        ('bags', date '2012-01-09', 40, 10, true, 'The forecast of bags is 40 units.'),
        ('lamps', date '2012-01-09', 0, 60, true, 'The forecast of lamps is 0 units.'),
        ('mugs', date '2012-01-09', 5, 5, false, null)
    ) as totals({COLUMNS})
"""


def test_a_run_tells_the_total_and_the_category_with_the_widest_gap(totals):
    assert forecast_remarks(totals(PARTING)) == [
        "The forecast for the week from 9 January 2012 is 194 units.",
        "Forecasts of 2 of 3 categories part from last year; the widest gap: the forecast of lamps is 0 units.",
    ]


def test_a_run_tells_how_many_weeks_of_the_total_part(totals):
    more = (
        "select null, date '2012-01-16', 300, 200, true, 'The forecast for the week from 16 January 2012 is 300 units.'"
    )
    assert forecast_remarks(totals(f"{PARTING} union all {more}"))[0] == (
        "The forecast for the week from 9 January 2012 is 194 units. 2 of 3 weeks part, the last from 16 January 2012."
    )


def test_a_run_whose_forecast_holds_says_nothing(totals):
    assert forecast_remarks(totals(f"select * from ({PARTING}) where not is_parting")) == []


def test_a_generation_without_totals_says_nothing():
    with duckdb.connect() as connection:
        assert forecast_remarks(connection) == []


def test_the_check_names_the_total_and_the_widest_categories_by_their_furthest_week(tmp_path: Path):
    duckdb.sql(PARTING).write_parquet(str(tmp_path / "totals.parquet"))
    assert parting_totals(tmp_path / "totals.parquet") == [
        "The forecast for the week from 9 January 2012 is 194 units.",
        "The forecast of lamps is 0 units.",
        "The forecast of bags is 40 units.",
    ]


@pytest.mark.parametrize(("most", "rest"), [(1, "And 1 more category"), (0, "And 2 more categories")])
def test_the_check_counts_the_categories_it_does_not_name(tmp_path: Path, most: int, rest: str):
    duckdb.sql(PARTING).write_parquet(str(tmp_path / "totals.parquet"))
    notes = parting_totals(tmp_path / "totals.parquet", most)
    assert len(notes) == 2 + most
    assert notes[-1] == f"{rest}, see reporting.forecast_totals."
