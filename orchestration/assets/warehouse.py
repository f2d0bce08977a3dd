"""The dbt models as assets: the first pass makes the marts, the second turns predictions into reporting tables."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from dagster import AssetExecutionContext, Config
from dagster_dbt import DbtCliResource, dbt_assets
from pydantic import Field

from orchestration import plots
from orchestration.home import MANIFEST
from orchestration.ingest.asof import last_complete_day
from orchestration.publication import EPOCH
from orchestration.resources import HomeResource, StoreResource, exporting_to
from orchestration.settings import Settings
from orchestration.warehouse import Build, accept_exports, begin_build, building_folder, needs_full_refresh, read_build

POOL = "warehouse"


class BuildConfig(Config):
    """Options of a build."""

    as_of: str | None = Field(
        None, description="Business day, as in 2011-12-08; default: last complete day in the data"
    )


@dbt_assets(manifest=MANIFEST, select="staging intermediate marts", name="marts", pool=POOL)
def warehouse_marts(
    context: AssetExecutionContext, config: BuildConfig, home: HomeResource, store: StoreResource, dbt: DbtCliResource
) -> Iterator[Any]:
    """Staging, intermediate and marts."""
    settings = home.settings()
    as_of = date.fromisoformat(config.as_of) if config.as_of else settings.as_of or last_complete_day(settings.raw)
    fence = store.open().claim(EPOCH, context.run_id, {"job": context.job_name})
    build = begin_build(run_id=context.run_id, as_of=as_of, fence=fence)
    yield from _build(context, settings, dbt, build, full_refresh=needs_full_refresh(settings, build))


@dbt_assets(manifest=MANIFEST, select="reporting", name="reporting", pool=POOL)
def warehouse_reporting(context: AssetExecutionContext, home: HomeResource, dbt: DbtCliResource) -> Iterator[Any]:
    """Reporting, from marts and predictions."""
    settings = home.settings()
    yield from _build(context, settings, dbt, read_build(settings), full_refresh=False)


def _build(
    context: AssetExecutionContext, settings: Settings, dbt: DbtCliResource, build: Build, *, full_refresh: bool
) -> Iterator[Any]:
    building = building_folder(settings)
    arguments = ["build", *(["--full-refresh"] if full_refresh else []), "--vars", build.dbt_vars]
    with exporting_to(building):
        for event in dbt.cli(arguments, context=context).stream().fetch_row_counts():
            yield _with_plot(event, building)
    context.log.info("exported %s", ", ".join(accept_exports(settings, building, build)))


def _with_plot(event: Any, building: Path) -> Any:
    metadata = getattr(event, "metadata", None) or {}
    name = str(metadata["unique_id"].value).rsplit(".", 1)[-1] if "unique_id" in metadata else ""
    if not hasattr(event, "with_metadata") or name not in plots.OF_RELATION:
        return event
    exported = next(building.glob(f"*/{name}.parquet"))
    return event.with_metadata({**metadata, "plot": plots.as_metadata(plots.OF_RELATION[name](exported))})
