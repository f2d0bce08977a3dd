"""The dbt models as assets: the first pass makes the marts, the second turns predictions into reporting tables."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    AssetSpec,
    Config,
    MaterializeResult,
)
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from pydantic import Field

from orchestration.defs import plots
from orchestration.defs.resources import HomeResource, StoreResource
from orchestration.home.settings import Settings
from orchestration.ingest.business_day import read_clock
from orchestration.planning.policies import planned_use
from orchestration.warehouse.build import (
    EPOCH,
    Build,
    begin_build,
    export_build,
    needs_full_refresh,
    read_build,
    row_counts,
    write_build,
)
from orchestration.warehouse.built_from import (
    BuiltFrom,
    contents_of,
    forget_built_from,
    inputs_of_marts,
    read_built_from,
    write_built_from,
)
from orchestration.warehouse.dbt import MANIFEST
from orchestration.warehouse.exports import export_path, is_exported, read_relations, source_tables
from orchestration.warehouse.handoff import write_planned_use
from orchestration.warehouse.restock_frames import segmented_items

if TYPE_CHECKING:
    import pandas as pd

POOL = "warehouse"
FAST_PATH = "refresh_stock"
RELATIONS = read_relations(MANIFEST)
_LAYERS = ("staging", "intermediate", "marts")
# Generations count through the days of batches that they decide.
_OF_MARTS = [table for table in source_tables(MANIFEST, "predictions", _LAYERS) if table != "generations"]
_OF_REPORTING = source_tables(MANIFEST, "predictions", ["reporting"])
PLANNED_USE = AssetSpec(
    ["predictions", "planned_use"],
    group_name="history",
    description="Whether use without a sale is demand, as people said, before marts are built. One row per item.",
)

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
    select=" ".join(_LAYERS),
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
    write_planned_use(settings, planned_use(_known_items(settings), store.open().policy_overrides(build.as_of_date)))
    full_refresh, before = needs_full_refresh(settings, build), read_built_from(settings)
    inputs, is_whole = inputs_of_marts(settings, build, _OF_MARTS), context.job_name != FAST_PATH or full_refresh
    # Whoever builds single tables leaves the others as they were: then nothing is known to be made from the same.
    is_all = context.selected_asset_keys == warehouse_marts.keys
    is_same = before.marts == inputs and (before.is_whole or not is_whole) and _are_exported(context, settings)
    if is_all and is_same and not full_refresh and rebuild_from is None:
        write_build(settings, build)
        yield from _kept(context, before, "marts")
        return
    # Unit tests prove the SQL on rows of their own, the same at every run: `make test` runs them.
    arguments = ["--full-refresh"] if full_refresh else []
    # What must look at every key that ever came is left to the daily job.
    arguments += [] if is_whole else ["--exclude", "tag:nightly"]
    checks, rows = yield from _build(context, settings, dbt, build, arguments)
    if is_all:
        write_built_from(settings, BuiltFrom(inputs, is_whole, rows, checks={"marts": checks}))


@dbt_assets(manifest=MANIFEST, select="reporting", name="reporting", pool=POOL, dagster_dbt_translator=_Described())
def warehouse_reporting(context: AssetExecutionContext, home: HomeResource, dbt: DbtCliResource) -> Iterator[Any]:
    """Reporting, from marts and predictions."""
    settings = home.settings()
    build, before = read_build(settings), read_built_from(settings)
    inputs = contents_of(settings, _OF_REPORTING)
    is_all = context.selected_asset_keys == warehouse_reporting.keys
    if is_all and before.predictions == inputs and _are_exported(context, settings):
        yield from _kept(context, before, "reporting")
        return
    checks, rows = yield from _build(context, settings, dbt, build)
    if is_all and before.marts:
        said_so_far = {**before.checks, "reporting": checks}
        write_built_from(settings, replace(before, rows=rows, predictions=inputs, checks=said_so_far))


def _known_items(settings: Settings) -> "pd.DataFrame | None":
    """Return the items of the build before, of which segments speak; None = there was none."""
    try:
        return segmented_items(settings)
    except FileNotFoundError:
        return None


def _build(
    context: AssetExecutionContext,
    settings: Settings,
    dbt: DbtCliResource,
    build: Build,
    arguments: Iterable[str] = (),
) -> Generator[Any, None, tuple[list[dict[str, Any]], Mapping[str, int]]]:
    command = ["build", *_BRIEF, "--exclude-resource-type", "unit_test", "--vars", build.dbt_vars, *arguments]
    target = settings.warehouse_file.parent / "dbt" / context.op.name
    forget_built_from(settings)
    events: list[Any] = []
    try:
        events.extend(dbt.cli(command, context=context, target_path=target).stream())
    except DagsterDbtCliRuntimeError:
        # dbt has ended and says which models and tests failed; their events tell it asset by asset.
        yield from events
        raise
    built = {".".join(key.path) for key in context.selected_asset_keys}
    export_build(settings, build, [relation for relation in RELATIONS if relation.name in built])
    counts = row_counts(settings.warehouse_file)
    yield from (_described(event, counts, settings) for event in events)
    return said(events), counts


def _kept(context: AssetExecutionContext, before: BuiltFrom, layer: str) -> Iterator[Any]:
    """Say of tables that are made from the same as before that they stand, and what their tests said of them."""
    keys = context.selected_asset_keys
    # What others are made from comes first.
    for key in TopologicalSorter({key: context.assets_def.asset_deps[key] & keys for key in keys}).static_order():
        rows = {"dagster/row_count": before.rows[key.path[-1]]} if key.path[-1] in before.rows else {}
        yield MaterializeResult(asset_key=key, metadata={"note": "made from the same, kept", **rows})
    yield from said_again(before.checks[layer])


def said_again(checks: Iterable[Mapping[str, Any]]) -> Iterator[AssetCheckResult]:
    """Return what tests said, from what `said` made of it."""
    for check in checks:
        yield AssetCheckResult(
            asset_key=AssetKey(check["asset_key"]),
            check_name=check["check_name"],
            passed=check["passed"],
            severity=AssetCheckSeverity(check["severity"]),
            metadata=check["metadata"],
        )


def said(events: Iterable[Any]) -> list[dict[str, Any]]:
    """Return what dbt's tests said, as JSON."""
    results = [(event, event.asset_key) for event in events if isinstance(event, AssetCheckResult)]
    return [
        {
            "asset_key": list(key.path),
            "check_name": event.check_name,
            "passed": bool(event.passed),
            "severity": event.severity.value,
            "metadata": {name: value.value for name, value in event.metadata.items()},
        }
        for event, key in results
        if key is not None
    ]


def _are_exported(context: AssetExecutionContext, settings: Settings) -> bool:
    selected = {".".join(key.path) for key in context.selected_asset_keys}
    return all(is_exported(settings, relation.name) for relation in RELATIONS if relation.name in selected)


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
