"""What a run came to, as text: exceptions by cause, and what is not known."""

from collections.abc import Iterator

import duckdb
import pytest

from orchestration.cli.summary import _exceptions, _Published, _wrong_now


@pytest.fixture
def generation() -> Iterator[_Published]:
    """Two items of one cause, one of another, a policy that nobody can follow; one item is in the list of alerts."""
    with duckdb.connect() as connection:
        connection.execute("""
            create schema reporting;
            create schema marts;
            create table reporting.restock_exceptions as
            from (values
                ('line', 'cup', 'L1', 'stock_unknown', 'record a count of the cup'),
                ('line', 'jug', 'L1', 'stock_unknown', 'record a count of the jug'),
                ('stock', 'pan', 'L1', 'on_hand_negative',
                    'count the shelf and record ' || 'the count as soon as you can, please'),
                ('policy', null, null, 'policy_unmatched', 'name a category that exists')
            ) as exceptions(exception_source, sku, location_id, exception_cause, remedy);
            create table marts.dim_products as
            from (values ('cup', 'Cup'), ('pan', 'Pan')) as products(sku, product_name);
            create table marts.fct_stock_position as
            from (values ('cup', false), ('jug', false), ('pan', true)) as positions(sku, is_stock_known);
            create table reporting.stock_alerts as
            select 'out_of_stock' as kind, 'pan' as sku, 'L1' as location_id, 4.5 as money_per_day, 1 as alert_rank,
                date '2026-01-05' as as_of_date, 'Pan' as product_name, null::varchar as supplier_name,
                null::varchar as supplier_id,
                date '2026-01-05' as from_date, null as until_date, 'order' as cure;
        """)
        yield _Published(connection)


def test_exceptions_are_shown_by_cause_with_the_whole_remedy_of_the_item_that_costs_most(
    generation: _Published,
) -> None:
    assert _exceptions(generation) == [
        "",
        "Exceptions: 4 (reporting.restock_exceptions)",
        "  1 on_hand_negative, 4.50 a day, such as Pan (pan) at L1: count the shelf and record "
        "the count as soon as you can,",
        "    please",
        "  2 stock_unknown, such as Cup (cup) at L1: record a count of the cup",
        "  1 policy_unmatched: name a category that exists",
    ]


def test_where_no_shelf_was_counted_nothing_is_said_to_be_right(generation: _Published) -> None:
    generation.connection.execute("delete from reporting.stock_alerts")
    assert _wrong_now(generation) == ["", "Of 2 of 3 items it is not known what is on the shelf, see exceptions."]
