"""Housekeeping of the home: what the daily job forgets by rule."""

from datetime import UTC, datetime

from dagster import AssetExecutionContext, MaterializeResult, asset

from orchestration.defs.resources import HomeResource
from orchestration.defs.retention import apply


@asset(
    key=["maintenance", "retention"],
    group_name="maintenance",
    description=(
        "Removes old Dagster runs and archived decisions, as the settings of the home say; never the inputs of a"
        " generation on disk. Raw data and the ledger are kept for ever."
    ),
)
def retention(context: AssetExecutionContext, home: HomeResource) -> MaterializeResult[None]:
    """Follow the rules of the home."""
    settings = home.settings()
    kept = apply(settings, context.instance, now=datetime.now(UTC))
    return MaterializeResult(
        metadata={
            "note": f"{kept.runs[1]:,} runs and {kept.archives[1]:,} archived decisions forgotten",
            "rules": "; ".join(kept.report(settings)),
        }
    )
