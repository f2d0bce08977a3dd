"""Products that follow others: which links count, whose history and stock a successor has, and what is ordered."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from support.small_marts import small_home
from test_warehouse import (
    FIRST_ARRIVAL,
    FIRST_NOON,
    SUPPLY,
    Warehouse,
    arrive,
    location,
    movement,
    order_line,
    product,
    terms,
)

from orchestration.home.settings import Settings
from orchestration.warehouse.demand_frames import demand_history
from orchestration.warehouse.restock_frames import open_orders

LAST = date(2011, 4, 29)
LINKS = [("new", "old", "2011-04-20", 1), ("half", "old2", "2011-04-20", 0.5), ("later", "old3", "2011-05-20", 1)]
LINKS += [("new", "dead", "2011-04-20", 1), ("old", "old", "2011-04-20", 1), ("ghost", "old", "2011-04-20", 1)]
LINKS += [
    ("new", "weighed", "2011-04-20", 1),
    ("next", "ordered", "2011-04-20", 1),
    ("soon", "awaited", "2011-05-20", 1),
]


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A home whose predecessors have 12 units left; dead has sold nothing for a month. Shop y never gets new."""
    home = Warehouse(tmp_path_factory.mktemp("linked"))
    skus = ("new", "half", "later", "next", "soon", "old", "old2", "old3", "ordered", "awaited", "dead")
    moved = [movement(f"IN {sku}", "receipt", 52, FIRST_NOON - timedelta(hours=3), sku=sku) for sku in skus[5:]]
    moved += [
        movement(f"{sku}-{number}", "sale", -1, FIRST_NOON + timedelta(days=number), sku=sku)
        for sku in skus[5:10]
        for number in range(40)
    ]
    moved += [movement("D", "sale", -1, FIRST_NOON, sku="dead")]
    moved += [
        movement("IN y", "receipt", 52, FIRST_NOON, location="y", sku="old"),
        movement("D y", "sale", -1, FIRST_NOON + timedelta(days=20), location="y", sku="old"),
    ]
    arrive(
        home.raw,
        FIRST_ARRIVAL,
        {
            "products": [*(product(sku) for sku in skus), product("weighed") | {"unit_of_measure": "kg"}],
            "locations": [location("x"), location("y")],
            "suppliers": SUPPLY["suppliers"],
            "supplier_terms": [*(terms(sku, "S2", 5) for sku in skus), terms("old", "S2", 5) | {"location_id": "y"}],
            "purchase_order_lines": [
                order_line("P1", "ordered", "S2", "2011-04-25", "2011-05-05", 30),
                order_line("P2", "awaited", "S2", "2011-04-25", "2011-05-18", 40),
            ],
            "stock_movements": moved,
            "product_links": [
                {"sku": sku, "predecessor_sku": before, "from_date": date.fromisoformat(start), "share": share}
                for sku, before, start, share in LINKS
            ],
        },
    )
    marts = ("fct_predecessor_stock", "fct_replenishment_terms", "fct_planned_days", "fct_quarantined_rows")
    home.build("build", "--select", *(f"+{mart}" for mart in marts), as_of=LAST.isoformat())
    return home


def test_a_successor_counts_on_what_is_left_of_a_predecessor_that_is_still_sold(linked: Warehouse):
    columns = "sku, predecessor_sku, available_units, left_units, is_still_sold"
    linkless = "where on_order_units = 0 and sku <> 'next'"
    assert linked.rows(f"select {columns} from marts.fct_predecessor_stock {linkless} order by 1, 2") == [
        ("half", "old2", 12, 6, True),
        # 27 a month go on until the successor takes over in 21 days.
        ("later", "old3", 12, 0, True),
        ("new", "dead", 51, 51, False),
        ("new", "old", 12, 12, True),
    ]


def test_what_is_on_order_of_a_predecessor_is_sold_first_too(linked: Warehouse):
    columns = "sku, periods_ahead, available_units, on_order_units, left_units, left_stock_units"
    assert linked.rows(
        f"select {columns} from marts.fct_predecessor_stock where sku in ('next', 'soon') order by 1, 2"
    ) == [
        ("next", 1, 12, 0, 12, 12),
        ("next", 6, 0, 30, 30, 0),
        # Its 12 are sold before the order comes, two days before the successor takes over; 27 are sold in 28 days.
        ("soon", 21, 12, 40, Decimal("38.071"), 0),
    ]


def test_a_predecessor_is_ordered_until_its_successor_takes_over(linked: Warehouse):
    ends = """
        select sku, last_sale_date from marts.fct_replenishment_terms
        where last_sale_date is not null and sku in ('dead', 'old', 'old2', 'old3') order by 1
    """
    day = date(2011, 4, 19)
    assert linked.rows(ends) == [("dead", day), ("old", day), ("old2", day), ("old3", date(2011, 5, 19))]
    on_sale = """
        select sku, min(day) from marts.fct_planned_days
        where is_on_sale and location_id = 'x' and sku not in ('next', 'ordered', 'soon', 'awaited')
        group by 1 order by 1
    """
    tomorrow = LAST + timedelta(days=1)
    # A successor that has not sold yet begins where it takes over.
    assert linked.rows(on_sale) == [
        *(("half", tomorrow), ("later", date(2011, 5, 20)), ("new", tomorrow), ("old3", tomorrow)),
    ]


def test_a_predecessor_goes_on_where_its_successor_never_comes(linked: Warehouse):
    assert linked.rows("select sku, last_sale_date from marts.fct_replenishment_terms where location_id = 'y'") == [
        ("old", None)
    ]
    assert linked.rows("select bool_and(is_on_sale) from marts.fct_planned_days where location_id = 'y'") == [(True,)]
    assert linked.rows("select sku from marts.fct_predecessor_stock where location_id = 'y'") == []


def test_a_link_to_itself_to_another_unit_or_to_an_unknown_product_waits_with_its_reason(linked: Warehouse):
    held = linked.rows("select rule, reason from marts.fct_quarantined_rows order by 1")
    assert [rule for rule, _ in held] == ["link_to_itself", "link_units", "unknown_sku"]
    assert held[0][1] == "sku 'old' follows itself: correct or discard the row"
    assert held[1][1].startswith("sku 'new' is counted in another unit") and "give both the same unit" in held[1][1]
    assert held[2][1].startswith("sku 'ghost' is not among the products")


def export(path: Path, query: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    duckdb.execute(f"copy ({query}) to '{path}' (format parquet)")


def test_the_history_of_a_successor_is_its_own_and_its_share_of_those_before(tmp_path: Path):
    settings = small_home(tmp_path)
    before = demand_history(settings)
    links = """
        select 'p02' as sku, 'north' as location_id, 'p00' as predecessor_sku, 0.5 as share
        union all select 'p23', 'south', 'p01', 1
        union all select 'p04', 'south', 'p02', 1
    """
    export(settings.exports / "marts" / "dim_product_links.parquet", links)
    after = demand_history(settings)
    units = before.pivot(index="period_start", columns="sku", values="demand_units")
    linked = after.pivot(index="period_start", columns="sku", values="demand_units")
    assert linked["p02"].equals((units["p02"] + 0.5 * units["p00"]).rename("p02"))
    assert linked["p23"].equals((units["p23"] + units["p01"]).rename("p23"))
    others = [sku for sku in units if sku not in ("p02", "p23")]
    assert linked[others].equals(units[others])


def test_what_is_left_of_a_predecessor_comes_when_its_successor_takes_over(tmp_path: Path):
    settings = Settings(tmp_path, tmp_path / "landing", "", "", "")
    marts = settings.exports / "marts"
    stock = """
        select sku, 'x' as location_id, predecessor_sku, days_until_takeover, left_units, is_still_sold
        from (values ('n', 'o', 1, 50, true), ('m', 'o', 11, 70, true), ('k', 'dead', 1, 100, false))
            as stock (sku, predecessor_sku, days_until_takeover, left_units, is_still_sold)
    """
    export(marts / "fct_predecessor_stock.parquet", stock)
    orders = """
        select 'n' as sku, 'x' as location_id, 4 as periods_ahead, 6 as open_units, false as is_late, 0 as days_late,
            false as is_doubtful, 'P1' as purchase_order_id, 1 as line
    """
    export(marts / "fct_open_orders.parquet", orders)
    none = """
        select '' as sku, '' as location_id, 1 as periods_ahead, 0.0 as open_units, '' as proposal_id,
            current_date as as_of_date, current_date as expected_date
        where false
    """
    export(settings.predictions / "open_proposals.parquet", none)
    found = open_orders(settings)[["sku", "periods_ahead", "units", "is_predecessor_stock"]]
    assert found.to_numpy().tolist() == [["m", 11, 70.0, True], ["n", 1, 50.0, True], ["n", 4, 6.0, False]]
