"""A shop that exports totals by day and nothing finer, from `init` to its orders."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from support.commands import inventorybot
from support.lived_days import read
from support.small_landing import FIRST_DAY, SKUS, add_file, write_landing

DAYS = 112
RATES = dict(zip(SKUS, (1, 2, 4, 5, 6, 8), strict=True))
TOTALS = ["sku", "location_id", "day", "units", "revenue"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the master data and totals of sales, and no movement at all, after its first run."""
    made = tmp_path_factory.mktemp("totals") / "home"
    shown = inventorybot(made, "init", str(made)).stdout
    assert f"{made}/landing/stock_movements/stock_movements.csv.template  required, or daily_sales" in shown
    template = (made / "landing/daily_sales/daily_sales.csv.template").read_text()
    assert template.strip().split(",") == ["source", *TOTALS]
    landing = write_landing(made / "landing")
    for table in ("stock_movements", "purchase_order_lines"):
        next((landing / table).glob("*.csv")).unlink()
    random_source, rows = np.random.default_rng(5), []
    for sku, rate in RATES.items():
        for number, units in enumerate(random_source.poisson(rate, DAYS)):
            day = (FIRST_DAY + timedelta(days=number)).date()
            rows.append([sku, "L1", str(day), str(units), str(2.75 * units)])
    add_file(landing / "daily_sales" / "2024.csv", TOTALS, rows)
    answer = inventorybot(made, "run")
    assert answer.returncode == 0, answer.stdout[-2000:]
    return made


def test_what_sells_is_forecast_from_the_day_after_the_last_total(home: Path):
    query = """
        select sku, min(day) as first_day, sum(mean_units) / count(*) as units
        from reporting.fct_demand_forecasts where periods_ahead <= 7 group by all
    """
    found = read(home, query)
    assert {row["sku"]: float(row["units"]) for row in found} == {
        sku: pytest.approx(rate, rel=0.35) for sku, rate in RATES.items()
    }
    first = (FIRST_DAY + timedelta(days=DAYS)).date()
    assert {row["first_day"] for row in found} == {first}


def test_orders_wait_for_a_count_and_status_says_so(home: Path):
    query = "select sku, exception_cause, remedy from reporting.restock_exceptions order by sku"
    found = read(home, query)
    assert [(row["sku"], row["exception_cause"]) for row in found] == [(sku, "stock_unknown") for sku in SKUS]
    assert "record a count of the shelf, or set the policy unknown_stock" in found[0]["remedy"]
    assert "its stock is not known, as it was never counted" in inventorybot(home, "status").stdout


def test_a_count_lets_the_totals_take_from_stock(home: Path):
    number = DAYS - 3
    at = (FIRST_DAY + timedelta(days=number, hours=6)).isoformat()
    names = ["source", "document", "line", "occurred_at", "sku", "location_id", "movement_type", "quantity_units"]
    add_file(home / "landing/stock_movements/count.csv", names, [["wms", "C", "1", at, "flour", "L1", "count", "60"]])
    inventorybot(home, "policy", "set", "unknown_stock", "covers_lead_time", "--reason", "the count comes on Monday")
    answer = inventorybot(home, "run")
    assert answer.returncode == 0, answer.stdout[-2000:]
    lines = {row["sku"]: row for row in read(home, "select * from reporting.restock_recommendations")}
    day = (FIRST_DAY + timedelta(days=number)).date()
    query = f"select sum(units) as units from marts.fct_daily_sales where sku = 'flour' and day >= date '{day}'"
    sold = float(read(home, query)[0]["units"])
    assert float(lines["flour"]["on_hand_units"]) == 60 - sold
    assert (lines["eggs"]["status"], lines["eggs"]["exception_cause"]) == ("order", None)
    assert "it is taken to last until an order arrives (policy unknown_stock)" in lines["eggs"]["reason"]
