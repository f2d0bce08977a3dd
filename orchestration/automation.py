"""Jobs and schedules. The daily job predicts and decides; the weekly one evaluates, gates and trains."""

from dagster import AssetSelection, DefaultScheduleStatus, ScheduleDefinition, define_asset_job

MODELS = AssetSelection.groups("models")

daily_restock = define_asset_job(
    "daily_restock",
    selection=AssetSelection.all(),
    description="Ingest, marts, predictions with the champions, restock, publish. Trains only where no champion is.",
)

train_models = define_asset_job(
    "train_models",
    selection=MODELS,
    config={
        "ops": {
            name: {"config": {"when": "changed"}}
            for name in ("models__demand_forecast", "models__stock_anomalies", "models__product_photos")
        }
    },
    description="Evaluate every recipe on rolling or held-out data, gate it against the champion, register the winner.",
)

daily = ScheduleDefinition(
    name="daily_restock_schedule",
    job=daily_restock,
    cron_schedule="0 5 * * *",
    default_status=DefaultScheduleStatus.STOPPED,
    description="Every day at 05:00 UTC, before the first orders leave.",
)

weekly = ScheduleDefinition(
    name="train_models_schedule",
    job=train_models,
    cron_schedule="0 1 * * 0",
    default_status=DefaultScheduleStatus.STOPPED,
    description="Every Sunday at 01:00 UTC.",
)
