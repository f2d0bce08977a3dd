"""The published generation: what analysts, ERPs and the endpoint read."""

from datetime import date, datetime

from dagster import AssetExecutionContext, AssetKey, MaterializeResult, MetadataValue, asset

from orchestration.defs.resources import HomeResource, StoreResource, TrackingResource
from orchestration.home.fingerprints import code_version
from orchestration.planning.archive import archive_decisions
from orchestration.planning.proposals import outbox_of
from orchestration.publishing.generations import FinishedRun, publish
from orchestration.publishing.live_stock import rebase_live_stock
from orchestration.training.lifecycle import pinned_models
from orchestration.warehouse.build import read_build
from orchestration.warehouse.dbt import MANIFEST
from orchestration.warehouse.exports import read_relations

RELATIONS = read_relations(MANIFEST)


@asset(
    key=["publish", "generation"],
    group_name="publish",
    # Orders do not wait for the photo model: where its training failed, the champion before it is pinned, or none.
    deps=[AssetKey(relation.name.split(".")) for relation in RELATIONS],
    pool="publish",
    kinds={"duckdb"},
    description=(
        "Publishes the checked tables of one run as an immutable database with a manifest, in one atomic step."
        " Unchanged content publishes nothing."
    ),
)
def generation(
    context: AssetExecutionContext, home: HomeResource, store: StoreResource, tracking: TrackingResource
) -> MaterializeResult[None]:
    """Publish marts and reporting, unless their content is current already."""
    settings, ledger = home.settings(), store.open()
    build = read_build(settings)
    models = pinned_models(tracking.open())
    archived = archive_decisions(settings, build, models)
    publication = publish(
        FinishedRun(
            run_id=context.run_id,
            fence=build.fence,
            as_of=build.as_of_date,
            data_as_of=date.fromisoformat(build.data_as_of or build.as_of),
            ingested_until=build.ingested_until,
            models=models,
            code_version=code_version(),
            outbox=outbox_of(settings, build, ledger),
            archive=archived,
            looks_back=build.looks_back,
        ),
        exports=settings.exports,
        relations=RELATIONS,
        published=settings.published,
        store=ledger,
        keep=settings.generations_kept,
    )
    # Live stock is of today, whatever day was looked back at.
    rebased = 0
    if publication.beside is None:
        rebased = rebase_live_stock(
            settings.raw,
            settings.exports,
            datetime.fromisoformat(build.ingested_until),
            ledger,
            counts_from=datetime.fromisoformat(build.counts_from) if build.counts_from else None,
            counts_until=datetime.fromisoformat(build.counts_until) if build.counts_until else None,
        )
    rows = "\n".join(f"| {table.relation} | {table.rows:,} | `{table.hash}` |" for table in publication.tables)
    proposals = publication.proposals
    note = "published" if publication.is_new else "unchanged, nothing published"
    if publication.beside is not None:
        note += f" beside the current generation, in {publication.beside}"
    return MaterializeResult(
        metadata={
            "note": f"{note}: generation {publication.generation}, content {publication.content_hash[:16]}",
            "content": publication.content_hash,
            "is new": publication.is_new,
            "archived as": archived,
            "live stock": f"{rebased:,} items start from other published movements than before",
            "proposals": (
                f"{len(proposals.proposed):,} new, {len(proposals.unchanged):,} unchanged, "
                f"{len(proposals.superseded):,} superseded, {len(proposals.skipped):,} skipped, "
                f"{len(proposals.ended):,} ended"
            ),
            "ended proposals": MetadataValue.md(
                "\n".join(f"- {proposal_id}: {reason}" for proposal_id, reason in proposals.ended) or "none"
            ),
            "tables": MetadataValue.md(f"| table | rows | content |\n|---|---|---|\n{rows}"),
        }
    )
