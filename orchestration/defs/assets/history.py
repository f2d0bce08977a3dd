"""What earlier runs published, for the tables in which analysts compare then with now."""

from collections.abc import Iterator

from dagster import AssetExecutionContext, AssetKey, AssetSpec, MaterializeResult, asset, multi_asset

from orchestration.defs.resources import HomeResource, StoreResource
from orchestration.planning.history import QUERIES, write_generations, write_history
from orchestration.warehouse.build import EPOCH, read_build
from orchestration.warehouse.exports import parquet_rows

_FORECASTS, _SNAPSHOTS = (AssetKey(["predictions", name]) for name in QUERIES)
_MARTS = ("fct_stock_position", "dim_item_locations", "fct_daily_demand")


@asset(
    key=["predictions", "generations"],
    group_name="history",
    kinds={"parquet"},
    description="When each earlier generation was published, and for which business day. One row per publication.",
)
def generations(context: AssetExecutionContext, home: HomeResource, store: StoreResource) -> MaterializeResult[None]:
    """Read the online store; the first business day of a cost comes from it."""
    path = write_generations(home.settings(), store.open().epochs(EPOCH))
    return MaterializeResult(metadata={"dagster/row_count": parquet_rows(path)})


@multi_asset(
    name="published_history",
    specs=[
        AssetSpec(
            _FORECASTS,
            deps=[AssetKey(["predictions", "demand_forecasts"])],
            group_name="history",
            kinds={"parquet"},
            description=(
                "The forecasts of every business day, 1, 7, 14 and 28 days ahead, as its last publication had them. One"
                " row per sku, location, day and business day."
            ),
        ),
        AssetSpec(
            _SNAPSHOTS,
            deps=[AssetKey(["predictions", "restock_lines"]), *(AssetKey(["marts", name]) for name in _MARTS)],
            group_name="history",
            kinds={"parquet"},
            description=(
                "Stock, demand, cost and order of every item as each business day knew them. One row per sku, location"
                " and business day."
            ),
        ),
    ],
)
def published_history(context: AssetExecutionContext, home: HomeResource) -> Iterator[MaterializeResult[None]]:
    """Read the archive; what an earlier run read of it is not read again."""
    settings = home.settings()
    build = read_build(settings)
    for table in QUERIES:
        rows = parquet_rows(write_history(settings, build, table))
        yield MaterializeResult(asset_key=AssetKey(["predictions", table]), metadata={"dagster/row_count": rows})
