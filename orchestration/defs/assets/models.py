"""Models: evaluated beside baselines, gated, registered. Each on its own cadence; predicting is elsewhere."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    Config,
    MaterializeResult,
    MetadataValue,
    asset,
)
from pydantic import Field

from orchestration.defs import plots
from orchestration.defs.resources import HomeResource, StoreResource, TrackingResource
from orchestration.home.settings import Settings
from orchestration.training.challengers import DEMAND_FORECAST
from orchestration.training.lifecycle import Outcome, Training, When, bring_up_to_date
from orchestration.training.product_photos import PRODUCT_PHOTOS
from orchestration.training.stock_anomalies import STOCK_ANOMALIES
from orchestration.warehouse.build import read_build
from orchestration.warehouse.exports import export_path

GATE = "gate"


class TrainingConfig(Config):
    """When a model is trained."""

    when: str = Field(
        "missing",
        description="missing: train only without a champion; changed: on new data, code or parameters,"
        " judge again where only the judge is new; always",
    )


@asset(
    key=["models", "demand_forecast"],
    group_name="models",
    deps=[
        AssetKey(["marts", "fct_daily_demand"]),
        AssetKey(["marts", "dim_item_locations"]),
        AssetKey(["marts", "fct_replenishment_terms"]),
        AssetKey(["marts", "fct_supplier_lead_times"]),
    ],
    check_specs=[
        AssetCheckSpec(
            GATE, asset=["models", "demand_forecast"], description="No worse than the champion and baselines."
        )
    ],
    pool="training",
    kinds={"xgboost", "mlflow"},
    description=(
        "Forecasts daily demand of every sku and location as a full probability distribution. A new version replaces"
        " the champion only if it is no worse than the champion's model, the seasonal naive and the recent demand on"
        " rolling windows that none has seen. From the second training on it is compared with a neural network, ETS,"
        " Theta, Croston-SBA and TSB on a sample of series."
    ),
)
def demand_forecast(
    context: AssetExecutionContext,
    config: TrainingConfig,
    home: HomeResource,
    store: StoreResource,
    tracking: TrackingResource,
) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
    """Bring the demand forecaster up to date."""
    settings = home.settings()
    data = [export_path(settings, "marts.fct_daily_demand"), export_path(settings, "marts.dim_item_locations")]
    yield from _up_to_date(context, config, settings, store, tracking, data, DEMAND_FORECAST)


@asset(
    key=["models", "stock_anomalies"],
    group_name="models",
    deps=[AssetKey(["marts", name]) for name in ("fct_daily_stock", "fct_daily_demand", "fct_stock_movements")],
    check_specs=[AssetCheckSpec(GATE, asset=["models", "stock_anomalies"], description="No worse than a robust z.")],
    pool="training",
    kinds={"xgboost", "mlflow"},
    description=(
        "Finds false records of stock and unusual demand. Evaluated on errors injected into days it has not seen;"
        " baseline: a robust z-score."
    ),
)
def stock_anomalies(
    context: AssetExecutionContext,
    config: TrainingConfig,
    home: HomeResource,
    store: StoreResource,
    tracking: TrackingResource,
) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
    """Bring the anomaly detector up to date."""
    settings = home.settings()
    data = [export_path(settings, f"marts.{name}") for name in ("fct_daily_stock", "fct_daily_demand")]
    yield from _up_to_date(context, config, settings, store, tracking, data, STOCK_ANOMALIES)


@asset(
    key=["models", "product_photos"],
    group_name="models",
    deps=[AssetKey(["raw", "product_photos"])],
    check_specs=[AssetCheckSpec(GATE, asset=["models", "product_photos"], description="No worse than HOG + linear.")],
    pool="training",
    kinds={"tensorflow", "mlflow"},
    description=(
        "Recognises products on shelf photos, or answers that it does not know. Trained from scratch; evaluated on"
        " held-out photos; baseline: a linear model on gradients (HOG)."
    ),
)
def product_photos(
    context: AssetExecutionContext,
    config: TrainingConfig,
    home: HomeResource,
    store: StoreResource,
    tracking: TrackingResource,
) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
    """Bring the photo recogniser up to date."""
    settings = home.settings()
    data = sorted(settings.raw.glob("product_photos/*/accepted.parquet"))
    yield from _up_to_date(context, config, settings, store, tracking, data, PRODUCT_PHOTOS)


def _up_to_date(
    context: AssetExecutionContext,
    config: TrainingConfig,
    settings: Settings,
    store: StoreResource,
    tracking: TrackingResource,
    data: Sequence[Path],
    training: Training,
) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
    outcome = bring_up_to_date(
        training,
        settings,
        when=When(config.when),
        data=data,
        tracking=tracking.open(),
        store=store.open(),
        run_id=context.run_id,
        tags=_moment_of(settings),
    )
    yield MaterializeResult(metadata=metadata_of(outcome))
    yield AssetCheckResult(
        check_name=GATE,
        passed=outcome.trained is None or outcome.trained.passed,
        severity=AssetCheckSeverity.WARN,
        metadata={
            "failures": ", ".join(outcome.failed_criteria()) or "none",
            "not met, without blocking": ", ".join(
                name for name in outcome.unmet_criteria() if name not in outcome.failed_criteria()
            )
            or "none",
        },
    )


def _moment_of(settings: Settings) -> dict[str, str]:
    """Return business day and arrival instant of the marts: with the raw arrivals they make the same data again."""
    try:
        build = read_build(settings)
    except FileNotFoundError:
        # Photos are learnt from the raw table, which may come before the first marts.
        return {}
    return {"as_of": build.as_of, "ingested_until": build.ingested_until}


def metadata_of(outcome: Outcome) -> dict[str, Any]:
    """Return what Dagster shows of a model: its champion's figures, the verdict, the pictures of its training."""
    metadata: dict[str, Any] = {"note": outcome.note}
    if outcome.champion is not None:
        metadata["champion"] = outcome.champion.version
    metadata |= {name: plots.as_metadata(figure) for name, figure in outcome.figures.items()}
    if outcome.verdict is not None:
        metadata["verdict"] = MetadataValue.md(outcome.verdict.to_markdown(index=False))
    if outcome.champion is not None:
        metadata |= {name: MetadataValue.float(value) for name, value in sorted(outcome.champion.metrics.items())}
    return metadata
