"""Everything Dagster knows, in explicit lists. Importing this opens nothing and logs in nowhere."""

from collections.abc import Mapping

from dagster import Definitions

from orchestration.defs import checks
from orchestration.defs import jobs as automation
from orchestration.defs.assets import (
    history,
    maintenance,
    models,
    monitoring,
    predictions,
    publish,
    raw,
    restock,
    warehouse,
)
from orchestration.defs.executor import holding_home
from orchestration.defs.progress import progress_logger
from orchestration.defs.resources import default_resources


def build_defs(resources: Mapping[str, object] | None = None) -> Definitions:
    """Return the definitions; `resources` replaces those that the environment describes."""
    return Definitions(
        assets=[
            *raw.RAW_TABLES,
            raw.QUARANTINED_ROWS,
            warehouse.PLANNED_USE,
            warehouse.warehouse_marts,
            models.demand_forecast,
            models.stock_anomalies,
            models.product_photos,
            predictions.demand_forecasts,
            predictions.stock_anomalies,
            restock.restock_policies,
            restock.open_proposals,
            restock.rejected_needs,
            restock.held_levels,
            restock.restock_decision,
            restock.previous_decision,
            restock.order_proposals,
            restock.policy_proofs,
            history.generations,
            history.published_history,
            warehouse.warehouse_reporting,
            publish.generation,
            monitoring.demand_forecasts,
            maintenance.retention,
        ],
        asset_checks=[
            checks.fresh,
            checks.order_lines_name_their_proposals,
            checks.movements_name_their_transfers,
            checks.as_last_year,
        ],
        jobs=[automation.daily_restock, automation.refresh_stock, automation.train_models],
        schedules=[automation.daily, automation.weekly],
        sensors=[automation.arrivals, automation.run_failures, automation.stream_lag],
        resources=dict(resources) if resources is not None else default_resources(),
        executor=holding_home,
        loggers={"progress": progress_logger},
    )


defs = build_defs()
