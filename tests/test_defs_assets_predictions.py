"""The anomalies that a run hands on while no detector has passed its gate."""

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from dagster import ExecuteInProcessResult, materialize
from support.small_marts import AS_OF, build_of

from orchestration.defs.assets.predictions import stock_anomalies
from orchestration.defs.resources import HomeResource, StoreResource, TrackingResource
from orchestration.home.environment import read_settings

Run = Callable[[int], tuple[ExecuteInProcessResult, pd.DataFrame]]


def write_marts(exports: Path, days: int) -> None:
    """Write the stock of one item: a receipt of about 50 every fifth day, once one of 5,000."""
    exports.mkdir(parents=True)
    calendar = f"""
        select date '{AS_OF}' - back::integer as day, 'A' as sku, 'L' as location_id,
            case when back = 7 then 5000 when back % 5 = 0 then 50 + back % 3 else 0 end::double as receipt_units
        from range({days}) days(back)
    """
    tables = {
        "fct_daily_stock": "*, 100.0 as opening_units, 5.0 as sales_units, 0.0 as other_units, 95.0 as closing_units,"
        " true as is_stock_known",
        "fct_daily_demand": "*, 5.0 as demand_units, true as is_in_stock, true as is_open, 2.5 as unit_price",
        "fct_stock_movements": "*, 'sale' as movement_type, -5.0 as change_units",
    }
    for name, columns in tables.items():
        duckdb.sql(f"copy (select {columns} from ({calendar})) to '{exports / name}.parquet' (format parquet)")


@pytest.fixture
def run(home_folder: Path, registry_url: str) -> Run:
    def run(days: int) -> tuple[ExecuteInProcessResult, pd.DataFrame]:
        exports = home_folder / "warehouse" / "exports"
        write_marts(exports / "marts", days)
        read_settings().predictions.mkdir(parents=True)
        (exports / "build.json").write_text(json.dumps(build_of().__dict__))
        result = materialize(
            [stock_anomalies],
            resources={
                "home": HomeResource(),
                "store": StoreResource(url=f"sqlite:///{home_folder / 'online_store.sqlite'}"),
                "tracking": TrackingResource(tracking_uri=registry_url, artifact_root=str(home_folder / "artifacts")),
            },
        )
        found = next(home_folder.rglob("stock_anomalies.parquet"))
        return result, duckdb.sql(f"select * from read_parquet('{found}')").df()

    return run


def note(result: ExecuteInProcessResult) -> str:
    return str(result.asset_materializations_for_node("predictions__stock_anomalies")[0].metadata["note"].value)


def test_without_a_champion_the_rule_of_thumb_reports_the_day_that_stands_out_under_its_own_name(run: Run) -> None:
    result, found = run(120)
    assert found["day"].dt.strftime("%Y-%m-%d").tolist() == ["2024-04-24"]
    assert found[["kind", "model_version"]].to_numpy().tolist() == [["record_error_receipt", "robust_z"]]
    assert note(result) == "no champion: the days are scored by the robust z, 91 days looked at"


def test_without_a_champion_and_with_little_history_nothing_is_reported_and_the_note_says_why(run: Run) -> None:
    result, found = run(20)
    assert found.empty
    assert note(result) == ("no champion, and 20 days of stock are too few to know what is usual; no day is scored")
