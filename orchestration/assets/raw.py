"""Raw tables: every arrival typed, identified, split into accepted and quarantined, kept for ever."""

from collections.abc import Iterator
from datetime import UTC, datetime

from dagster import AssetCheckResult, AssetCheckSpec, AssetsDefinition, MaterializeResult, MetadataValue, asset

from orchestration.ingest.arrivals import ingest_table
from orchestration.ingest.contracts import Table, load_contract
from orchestration.resources import HomeResource, StoreResource

CHECK = "expectations"


def raw_asset(table: Table) -> AssetsDefinition:
    """Return the asset of one raw table of the contract."""

    @asset(
        key=["raw", table.name],
        group_name="raw",
        description=table.description,
        pool="ingest",
        kinds={"parquet"},
        check_specs=[
            AssetCheckSpec(CHECK, asset=["raw", table.name], blocking=True, description="The suite of the table.")
        ],
    )
    def ingest(home: HomeResource, store: StoreResource) -> Iterator[MaterializeResult]: ...

    return ingest


RAW_TABLES = [raw_asset(table) for table in load_contract()]
