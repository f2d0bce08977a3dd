"""The dbt models as assets: the first pass makes the marts, the second turns predictions into reporting tables."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from dagster import AssetExecutionContext, AssetSpec, Config
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from pydantic import Field

from orchestration.defs import plots
from orchestration.defs.resources import HomeResource, StoreResource
from orchestration.home.settings import Settings
from orchestration.ingest.business_day import read_clock
from orchestration.warehouse.build import (
    EPOCH,
    Build,
    begin_build,
    export_build,
    needs_full_refresh,
    read_build,
    row_counts,
)
from orchestration.warehouse.dbt import MANIFEST
from orchestration.warehouse.exports import export_path, read_relations

POOL = "warehouse"
FAST_PATH = "refresh_stock"
RELATIONS = read_relations(MANIFEST)

# What dbt would write of every run, at length, is in the parsed project and in Dagster's events.
_BRIEF = ("--no-write-json", "--log-level-file", "info")


class BuildConfig(Config):
    """Options of a build."""

    as_of: str | None = Field(
        None, description="Business day, such as 2011-12-08; default: the last complete day in the data"
    )
    rebuild_from: str | None = Field(
        None, description="First day of a backfill, whose facts and all later ones are rebuilt; default: only changes"
    )


class _Described(DagsterDbtTranslator):
    """Names and describes the models as dbt does, without their SQL below."""

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> AssetSpec:
        """Return the asset of a model; its description ends with the grain."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        described = self.get_resource_props(manifest, unique_id).get("description")
        return spec.replace_attributes(description=described) if described else spec


@dbt_assets(
    manifest=MANIFEST,
    select="staging intermediate marts",
    name="marts",
    pool=POOL,
    dagster_dbt_translator=_Described(),
)
def warehouse_marts(
    context: AssetExecutionContext, config: BuildConfig, home: HomeResource, store: StoreResource, dbt: DbtCliResource
) -> Iterator[Any]:
    """Staging, intermediate and marts."""
    settings = home.settings()
    given = date.fromisoformat(config.as_of) if config.as_of else settings.as_of
    fence = store.open().claim(EPOCH, context.run_id, {"job": context.job_name})
    rebuild_from = date.fromisoformat(config.rebuild_from) if config.rebuild_from else None
    build = begin_build(
        run_id=context.run_id,
        clock=read_clock(settings.raw),
        fence=fence,
        given=given,
        rebuild_from=rebuild_from,
        plan_other_consumption=bool(settings.plan_other_consumption),
    )
    yield from _build(context, settings, dbt, build, full_refresh=needs_full_refresh(settings, build))


@dbt_assets(manifest=MANIFEST, select="reporting", name="reporting", pool=POOL, dagster_dbt_translator=_Described())
def warehouse_reporting(context: AssetExecutionContext, home: HomeResource, dbt: DbtCliResource) -> Iterator[Any]:
    """Reporting, from marts and predictions."""
    settings = home.settings()
    yield from _build(context, settings, dbt, read_build(settings), full_refresh=False)


def _build(
    context: AssetExecutionContext, settings: Settings, dbt: DbtCliResource, build: Build, *, full_refresh: bool
) -> Iterator[Any]:
    # Unit tests prove the SQL on rows of their own, the same at every run: `make test` runs them.
    arguments = ["build", *_BRIEF, "--exclude-resource-type", "unit_test", "--vars", build.dbt_vars]
    arguments += ["--full-refresh"] if full_refresh else []
    # What must look at every key that ever came is left to the daily job.
    arguments += ["--exclude", "tag:nightly"] if context.job_name == FAST_PATH and not full_refresh else []
    target = settings.warehouse_file.parent / "dbt" / context.op.name
    events: list[Any] = []
    try:
        events.extend(dbt.cli(arguments, context=context, target_path=target).stream())
    except DagsterDbtCliRuntimeError:
        # dbt has ended and says which models and tests failed; their events tell it asset by asset.
        yield from events
        raise
    built = {".".join(key.path) for key in context.selected_asset_keys}
    export_build(settings, build, [relation for relation in RELATIONS if relation.name in built])
    counts = row_counts(settings.warehouse_file)
    yield from (_described(event, counts, settings) for event in events)


def _described(event: Any, counts: Mapping[str, int], settings: Settings) -> Any:
    metadata = getattr(event, "metadata", None) or {}
    if "unique_id" not in metadata or not hasattr(event, "with_metadata"):
        return event
    name = str(metadata["unique_id"].value).rsplit(".", 1)[-1]
    metadata = {**metadata, **({"dagster/row_count": counts[name]} if name in counts else {})}
    relation = next((found.name for found in RELATIONS if found.name.endswith(f".{name}")), None)
    if relation and name in plots.OF_RELATION:
        metadata["plot"] = plots.as_metadata(plots.OF_RELATION[name](export_path(settings, relation)))
    return event.with_metadata(metadata)
