"""Models: evaluated beside baselines, gated, registered. Each on its own cadence; predicting is elsewhere."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    Config,
    MaterializeResult,
    MetadataValue,
    asset,
)
from pydantic import Field

from orchestration.defs import plots
from orchestration.defs.progress import long_step_told
from orchestration.defs.resources import HomeResource, StoreResource, TrackingResource
from orchestration.home.settings import Settings
from orchestration.training.challengers import DEMAND_FORECAST
from orchestration.training.lifecycle import Outcome, Training, When, bring_up_to_date
from orchestration.training.product_photos import PRODUCT_PHOTOS
from orchestration.training.stock_anomalies import STOCK_ANOMALIES
from orchestration.warehouse.build import read_build
from orchestration.warehouse.exports import export_path

GATE = "gate"
MLFLOW_PORT = 5000
"""Port of `inventorybot mlflow` where none is given."""


class TrainingConfig(Config):
    """When a model is trained."""

    when: str = Field(
        "missing",
        description="missing: train only without a champion; changed: on new data, code or parameters,"
        " judge again where only the judge is new; always",
    )


def _model(
    training: Training,
    *,
    deps: Sequence[AssetKey],
    data: Callable[[Settings], Sequence[Path]],
    gate: str,
    kinds: set[str],
    description: str,
) -> AssetsDefinition:
    """Return the asset that brings a model up to date.

    Args:
        training: how it is trained and judged.
        deps: assets that come first.
        data: Parquet files it learns from.
        gate: description of the check of its gate.
        kinds: shown beside it.
        description: of the asset.
    """
    key = ["models", training.model]

    @asset(
        key=key,
        group_name="models",
        deps=deps,
        check_specs=[AssetCheckSpec(GATE, asset=key, description=gate)],
        pool="training",
        kinds=kinds,
        description=description,
    )
    def model(
        context: AssetExecutionContext,
        config: TrainingConfig,
        home: HomeResource,
        store: StoreResource,
        tracking: TrackingResource,
    ) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
        settings = home.settings()
        with long_step_told(context.log):
            outcome = bring_up_to_date(
                training,
                settings,
                when=When(config.when),
                data=data(settings),
                tracking=tracking.open(),
                store=store.open(),
                run_id=context.run_id,
                tags=_moment_of(settings),
            )
        yield MaterializeResult(metadata=metadata_of(outcome, pages_of(settings.tracking_uri)))
        yield _gate_of(outcome)

    return model


def _gate_of(outcome: Outcome) -> AssetCheckResult:
    failed = outcome.failed_criteria()
    unmet = [name for name in outcome.unmet_criteria() if name not in failed]
    return AssetCheckResult(
        check_name=GATE,
        passed=outcome.trained is None or outcome.trained.passed,
        severity=AssetCheckSeverity.WARN,
        metadata={"failures": ", ".join(failed) or "none", "not met, without blocking": ", ".join(unmet) or "none"},
    )


def _marts(*names: str) -> list[AssetKey]:
    return [AssetKey(["marts", name]) for name in names]


def _exports(*marts: str) -> Callable[[Settings], list[Path]]:
    return lambda settings: [export_path(settings, f"marts.{name}") for name in marts]


def _moment_of(settings: Settings) -> dict[str, str]:
    """Return business day and arrival instant of the marts: with the raw arrivals they make the same data again."""
    build = read_build(settings)
    return {"as_of": build.as_of, "ingested_until": build.ingested_until}


def pages_of(tracking_uri: str) -> str:
    """Return where the pages of MLflow are: the server itself, or what `inventorybot mlflow` serves by default."""
    return tracking_uri.rstrip("/") if tracking_uri.startswith("http") else f"http://127.0.0.1:{MLFLOW_PORT}"


def metadata_of(outcome: Outcome, pages: str) -> dict[str, Any]:
    """Return what Dagster shows of a model: what decided, the verdict, pictures and the champion's figures.

    Args:
        outcome: of this run.
        pages: address of the pages of MLflow.
    """
    metadata: dict[str, Any] = {"note": outcome.note}
    record = outcome.record
    if record is not None:
        if record.reason_figure is not None:
            metadata["what decided"] = plots.as_metadata(record.reason_figure)
        metadata["in words"] = MetadataValue.md(record.reason)
        metadata["verdict"] = MetadataValue.md(record.verdict_table.to_markdown(index=False))
        # Its address, written out, is so long that Dagster cuts off the words above it.
        metadata["in MLflow"] = MetadataValue.md(f"[run and pictures]({pages}/{outcome.page})")
    if outcome.champion is not None:
        metadata["champion"] = outcome.champion.version
    metadata |= {name.replace("_", " "): plots.as_metadata(figure) for name, figure in outcome.figures.items()}
    if outcome.champion is not None:
        known = {name: value for name, value in outcome.champion.metrics.items() if math.isfinite(value)}
        metadata |= {
            name.replace("_", " "): MetadataValue.float(float(f"{value:.4g}")) for name, value in sorted(known.items())
        }
    return metadata


demand_forecast = _model(
    DEMAND_FORECAST,
    deps=_marts(
        *("fct_daily_demand", "dim_item_locations", "fct_replenishment_terms", "fct_supplier_lead_times"),
        "dim_product_links",
    ),
    data=_exports("fct_daily_demand", "dim_item_locations", "dim_product_links"),
    gate="No worse than the champion and baselines.",
    kinds={"xgboost", "mlflow"},
    description=(
        "Forecasts daily demand of every sku and location as a full probability distribution. A new version replaces"
        " the champion only if it is no worse than the champion's model, the seasonal naive and the recent demand on"
        " rolling windows that none has seen. From the second training on it is compared with a neural network, ETS,"
        " Theta, Croston-SBA and TSB on a sample of series."
    ),
)

stock_anomalies = _model(
    STOCK_ANOMALIES,
    deps=_marts("fct_daily_stock", "fct_daily_demand", "fct_stock_movements"),
    data=_exports("fct_daily_stock", "fct_daily_demand"),
    gate="No worse than a robust z.",
    kinds={"xgboost", "mlflow"},
    description=(
        "Finds false records of stock and unusual demand. Evaluated on errors injected into days it has not seen;"
        " baseline: a robust z-score."
    ),
)

product_photos = _model(
    PRODUCT_PHOTOS,
    deps=_marts("dim_product_photos"),
    data=_exports("dim_product_photos"),
    gate="No worse than HOG + linear.",
    kinds={"tensorflow", "mlflow"},
    description=(
        "Recognises products on shelf photos, or answers that it does not know. Trained from scratch; evaluated on"
        " held-out photos; baseline: a linear model on gradients (HOG)."
    ),
)
