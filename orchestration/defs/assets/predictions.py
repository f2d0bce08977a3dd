"""Predictions of the champions: every day, never a training."""

from collections.abc import Iterator

from dagster import AssetExecutionContext, AssetKey, AssetSpec, MaterializeResult, asset, multi_asset

from orchestration.defs import plots
from orchestration.defs.resources import HomeResource, StoreResource, TrackingResource
from orchestration.training.lifecycle import champion_of, repair_champion
from orchestration.training.stock_anomalies import FEWEST_DAYS, STAND_IN
from orchestration.warehouse.build import read_build
from orchestration.warehouse.demand_frames import demand_history, planned_days
from orchestration.warehouse.exports import parquet_rows
from orchestration.warehouse.handoff import kept_predictions, made_from, write_predictions
from orchestration.warehouse.stock_frames import no_anomalies, stock_series

DAYS_SCORED = 90
STAND_IN_VERSION = "robust_z"
FORECAST_INPUTS = (
    *("marts.fct_daily_demand", "marts.fct_planned_days", "marts.dim_item_locations"),
    "marts.dim_product_links",
)
ANOMALY_INPUTS = ("marts.fct_daily_stock", "marts.fct_daily_demand", "marts.fct_stock_movements")
_KEYS = _FORECASTS, _SEASON, _NOTES = [
    AssetKey(["predictions", name]) for name in ("demand_forecasts", "forecast_season", "forecast_notes")
]


@multi_asset(
    name="demand_forecasts",
    specs=[
        AssetSpec(
            key,
            deps=[AssetKey(["models", "demand_forecast"]), *(AssetKey(name.split(".")) for name in FORECAST_INPUTS)],
            group_name="predictions",
            kinds={"xgboost", "parquet"},
            description=description,
        )
        for key, description in (
            (
                _FORECASTS,
                "The champion's forecast of demand for each coming day: mean and eleven quantiles. One row per sku,"
                " location and day.",
            ),
            (
                _SEASON,
                "What last year does to the mean of every coming day, and how far it is trusted. One row per day.",
            ),
            (
                _NOTES,
                "What a planner should know about single forecasts: planned promotions and where their effect comes"
                " from, new items and what they are compared with, items that wake. One row per promotion and item.",
            ),
        )
    ],
)
def demand_forecasts(
    context: AssetExecutionContext, home: HomeResource, store: StoreResource, tracking: TrackingResource
) -> Iterator[MaterializeResult[None]]:
    """Forecast every series with the champion, and ask it what there is to say about the forecasts."""
    from ml.forecast import forecast_notes, load

    settings, registry = home.settings(), tracking.open()
    build, champion = read_build(settings), champion_of("demand_forecast", registry, store.open())
    same = made_from(settings, build, champion, FORECAST_INPUTS)
    paths = [path for key in _KEYS if (path := kept_predictions(settings, key.path[-1], same))]
    note = f"version {champion.version}, made from the same, kept"
    if len(paths) < len(_KEYS):
        forecaster = load(registry.load_folder(champion))
        history, future = demand_history(settings), planned_days(settings, forecaster.horizon)
        frames = (
            forecaster.predict(history, future),
            forecaster.season_frame(history["period_start"].max()),
            forecast_notes(forecaster, history, future),
        )
        paths = [
            write_predictions(settings, key.path[-1], frame, build, champion.version, same)
            for key, frame in zip(_KEYS, frames, strict=True)
        ]
        note = f"version {champion.version}, {forecaster.horizon} days. {forecaster.season_note()}"
    for key, path in zip(_KEYS, paths, strict=True):
        plot = {"plot": plots.as_metadata(plots.forecast_total(path))} if key == _FORECASTS else {}
        yield MaterializeResult(asset_key=key, metadata={"dagster/row_count": parquet_rows(path), "note": note, **plot})


@asset(
    key=["predictions", "stock_anomalies"],
    group_name="predictions",
    deps=[
        AssetKey(["models", "stock_anomalies"]),
        *(AssetKey(name.split(".")) for name in ANOMALY_INPUTS),
    ],
    kinds={"xgboost", "parquet"},
    description=(
        "Days on which the record of stock or the demand looks wrong, with a score between 0 and 1, the kind and the"
        " reason in words; the last 90 days. While no detector has passed its gate, those of a robust z-score, which"
        " their model_version names. One row per sku, location and day that stands out."
    ),
)
def stock_anomalies(
    context: AssetExecutionContext, home: HomeResource, store: StoreResource, tracking: TrackingResource
) -> MaterializeResult[None]:
    """Score the last 90 days of every series with the champion; without one the robust z stands in for it."""
    from ml.anomaly import Detector, robust_z_report, top_anomalies_figure

    settings, registry = home.settings(), tracking.open()
    build, champion = read_build(settings), repair_champion("stock_anomalies", registry, store.open())
    if champion is None:
        series = stock_series(settings)
        days, since = series["day"].nunique(), build.days_before(DAYS_SCORED)
        scored = robust_z_report(series, since) if days >= FEWEST_DAYS else no_anomalies()
        standing_out = scored[scored["kind"] != "none"]
        write_predictions(settings, "stock_anomalies", standing_out, build, STAND_IN_VERSION)
        note = f"no champion: {STAND_IN}, {len(scored):,} days looked at"
        if days < FEWEST_DAYS:
            note = f"no champion, and {days} days of stock are too few to know what is usual; no day is scored"
        return MaterializeResult(metadata={"dagster/row_count": len(standing_out), "note": note})
    same = made_from(settings, build, champion, ANOMALY_INPUTS)
    kept = kept_predictions(settings, "stock_anomalies", same)
    if kept is not None:
        note = f"version {champion.version}, made from the same, kept"
        return MaterializeResult(metadata={"dagster/row_count": parquet_rows(kept), "note": note})
    detector, series = Detector.load(registry.load_folder(champion)), stock_series(settings)
    scored = detector.score(series, since=build.days_before(DAYS_SCORED))
    standing_out = scored[scored["kind"] != "none"]
    write_predictions(settings, "stock_anomalies", standing_out, build, champion.version, same)
    return MaterializeResult(
        metadata={
            "dagster/row_count": len(standing_out),
            "note": f"version {champion.version}, {len(scored):,} days looked at",
            "kinds": standing_out["kind"].value_counts().to_dict(),
            "plot": plots.as_metadata(top_anomalies_figure(series, scored)),
        }
    )
