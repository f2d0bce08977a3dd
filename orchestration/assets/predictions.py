"""Predictions of the champions: every day, never a training."""

from typing import TYPE_CHECKING

from dagster import AssetExecutionContext, AssetKey, MaterializeResult, asset

from orchestration import plots
from orchestration.exports import content_hash, export_path, parquet_rows
from orchestration.fingerprints import code_version, text_fingerprint
from orchestration.frames import demand_history, no_anomalies, planned_days, stock_series
from orchestration.resources import HomeResource, StoreResource, TrackingResource
from orchestration.settings import Settings
from orchestration.training import champion_of, repair_champion
from orchestration.warehouse import Build, kept_predictions, read_build, write_predictions

if TYPE_CHECKING:
    from ml.tracking import Version

DAYS_SCORED = 90
FORECAST_INPUTS = ("fct_daily_demand", "fct_planned_days", "dim_item_locations")


@asset(
    key=["predictions", "demand_forecasts"],
    group_name="predictions",
    deps=[
        AssetKey(["models", "demand_forecast"]),
        AssetKey(["marts", "fct_daily_demand"]),
        AssetKey(["marts", "fct_planned_days"]),
        AssetKey(["marts", "dim_item_locations"]),
    ],
    kinds={"xgboost", "parquet"},
    description=(
        "Demand of each coming day as the champion sees it: mean and eleven quantiles."
        " One row per sku, location and day. Beside it, forecast_season says what last year does to every mean by day."
    ),
)
def demand_forecasts(
    context: AssetExecutionContext, home: HomeResource, store: StoreResource, tracking: TrackingResource
) -> MaterializeResult[None]:
    """Forecast every series with the champion."""
    from ml.forecast import load

    settings, registry = home.settings(), tracking.open()
    build, champion = read_build(settings), champion_of("demand_forecast", registry, store.open())
    made_from = _made_from(settings, build, champion, *FORECAST_INPUTS)
    path, note = kept_predictions(settings, "demand_forecasts", made_from), "made from the same, kept"
    if path is None:
        forecaster = load(registry.load_folder(champion))
        forecast = forecaster.predict(demand_history(settings), planned_days(settings, forecaster.horizon))
        season = forecaster.season_frame()
        write_predictions(settings, "forecast_season", season, build, champion.version, made_from)
        path = write_predictions(settings, "demand_forecasts", forecast, build, champion.version, made_from)
        note = f"{forecaster.horizon} days. {forecaster.season_note()}"
    return MaterializeResult(
        metadata={
            "dagster/row_count": parquet_rows(path),
            "note": f"version {champion.version}, {note}",
            "plot": plots.as_metadata(plots.forecast_total(path)),
        }
    )


@asset(
    key=["predictions", "forecast_notes"],
    group_name="predictions",
    deps=[AssetKey(["models", "demand_forecast"]), *(AssetKey(["marts", name]) for name in FORECAST_INPUTS)],
    kinds={"parquet"},
    description=(
        "What a planner should know about single forecasts: planned promotions and where their effect comes from, new"
        " items and what they are compared with. One row per promotion and per new item."
    ),
)
def forecast_notes(
    context: AssetExecutionContext, home: HomeResource, store: StoreResource, tracking: TrackingResource
) -> MaterializeResult[None]:
    """Ask the champion what it makes of planned promotions and new items."""
    from ml.forecast import load
    from ml.forecast_notes import forecast_notes as notes_of

    settings, registry = home.settings(), tracking.open()
    build, champion = read_build(settings), champion_of("demand_forecast", registry, store.open())
    made_from = _made_from(settings, build, champion, *FORECAST_INPUTS)
    path = kept_predictions(settings, "forecast_notes", made_from)
    if path is None:
        forecaster = load(registry.load_folder(champion))
        notes = notes_of(forecaster, demand_history(settings), planned_days(settings, forecaster.horizon))
        path = write_predictions(settings, "forecast_notes", notes, build, champion.version, made_from)
    return MaterializeResult(metadata={"dagster/row_count": parquet_rows(path)})


def _made_from(settings: Settings, build: Build, champion: "Version", *marts: str) -> str:
    """Return a fingerprint of everything that predictions rest on: day, model, code and marts."""
    contents = [content_hash(export_path(settings, f"marts.{name}")) for name in marts]
    return text_fingerprint(build.as_of, champion.version, champion.folder_sha256, code_version(), *contents)


@asset(
    key=["predictions", "stock_anomalies"],
    group_name="predictions",
    deps=[
        AssetKey(["models", "stock_anomalies"]),
        AssetKey(["marts", "fct_daily_stock"]),
        AssetKey(["marts", "fct_daily_demand"]),
        AssetKey(["marts", "fct_stock_movements"]),
    ],
    kinds={"xgboost", "parquet"},
    description=(
        "Days on which the record of stock or the demand looks wrong, with a score between 0 and 1, the kind and the"
        " reason in words; the last 90 days. One row per sku, location and day that stands out."
    ),
)
def stock_anomalies(
    context: AssetExecutionContext, home: HomeResource, store: StoreResource, tracking: TrackingResource
) -> MaterializeResult[None]:
    """Score the last 90 days of every series with the champion; without a champion nothing stands out."""
    from ml.anomaly import Detector, top_anomalies_figure

    settings, registry = home.settings(), tracking.open()
    build, champion = read_build(settings), repair_champion("stock_anomalies", registry, store.open())
    if champion is None:
        write_predictions(settings, "stock_anomalies", no_anomalies(), build, "none")
        return MaterializeResult(metadata={"dagster/row_count": 0, "note": "no champion, no day is scored"})
    made_from = _made_from(settings, build, champion, "fct_daily_stock", "fct_daily_demand", "fct_stock_movements")
    kept = kept_predictions(settings, "stock_anomalies", made_from)
    if kept is not None:
        note = f"version {champion.version}, made from the same, kept"
        return MaterializeResult(metadata={"dagster/row_count": parquet_rows(kept), "note": note})
    detector, series = Detector.load(registry.load_folder(champion)), stock_series(settings)
    scored = detector.score(series, since=build.days_before(DAYS_SCORED))
    standing_out = scored[scored["kind"] != "none"]
    write_predictions(settings, "stock_anomalies", standing_out, build, champion.version, made_from)
    return MaterializeResult(
        metadata={
            "dagster/row_count": len(standing_out),
            "note": f"version {champion.version}, {len(scored):,} days looked at",
            "kinds": standing_out["kind"].value_counts().to_dict(),
            "plot": plots.as_metadata(top_anomalies_figure(series, scored)),
        }
    )
