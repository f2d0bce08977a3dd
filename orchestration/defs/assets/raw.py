"""Raw tables: every arrival typed, identified, split into accepted and quarantined rows, kept for ever."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetsDefinition,
    AssetSpec,
    MaterializeResult,
    MetadataValue,
    asset,
)

from orchestration.defs.resources import HomeResource, StoreResource
from orchestration.ingest.batches import ArrivalReport, ingest_table
from orchestration.ingest.contract import Table, load_contract
from orchestration.ingest.expectations import Validation, validate
from orchestration.ingest.limits import file_rules
from orchestration.ingest.online_store import claims_of, events_behind

EXPECTATIONS, FILES, SOURCES = "expectations", "files", "sources"


def raw_asset(table: Table) -> AssetsDefinition:
    """Return the asset of one raw table of the contract."""

    @asset(
        key=["raw", table.name],
        group_name="raw",
        description=table.description,
        deps=[["raw", table.stands_in]] if table.stands_in else [],
        pool="ingest",
        kinds={"parquet", "greatexpectations"},
        check_specs=[
            AssetCheckSpec(
                EXPECTATIONS,
                asset=["raw", table.name],
                blocking=True,
                description="Every accepted row meets the expectations of the table.",
            ),
            AssetCheckSpec(FILES, asset=["raw", table.name], description="Every file in the folder could be read."),
            AssetCheckSpec(
                SOURCES,
                asset=["raw", table.name],
                description="Every SQL source of the table, and the landing in S3, could be read.",
            ),
        ],
    )
    def ingest(
        context: AssetExecutionContext, home: HomeResource, store: StoreResource
    ) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
        settings, opened = home.settings(), store.open()
        report = ingest_table(
            table,
            landing=home.landing(),
            raw=settings.raw,
            ingested_at=datetime.now(UTC),
            events=events_behind(opened, settings.raw) if table.name == "stock_movements" else None,
            sources=[source for source in home.sources() if source.table == table.name],
            claim=claims_of(opened),
            files=file_rules(settings),
        )
        validation = validate(table, report.accepted) if report.accepted else None
        for notice in report.notices:
            context.log.warning("raw/%s: %s", table.name, notice)
        yield MaterializeResult(metadata=_metadata(report))
        yield _expectations(report, validation)
        yield _files(report)
        yield _sources(report)

    return ingest


def _metadata(report: ArrivalReport) -> dict[str, Any]:
    rows, refused = report.rows, [f"{file.name}: {file.reason}" for file in report.rejected]
    parts = [f"{rows.accepted:,} new, {rows.duplicate:,} duplicate, {rows.quarantined:,} quarantined"]
    parts = parts if rows.rows_in else ["nothing new"]
    parts += [f"{report.ended:,} ended"] if report.ended else []
    parts += [f"{len(refused)} files rejected"] if refused else []
    return {
        "dagster/row_count": report.table_rows,
        "note": ", ".join(parts),
        "quarantined by rule": dict(report.quarantined_by_rule),
        "rejected files": MetadataValue.md("\n".join(f"- {line}" for line in refused) or "none"),
        "waiting files": ", ".join(report.waiting) or "none",
    }


def _files(report: ArrivalReport) -> AssetCheckResult:
    refused = [f"raw/{report.table}/{file.name}: {file.reason}" for file in report.rejected]
    return AssetCheckResult(
        check_name=FILES,
        passed=not refused,
        severity=AssetCheckSeverity.WARN,
        metadata={"failures": "; ".join(refused) or "none"},
    )


def _sources(report: ArrivalReport) -> AssetCheckResult:
    return AssetCheckResult(
        check_name=SOURCES,
        passed=not report.unavailable,
        severity=AssetCheckSeverity.WARN,
        metadata={"failures": "; ".join(report.unavailable) or "none"},
    )


def _expectations(report: ArrivalReport, validation: Validation | None) -> AssetCheckResult:
    broken = [] if validation is None else [result for result in validation.results if not result.success]
    failures = [f"{result.rule}: {result.unexpected_count:,} rows, {result.observed}" for result in broken]
    return AssetCheckResult(
        check_name=EXPECTATIONS,
        passed=report.failed is None and not broken,
        metadata={
            "failures": "; ".join(filter(None, [report.failed, *failures])) or "none",
            "evaluated": 0 if validation is None else validation.evaluated,
            "rows checked": 0 if validation is None else validation.rows_checked,
            "expectations": MetadataValue.md(validation.markdown() if validation else "nothing new to look at"),
        },
    )


RAW_TABLES = [raw_asset(table) for table in load_contract()]

QUARANTINED_ROWS = AssetSpec(
    ["raw", "quarantined_rows"],
    group_name="raw",
    deps=[["raw", table.name] for table in load_contract()],
    description="Rows that ingest refused, of every raw table, with reason, place and original text. One row per row.",
)
