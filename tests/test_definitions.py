"""The asset graph, pinned: keys, edges, groups, checks, jobs."""

import subprocess
import sys
from pathlib import Path

import pytest
from dagster import AssetKey, Definitions

from orchestration.definitions import build_defs
from orchestration.defs.assets.models import TrainingConfig
from orchestration.home.settings import PROJECT_FOLDER
from orchestration.warehouse.dbt import prepare_project

GROUPS = (
    *("raw", "staging", "intermediate", "marts", "models", "predictions", "restock", "reporting", "publish"),
    *("history", "monitoring", "maintenance"),
)
RAW = (
    "daily_sales",
    *("calendar_events", "locations", "prices", "product_photos", "products", "purchase_order_lines", "reservations"),
    *(
        "product_links",
        "product_seasons",
        "stock_lots",
        "stock_movements",
        "supplier_terms",
        "suppliers",
        "transfer_lanes",
    ),
)
MARTS = (
    *(
        "dim_item_locations",
        "dim_locations",
        "dim_product_photos",
        "dim_products",
        "dim_suppliers",
        "fct_daily_demand",
        "fct_daily_stock",
    ),
    *("fct_open_orders", "fct_planned_days", "fct_quarantined_rows", "fct_replenishment_terms", "fct_stock_movements"),
    *("fct_stock_position", "fct_supplier_lead_times", "dim_transfer_lanes", "fct_stock_lots", "dim_product_seasons"),
    *("fct_purchase_order_lines", "fct_purchase_orders", "dim_unit_costs", "fct_weekly_service", "dim_prices"),
    *("fct_reservations", "dim_calendar", "fct_doubtful_movements", "fct_ended_rows", "fct_transfer_movements"),
    *("dim_product_links", "fct_predecessor_stock", "fct_daily_sales"),
)
REPORTING = (
    *("fct_demand_forecasts", "fct_stock_anomalies", "purchase_order_proposals", "restock_exceptions"),
    *("restock_changes", "restock_policies", "restock_order_steps", "restock_recommendations"),
    "restock_terms",
    *("risk_dead_stock", "risk_excess_stock", "risk_expiring_lots", "risk_late_purchase_orders"),
    *("risk_orders_too_late", "risk_stockouts_before_receipt", "stock_transfers", "risk_rule_costs"),
    "stock_alerts",
    *("restock_service_promises", "forecast_totals", "fct_published_forecasts", "fct_forecast_accuracy"),
    *("fct_item_snapshots", "fct_generations"),
)
DECISION = {
    *("predictions/demand_forecasts", "predictions/restock_policies", "predictions/open_proposals"),
    *("predictions/rejected_needs", "predictions/open_transfers", "predictions/rejected_transfers"),
    "predictions/held_levels",
    *("marts/fct_daily_demand", "marts/fct_planned_days", "marts/fct_stock_position", "marts/fct_open_orders"),
    *("marts/fct_replenishment_terms", "marts/fct_stock_lots", "marts/dim_transfer_lanes", "marts/dim_product_seasons"),
    *("marts/dim_item_locations", "marts/fct_reservations", "marts/dim_product_links", "marts/fct_predecessor_stock"),
}
FORECAST = {
    *("models/demand_forecast", "marts/fct_daily_demand", "marts/fct_planned_days", "marts/dim_item_locations"),
    "marts/dim_product_links",
}
EDGES = {
    "models/demand_forecast": {
        "marts/fct_daily_demand",
        "marts/dim_item_locations",
        "marts/fct_replenishment_terms",
        "marts/fct_supplier_lead_times",
        "marts/dim_product_links",
    },
    "models/stock_anomalies": {"marts/fct_daily_stock", "marts/fct_daily_demand", "marts/fct_stock_movements"},
    "models/product_photos": {"marts/dim_product_photos"},
    "predictions/demand_forecasts": FORECAST,
    "predictions/forecast_notes": FORECAST,
    "predictions/forecast_season": FORECAST,
    "predictions/stock_anomalies": {
        "models/stock_anomalies",
        "marts/fct_daily_stock",
        "marts/fct_daily_demand",
        "marts/fct_stock_movements",
    },
    "predictions/restock_policies": {"marts/dim_item_locations", "marts/fct_replenishment_terms"},
    "predictions/open_proposals": {"marts/fct_purchase_order_lines"},
    "predictions/open_transfers": {"marts/fct_transfer_movements"},
    "predictions/rejected_needs": {"marts/fct_stock_position"},
    "predictions/held_levels": {"predictions/restock_policies", "marts/fct_replenishment_terms"},
    "predictions/rejected_transfers": {"marts/fct_stock_position"},
    "predictions/transfer_proposals": {
        *("predictions/stock_transfers", "predictions/open_transfers", "predictions/rejected_transfers"),
        *("marts/dim_transfer_lanes", "marts/fct_transfer_movements"),
    },
    "predictions/order_proposals": {
        *("predictions/restock_lines", "predictions/restock_terms"),
        *("predictions/open_proposals", "predictions/rejected_needs"),
        *("marts/fct_replenishment_terms", "marts/dim_products"),
    },
    "predictions/generations": set(),
    "predictions/published_forecasts": {"predictions/demand_forecasts"},
    "predictions/item_snapshots": {
        *("predictions/restock_lines", "marts/fct_stock_position", "marts/dim_item_locations"),
        "marts/fct_daily_demand",
    },
    "predictions/restock_rule_costs": {"models/demand_forecast"},
    "predictions/service_promises": {"models/demand_forecast"},
    "predictions/previous_restock_lines": {"marts/fct_stock_position"},
    "predictions/previous_restock_terms": {"marts/fct_stock_position"},
    "predictions/restock_lines": DECISION,
    "predictions/restock_terms": DECISION,
    "predictions/stock_transfers": DECISION,
    "monitoring/demand_forecasts": {"marts/fct_daily_demand", "marts/dim_item_locations"},
    "maintenance/retention": set(),
    "publish/generation": {f"marts/{name}" for name in MARTS} | {f"reporting/{name}" for name in REPORTING},
}


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    prepare_project()
    return build_defs()


@pytest.fixture(scope="module")
def graph(definitions: Definitions) -> dict[str, set[str]]:
    asset_graph = definitions.resolve_asset_graph()
    return {
        key.to_user_string(): {parent.to_user_string() for parent in asset_graph.get(key).parent_keys}
        for key in asset_graph.get_all_asset_keys()
    }


def names(graph: dict[str, set[str]], layer: str) -> set[str]:
    return {key.split("/")[1] for key in graph if key.startswith(f"{layer}/")}


def test_every_raw_table_of_the_contract_is_an_asset(graph: dict[str, set[str]]) -> None:
    assert names(graph, "raw") == {*RAW, "quarantined_rows"}


def test_the_marts_are_these(graph: dict[str, set[str]]) -> None:
    assert names(graph, "marts") == set(MARTS)


def test_the_reporting_tables_are_these(graph: dict[str, set[str]]) -> None:
    assert names(graph, "reporting") == set(REPORTING)


@pytest.mark.parametrize("asset", EDGES)
def test_an_asset_reads_exactly_these(graph: dict[str, set[str]], asset: str) -> None:
    assert graph[asset] == EDGES[asset]


def test_staging_alone_reads_raw(graph: dict[str, set[str]]) -> None:
    readers = {key for key, parents in graph.items() if any(parent.startswith("raw/") for parent in parents)}
    assert not {key for key in readers if not key.startswith(("staging/", "raw/"))}


def test_no_prediction_feeds_a_model(definitions: Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    # When each generation was published dates what has ended, and people say which use is planned: no model does.
    allowed = {AssetKey(["predictions", name]) for name in ("generations", "planned_use")}
    assert all(graph.get(key).parent_keys == set() for key in allowed)
    upstream = graph.get_ancestor_asset_keys(AssetKey(["models", "demand_forecast"])) - allowed
    assert not [key for key in upstream if key.path[0] in ("predictions", "reporting", "publish")]


def test_groups_are_the_layers_and_every_asset_is_described(definitions: Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    assert {node.group_name for node in nodes} == set(GROUPS)
    assert [node.key.to_user_string() for node in nodes if not node.description] == []


def test_the_checks_of_raw_tables_block(definitions: Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    blocking = {key.asset_key.to_user_string() for key in graph.asset_check_keys if graph.get(key).blocking}
    assert {f"raw/{name}" for name in RAW} <= blocking


def test_jobs_and_sensors_are_these(definitions: Definitions) -> None:
    assert {job.name for job in definitions.jobs or []} == {"daily_restock", "refresh_stock", "train_models"}
    sensors = {sensor.name: sensor.default_status.value for sensor in definitions.sensors or []}
    assert sensors == {"arrivals": "STOPPED", "run_failures": "RUNNING", "stream_lag": "RUNNING"}


def test_the_weekly_job_evaluates_what_changed_and_the_daily_job_trains_only_where_no_champion_is(
    definitions: Definitions, graph: dict[str, set[str]]
) -> None:
    weekly = definitions.resolve_job_def("train_models")
    models = {name.replace("/", "__") for name in graph if name.startswith("models/")}
    assert {node.name for node in weekly.nodes} == models
    assert weekly.run_config == {"ops": {name: {"config": {"when": "changed"}} for name in models}}
    assert TrainingConfig().when == "missing"
    assert not definitions.resolve_job_def("daily_restock").run_config
    schedules = {schedule.name: schedule.cron_schedule for schedule in definitions.schedules or []}
    assert schedules["train_models_schedule"] == "0 1 * * 0"


def test_schedules_ship_stopped(definitions: Definitions) -> None:
    assert {schedule.default_status.value for schedule in definitions.schedules or []} == {"STOPPED"}


def test_definitions_validate_from_any_directory(tmp_path: Path) -> None:
    dagster = Path(sys.executable).parent / "dagster"
    command = [str(dagster), "definitions", "validate", "-w", str(PROJECT_FOLDER / "workspace.yaml")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr


def test_importing_the_definitions_opens_no_heavy_library() -> None:
    heavy = ("tensorflow", "xgboost", "mlflow", "great_expectations", "boto3", "matplotlib")
    code = f"import orchestration.definitions, sys; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout.strip() == "[]", result.stderr
