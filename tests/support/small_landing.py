"""A landing folder small enough to run the whole job on in a test: 60 days, 6 items, one location."""

import csv
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

FIRST_DAY = datetime(2024, 3, 4, tzinfo=UTC)
DAYS = 60
SKUS = ("apple", "bread", "cocoa", "dates", "eggs", "flour")


def write_plans(landing: Path) -> Path:
    """Write two planned promotions, one of them with a declared uplift, and a product that has never been there."""
    _write(
        landing / "prices" / "planned.csv",
        ["sku", "from_date", "to_date", "unit_price", "is_promotion", "expected_uplift"],
        [
            ["bread", "2024-05-06", "2024-05-08", "1.95", "true", ""],
            ["cocoa", "2024-05-06", "2024-05-08", "1.95", "true", "3"],
        ],
    )
    _write(
        landing / "products" / "ginger.csv",
        ["sku", "product_name", "category", "unit_cost", "unit_price", "case_pack_units"],
        [["ginger", "Ginger", "food", "1.50", "2.75", "6"]],
    )
    _write(
        landing / "supplier_terms" / "ginger.csv",
        ["sku", "location_id", "supplier_id", "lead_time_days", "moq_units", "order_multiple_units", "unit_cost"],
        [["ginger", "L1", "S1", "5", "", "1", "1.50"]],
    )
    return landing


def write_landing(landing: Path) -> Path:
    """Write every required table, and open orders; return the folder."""
    _write(
        landing / "products" / "products.csv",
        ["sku", "product_name", "category", "unit_cost", "unit_price", "case_pack_units"],
        [[sku, sku.title(), "food", "1.50", "2.75", "6"] for sku in SKUS],
    )
    _write(
        landing / "locations" / "locations.csv",
        ["location_id", "location_name", "location_type", "country", "time_zone"],
        [["L1", "Main street", "store", "GB", "Europe/London"]],
    )
    _write(
        landing / "suppliers" / "suppliers.csv",
        ["supplier_id", "supplier_name", "review_period_days"],
        [["S1", "Grocer and sons", "7"]],
    )
    _write(
        landing / "supplier_terms" / "supplier_terms.csv",
        ["sku", "location_id", "supplier_id", "lead_time_days", "moq_units", "order_multiple_units", "unit_cost"],
        [[sku, "L1", "S1", "5", "12", "6", "1.50"] for sku in SKUS],
    )
    _write(
        landing / "purchase_order_lines" / "orders.csv",
        [
            *("purchase_order_id", "line", "supplier_id", "sku", "location_id", "ordered_at", "expected_date"),
            *("ordered_units", "received_units", "status"),
        ],
        [["P9", "1", "S1", "apple", "L1", "2024-05-01T09:00:00Z", "2024-05-06", "24", "0", "open"]],
    )
    _write(landing / "stock_movements" / "movements.csv", MOVEMENT_COLUMNS, movements())
    return landing


MOVEMENT_COLUMNS = [
    *(
        "source",
        "document",
        "line",
        "occurred_at",
        "sku",
        "location_id",
        "movement_type",
        "quantity_units",
        "unit_price",
    )
]


def movements(first: int = 0, last: int = DAYS) -> list[list[str]]:
    """Return the movements of days first ... last - 1: an opening count, daily sales of each item, weekly receipts."""
    rows = []
    for day in range(first, last):
        morning = FIRST_DAY + timedelta(days=day, hours=8)
        if day == 0:
            rows += [_row("wms", "open", n, morning, sku, "count", 60) for n, sku in enumerate(SKUS)]
        if day % 7 == 3:
            rows += [_row("wms", f"R{day}", n, morning, sku, "receipt", 30) for n, sku in enumerate(SKUS)]
        for number, sku in enumerate(SKUS):
            units = 3 + number % 3 + round(2 * math.sin(day + number))
            rows.append(_row("pos", f"D{day}", number, morning + timedelta(hours=4), sku, "sale", -units, "2.75"))
    return rows


def _row(
    source: str, document: str, line: int, at: datetime, sku: str, kind: str, units: int, price: str = ""
) -> list[str]:
    return [source, document, str(line), at.isoformat(), sku, "L1", kind, str(units), price]


def _write(path: Path, header: list[str], rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def add_file(path: Path, header: list[str], rows: list[list[str]]) -> None:
    """Write one more file of a table."""
    _write(path, header, rows)
