"""Restock decisions: joint demand of the champion against the inventory position, under the terms and the policy."""

from collections.abc import Iterator

from dagster import AssetExecutionContext, AssetKey, AssetSpec, MaterializeResult, asset, multi_asset

from orchestration.defs import plots
from orchestration.defs.resources import HomeResource, StoreResource, TrackingResource
from orchestration.planning import proposals as outbox
from orchestration.planning import transfers
from orchestration.planning.archive import (
    ARCHIVED_INPUTS,
    COMPARISONS,
    DECISION_INPUTS,
    DECISION_PREDICTIONS,
    DECISION_SETTINGS,
    archives_in_force,
)
from orchestration.planning.decision import decide
from orchestration.publishing.generations import published_archive
from orchestration.training.lifecycle import champion_of
from orchestration.training.policy_backtest import PROMISE_COLUMNS, RULE_COST_COLUMNS, typed
from orchestration.warehouse.build import read_build
from orchestration.warehouse.exports import parquet_rows, read_rows, read_sql
from orchestration.warehouse.handoff import kept_predictions, made_from, write_predictions
from orchestration.warehouse.restock_frames import (
    previous_lines,
    previous_terms,
    published_levels,
    segmented_items,
    supplier_terms,
)

_POLICIES, _POLICY_EXCEPTIONS = (AssetKey(["predictions", name]) for name in ("restock_policies", "policy_exceptions"))
_RULE_COSTS, _KEPT_PROMISES = (AssetKey(["predictions", name]) for name in ("restock_rule_costs", "service_promises"))
_LINES, _TERMS, _TRANSFERS = (
    AssetKey(["predictions", name]) for name in ("restock_lines", "restock_terms", "stock_transfers")
)
_OPEN_PROPOSALS, _OPEN_TRANSFERS, _REJECTED_NEEDS, _REJECTED_TRANSFERS, _ORDER_PROPOSALS, _TRANSFER_PROPOSALS = (
    AssetKey(["predictions", name])
    for name in (
        *("open_proposals", "open_transfers", "rejected_needs", "rejected_transfers"),
        *("order_proposals", "transfer_proposals"),
    )
)
_PREVIOUS_LINES, _PREVIOUS_TERMS = (AssetKey(["predictions", name]) for name in COMPARISONS)


@multi_asset(
    name="restock_policies",
    specs=[
        AssetSpec(
            key,
            deps=[AssetKey(["marts", "dim_item_locations"]), AssetKey(["marts", "fct_replenishment_terms"])],
            group_name="restock",
            kinds={"parquet"},
            description=description,
        )
        for key, description in (
            (
                _POLICIES,
                "The policy of each item on the business day, and its source: the home, a default, a segment or the"
                " item itself. One row per sku and location with a supplier.",
            ),
            (_POLICY_EXCEPTIONS, "Policy overrides that cannot be followed, and what to do. One row per override."),
        )
    ],
)
def restock_policies(
    context: AssetExecutionContext, home: HomeResource, store: StoreResource
) -> Iterator[MaterializeResult[None]]:
    """Put the overrides that hold on the business day over the home's own policy."""
    from orchestration.planning.policies import effective_policies, standard_policy

    settings = home.settings()
    build = read_build(settings)
    held = store.open().policy_overrides(build.as_of_date)
    standard = standard_policy(settings, supplier_terms(settings))
    policies, exceptions = effective_policies(standard, segmented_items(settings), held)
    sources = policies["policy_source"].value_counts().items()
    for key, frame, note in (
        (_POLICIES, policies, ", ".join(f"{count:,} {source}" for source, count in sources)),
        (_POLICY_EXCEPTIONS, exceptions, f"{len(held):,} overrides hold"),
    ):
        write_predictions(settings, key.path[-1], frame, build, None)
        yield MaterializeResult(asset_key=key, metadata={"dagster/row_count": len(frame), "note": note})


@multi_asset(
    name="open_proposals",
    specs=[
        AssetSpec(key, deps=deps, group_name="restock", kinds={"parquet"}, description=description)
        for key, deps, description in (
            (
                _OPEN_PROPOSALS,
                [AssetKey(["marts", "fct_purchase_order_lines"])],
                "Approved, exported and acknowledged orders whose purchase order line has not arrived yet. They count"
                " as on order. One row per proposal.",
            ),
            (
                _OPEN_TRANSFERS,
                [AssetKey(["marts", "fct_transfer_movements"])],
                "Approved transfers and those on their way: on order where they go, reserved where they have not left"
                " yet. One row per proposal and day of shipment.",
            ),
        )
    ],
)
def open_proposals(
    context: AssetExecutionContext, home: HomeResource, store: StoreResource
) -> Iterator[MaterializeResult[None]]:
    """Read the outbox and leave out what order lines and receipts stand for already."""
    settings = home.settings()
    build = read_build(settings)
    outbox_of_home = store.open()
    again = outbox.turn_back(settings, build, outbox_of_home)
    note = {"note": f"the business day went back, {len(again):,} stand again: {', '.join(again[:5])}"} if again else {}
    found = outbox.open_proposals(settings, build, outbox_of_home)
    write_predictions(settings, "open_proposals", found, build, None)
    yield MaterializeResult(asset_key=_OPEN_PROPOSALS, metadata={"dagster/row_count": len(found), **note})
    moving = transfers.open_transfers(settings, build, outbox_of_home)
    write_predictions(settings, "open_transfers", moving, build, None)
    yield MaterializeResult(asset_key=_OPEN_TRANSFERS, metadata={"dagster/row_count": len(moving)})


@multi_asset(
    name="rejected_needs",
    specs=[
        AssetSpec(
            key,
            deps=[AssetKey(["marts", "fct_stock_position"])],
            group_name="restock",
            kinds={"parquet"},
            description=f"{what} that people rejected, until that ends or more is needed. One row per {grain}.",
        )
        for key, what, grain in (
            (_REJECTED_NEEDS, "Orders", "sku and location"),
            (_REJECTED_TRANSFERS, "Transfers", "sku and pair of locations"),
        )
    ],
)
def rejected_needs(
    context: AssetExecutionContext, home: HomeResource, store: StoreResource
) -> Iterator[MaterializeResult[None]]:
    """Read the rejections of the outbox that hold on the business day."""
    settings = home.settings()
    build, outbox_of_home = read_build(settings), store.open()
    for key, found in (
        (_REJECTED_NEEDS, outbox.rejected_needs(build, outbox_of_home)),
        (_REJECTED_TRANSFERS, transfers.rejected_transfers(build, outbox_of_home)),
    ):
        write_predictions(settings, key.path[-1], found, build, None)
        yield MaterializeResult(asset_key=key, metadata={"dagster/row_count": len(found)})


@asset(
    key=["predictions", "held_levels"],
    group_name="restock",
    deps=[_POLICIES, AssetKey(["marts", "fct_replenishment_terms"])],
    kinds={"parquet"},
    description=(
        "The levels of the last business day that hold until the best ones lie further away than chance explains: those"
        " whose terms and policy are still the same. One row per sku and location."
    ),
)
def held_levels(context: AssetExecutionContext, home: HomeResource) -> MaterializeResult[None]:
    """Read the archive that was in force at the end of the business day before this one."""
    settings = home.settings()
    build = read_build(settings)
    _, before = max(archives_in_force(settings, build).items(), default=("", None))
    found = published_levels(settings, before.name if before else None)
    write_predictions(settings, "held_levels", found, build, None)
    note = before.name if before else "nothing was published before"
    return MaterializeResult(metadata={"dagster/row_count": len(found), "note": note})


@multi_asset(
    name="restock_decision",
    specs=[
        AssetSpec(
            key,
            deps=[
                AssetKey(["predictions", "demand_forecasts"]),
                _POLICIES,
                *(_OPEN_PROPOSALS, _OPEN_TRANSFERS, _REJECTED_NEEDS, _REJECTED_TRANSFERS),
                AssetKey(["predictions", "held_levels"]),
                AssetKey(["marts", "fct_daily_demand"]),
                AssetKey(["marts", "fct_planned_days"]),
                AssetKey(["marts", "dim_item_locations"]),
                *(AssetKey(relation.split(".")) for relation in DECISION_INPUTS),
            ],
            group_name="restock",
            kinds={"parquet"},
            description=description,
        )
        for key, description in (
            (
                _LINES,
                "What to order of each item now: target level, position, shortfall, packs; the terms add up to the"
                " order. Times are in days from today. One row per sku and location with a supplier.",
            ),
            (
                _TERMS,
                "What each step added to an order or took off it; the steps of an item add up to its order. One row per"
                " sku, location and step.",
            ),
            (
                _TRANSFERS,
                "What the run would move between locations before buying. One row per sku and pair of locations.",
            ),
        )
    ],
)
def restock_decision(
    context: AssetExecutionContext, home: HomeResource, store: StoreResource, tracking: TrackingResource
) -> Iterator[MaterializeResult[None]]:
    """Decide every line with the champion's demand paths, after what other locations can spare."""
    from ml.forecast import load

    settings, registry = home.settings(), tracking.open()
    build, champion = read_build(settings), champion_of("demand_forecast", registry, store.open())
    same = made_from(settings, build, champion, (*ARCHIVED_INPUTS, *DECISION_PREDICTIONS), DECISION_SETTINGS)
    tables = ("restock_lines", "restock_terms", "stock_transfers")
    paths = [path for name in tables if (path := kept_predictions(settings, name, same))]
    kept = len(paths) == len(tables)
    if not kept:
        plan = decide(settings, load(registry.load_folder(champion)))
        paths = [
            write_predictions(settings, name, frame, build, champion.version if frame is plan.lines else None, same)
            for name, frame in zip(tables, (plan.lines, plan.terms, plan.transfers), strict=True)
        ]
    lines, terms, moves = paths
    counts = [
        f"{row['lines']:,} {row['status']}"
        for row in read_rows(
            f"select status, count(*) as lines from {read_sql(lines)} group by status order by lines desc, status"
        )
    ]
    yield MaterializeResult(
        asset_key=_LINES,
        metadata={
            "dagster/row_count": parquet_rows(lines),
            "note": ", ".join(counts) + (", made from the same, kept" if kept else ""),
            "plot": plots.as_metadata(plots.restock_lines(lines, terms)),
        },
    )
    yield MaterializeResult(asset_key=_TERMS, metadata={"dagster/row_count": parquet_rows(terms)})
    yield MaterializeResult(asset_key=_TRANSFERS, metadata={"dagster/row_count": parquet_rows(moves)})


@multi_asset(
    name="previous_decision",
    specs=[
        AssetSpec(
            key,
            deps=[AssetKey(["marts", "fct_stock_position"])],
            group_name="restock",
            kinds={"parquet"},
            description=f"{description} Read from the archive, to explain what has changed since.",
        )
        for key, description in (
            (_PREVIOUS_LINES, "The orders of the previous publication. One row per sku and location."),
            (
                _PREVIOUS_TERMS,
                "The steps of the orders of the previous publication. One row per sku, location and term.",
            ),
        )
    ],
)
def previous_decision(context: AssetExecutionContext, home: HomeResource) -> Iterator[MaterializeResult[None]]:
    """Read the archive of the generation that is current while this run works."""
    settings = home.settings()
    build, archive = read_build(settings), published_archive(settings)
    for key, read in ((_PREVIOUS_LINES, previous_lines), (_PREVIOUS_TERMS, previous_terms)):
        before = read(settings, archive)
        write_predictions(settings, key.path[-1], before, build, None)
        note = archive or "nothing is published yet"
        yield MaterializeResult(asset_key=key, metadata={"dagster/row_count": len(before), "note": note})


@multi_asset(
    name="order_proposals",
    specs=[
        AssetSpec(key, deps=deps, group_name="restock", kinds={"parquet"}, description=description)
        for key, deps, description in (
            (
                _ORDER_PROPOSALS,
                [
                    *(_LINES, _TERMS, _OPEN_PROPOSALS, _REJECTED_NEEDS),
                    AssetKey(["marts", "fct_replenishment_terms"]),
                    AssetKey(["marts", "dim_products"]),
                ],
                "The orders of the run with their proposal ids, committed orders, needs held back by a rejection, and"
                " ended orders. One row per proposal.",
            ),
            (
                _TRANSFER_PROPOSALS,
                [
                    *(_TRANSFERS, _OPEN_TRANSFERS, _REJECTED_TRANSFERS),
                    AssetKey(["marts", "dim_transfer_lanes"]),
                    AssetKey(["marts", "fct_transfer_movements"]),
                ],
                "The transfers of the run with their proposal ids, approved ones and those on their way, those held"
                " back by a rejection, and ended ones. One row per proposal.",
            ),
        )
    ],
)
def order_proposals(
    context: AssetExecutionContext, home: HomeResource, store: StoreResource
) -> Iterator[MaterializeResult[None]]:
    """Ask the outbox how it stands now; nothing is proposed before the run is published."""
    settings = home.settings()
    build, outbox_of_home = read_build(settings), store.open()
    seen = outbox.seen_outbox(settings)
    for key, listed in (
        (_ORDER_PROPOSALS, outbox.listed_proposals(settings, build, outbox_of_home)),
        (_TRANSFER_PROPOSALS, transfers.listed_transfers(settings, build, outbox_of_home, seen)),
    ):
        write_predictions(settings, key.path[-1], listed, build, None)
        yield MaterializeResult(asset_key=key, metadata={"dagster/row_count": len(listed)})


@multi_asset(
    name="policy_proofs",
    specs=[
        AssetSpec(
            key,
            deps=[AssetKey(["models", "demand_forecast"])],
            group_name="restock",
            kinds={"mlflow", "parquet"},
            description=f"{description} Measured by a replay of the champion's orders at its training.",
        )
        for key, description in (
            (_RULE_COSTS, "Cost of each rule. One row per rule and demand class."),
            (_KEPT_PROMISES, "Service promised and delivered. One row per demand class."),
        )
    ],
)
def policy_proofs(
    context: AssetExecutionContext, home: HomeResource, store: StoreResource, tracking: TrackingResource
) -> Iterator[MaterializeResult[None]]:
    """Hand what the champion's training found by replay to the reporting tables."""
    settings, registry = home.settings(), tracking.open()
    build, champion = read_build(settings), champion_of("demand_forecast", registry, store.open())
    for key, table, columns in (
        (_RULE_COSTS, "rule_costs", RULE_COST_COLUMNS),
        (_KEPT_PROMISES, "service_calibration", PROMISE_COLUMNS),
    ):
        found = typed(registry.table(champion, table), columns)
        write_predictions(settings, key.path[-1], found, build, champion.version)
        yield MaterializeResult(asset_key=key, metadata={"dagster/row_count": len(found)})
