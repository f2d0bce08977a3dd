"""After deployment: were the published forecasts right, and does the demand still look as it did?"""

from collections.abc import Iterator, Sequence
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    MaterializeResult,
    asset,
)

from orchestration.defs import plots
from orchestration.defs.resources import HomeResource
from orchestration.training.monitoring import DAYS_JUDGED, Monitoring, monitor_forecasts
from orchestration.warehouse.build import read_build

KEY = ["monitoring", "demand_forecasts"]
CHECKS = {
    "accuracy": "At every lag the error is no larger than that of repeating the last week.",
    "bias": "No segment's total is forecast too high or too low for longer than chance allows.",
    "calibration": "Every quantile is exceeded as often as it says, within 5 points, over a week or more.",
    "drift": "The population stability index of every input of the forecast is at most 0.25.",
}


@asset(
    key=KEY,
    group_name="monitoring",
    deps=[AssetKey(["marts", "fct_daily_demand"]), AssetKey(["marts", "dim_item_locations"])],
    check_specs=[AssetCheckSpec(name, asset=KEY, description=text) for name, text in CHECKS.items()],
    kinds={"parquet"},
    description=(
        "Compares the forecasts published for the last 28 days with what happened: error by lag, bias of segment"
        " totals, calibration, drift of the inputs. The first comparison is made one day after the first"
        " run. One row per lag, segment, level and input, in the metadata."
    ),
)
def demand_forecasts(
    context: AssetExecutionContext, home: HomeResource
) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
    """Judge the archived forecasts whose days have come."""
    settings = home.settings()
    build = read_build(settings)
    found = monitor_forecasts(settings, build)
    if found is None:
        yield MaterializeResult(metadata={"note": f"no forecast published before {build.as_of}, nothing to compare"})
        for name in CHECKS:
            yield _check(name, [], "nothing to compare")
        return
    yield MaterializeResult(metadata=_metadata(found))
    behind = [f"lag {lag}" for lag in found.lags_behind_naive()]
    yield _check("accuracy", behind, f"over {found.days} days")
    yield _check("bias", found.biased(), f"over {found.days} days")
    yield _check("calibration", found.uncalibrated(), f"over {found.days} days")
    yield _check("drift", found.drifted(), f"the last {DAYS_JUDGED} days beside those before them")


def _metadata(found: Monitoring) -> dict[str, Any]:
    tables = {
        name: plots.as_table(getattr(found, name).round(4)) for name in ("accuracy", "bias", "calibration", "drift")
    }
    problems = [*found.biased(), *found.uncalibrated(), *found.drifted()]
    return {
        "note": f"{found.days} days since {found.since}, forecasts of {found.origins} runs; "
        + (f"look at {', '.join(problems)}" if problems else "all as expected"),
        **tables,
    }


def _check(name: str, found: Sequence[str], what: str) -> AssetCheckResult:
    return AssetCheckResult(
        check_name=name,
        passed=not found,
        severity=AssetCheckSeverity.WARN,
        metadata={"failures": ", ".join(found) or "none", "judged": what},
    )
