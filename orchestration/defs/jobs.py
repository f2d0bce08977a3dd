"""Jobs, schedules and sensors.

The daily job predicts and decides; what arrives in between takes the fast path; the weekly job evaluates and trains.
"""

from datetime import UTC, datetime, timedelta

from dagster import (
    AssetKey,
    AssetSelection,
    DagsterRunStatus,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    RunFailureSensorContext,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    define_asset_job,
    run_failure_sensor,
    sensor,
)

from orchestration.defs.assets.warehouse import FAST_PATH
from orchestration.defs.resources import HomeResource, NotifierResource, StoreResource
from orchestration.home.lock import is_claimed
from orchestration.ingest.pending import Waiting, look_around
from orchestration.notifications import RunFailure, StreamLag, notify_all
from orchestration.publishing.generations import current_manifest

LONGEST_LAG = timedelta(minutes=15)
"""How long an event may wait for publication before people get a report."""

LAUNCHED_BY_COMMAND = {"inventorybot/launched_by": "command"}
"""Tag of runs that `inventorybot run` and `train` execute in their own process."""

MODELS = AssetSelection.groups("models")
PHOTOS = AssetKey(["raw", "product_photos"])

daily_restock = define_asset_job(
    "daily_restock",
    selection=AssetSelection.all(),
    description=(
        "The daily run: load data, build marts, predict with the champions, decide on orders, publish, remove old runs."
        " Trains only where no champion exists."
    ),
)

refresh_stock = define_asset_job(
    FAST_PATH,
    selection=AssetSelection.all()
    - MODELS
    - AssetSelection.groups("monitoring", "maintenance")
    - AssetSelection.assets(PHOTOS),
    description=(
        "The fast run: stock position, anomalies, recommendations, publication. Trains nothing and writes only months"
        " of facts that changed. Tests over all keys of the history stay with daily_restock."
    ),
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
    description="Evaluate each model on rolling or held-out data, compare it with the champion, register the winner.",
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

_UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


@sensor(
    name="arrivals",
    jobs=[refresh_stock, daily_restock],
    minimum_interval_seconds=60,
    default_status=DefaultSensorStatus.STOPPED,
    description=(
        "Runs refresh_stock when a file has landed or an event has entered the online store, and daily_restock, which"
        " trains, while nothing is published yet."
    ),
)
def arrivals(context: SensorEvaluationContext, home: HomeResource, store: StoreResource) -> SensorResult | SkipReason:
    """Request a run for what no batch holds yet; the cursor is a hash of what was seen."""
    settings = home.settings()
    with store.open() as opened:
        head, _ = opened.head()
    waiting = look_around(home.landing(), settings.raw, head)
    if waiting.seen == context.cursor:
        return SkipReason("nothing has come since the last look")
    for run in context.instance.get_runs(RunsFilter(statuses=_UNFINISHED)):
        if run.job_name not in (refresh_stock.name, daily_restock.name):
            continue
        # A command that was killed leaves its run unfinished until the next command tidies up.
        is_dead = LAUNCHED_BY_COMMAND.items() <= run.tags.items() and not is_claimed(settings)
        if not is_dead:
            # It may have ingested already: the cursor stays, and the next look after its end decides.
            return SkipReason(f"run {run.run_id} is under way; what it leaves is taken up after it")
    if not waiting:
        return SensorResult(skip_reason="everything is in a batch already", cursor=waiting.seen)
    is_published = current_manifest(settings.published) is not None
    request = RunRequest(
        run_key=waiting.seen,
        job_name=(refresh_stock if is_published else daily_restock).name,
        tags={"inventorybot/waiting": _waiting_text(waiting)},
    )
    return SensorResult([request], cursor=waiting.seen)


def _waiting_text(waiting: Waiting) -> str:
    files = ", ".join(waiting.files[:5]) + (", ..." if len(waiting.files) > 5 else "")
    return "; ".join(filter(None, [files, f"{waiting.events:,} events" if waiting.events else ""]))


@sensor(
    name="stream_lag",
    minimum_interval_seconds=60,
    default_status=DefaultSensorStatus.RUNNING,
    description=(
        "Reports, as run_failures does, when movements of the online store have waited more than 15 minutes for"
        " publication; once for each delay."
    ),
)
def stream_lag(
    context: SensorEvaluationContext, home: HomeResource, store: StoreResource, notifier: NotifierResource
) -> SkipReason:
    """Compare the movements of the ledger with the current generation; the cursor is the delay reported last."""
    settings, now = home.settings(), datetime.now(UTC)
    manifest = current_manifest(settings.published)
    published = manifest["ledger"]["sequence"] if manifest else 0
    with store.open() as opened:
        count, since = opened.waiting_movements(published)
    if since is None:
        return SkipReason("every movement is published")
    lag = StreamLag(str(settings.home), count, since, now)
    if now - since > LONGEST_LAG and context.cursor != since.isoformat():
        notify_all(notifier.notifiers(), lag)
        context.update_cursor(since.isoformat())
    return SkipReason(lag.title.removeprefix("InventoryBot: "))


@run_failure_sensor(
    name="run_failures",
    monitored_jobs=[daily_restock, refresh_stock, train_models],
    default_status=DefaultSensorStatus.RUNNING,
    description="Reports a failed run to INVENTORYBOT_NOTIFY_WEBHOOK and by INVENTORYBOT_NOTIFY_SMTP.",
)
def run_failures(context: RunFailureSensorContext, home: HomeResource, notifier: NotifierResource) -> None:
    """Report one failed run: which, why, and that the previous generation stays current."""
    steps = []
    for event in context.get_step_failure_events():
        error = event.step_failure_data.error
        cause = error and (error.cause or error)
        steps.append(f"{event.step_key}: {cause.message.strip() if cause else event.message}")
    failure = RunFailure(
        job=context.dagster_run.job_name,
        run_id=context.dagster_run.run_id,
        home=str(home.settings().home),
        failed_at=datetime.now(UTC),
        reasons=tuple(steps) or (context.failure_event.message or "",),
    )
    notify_all(notifier.notifiers(), failure)
