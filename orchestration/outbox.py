"""The outbox and a run: what is committed already, under which ids the run proposes, what publication settles.

Belongs here: what a run reads for the outbox. Does not: states and transactions (serving/store/proposals.py).
"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.exports import export_path
from orchestration.settings import Settings
from orchestration.warehouse import Build

if TYPE_CHECKING:
    import pandas as pd

    from serving.store import Store

_SEEN = "outbox.json"


def open_proposals(settings: Settings, build: Build, store: "Store") -> "pd.DataFrame":
    """Return the proposals that count as on order in this run, and note how far the outbox was seen.

    A proposal counts from its approval until its purchase order line is seen, and then the line alone counts. One
    that was approved and not exported in time counts no longer: publication ends it. Proposals of later days did not
    exist on the business day.

    Returns:
        proposal_id, sku, location_id, supplier_id, state, open_units, unit_cost, periods_ahead (≥ 1), order_by_date,
        expected_date, proposed_for_date.
    """
    import pandas as pd

    found, lines, as_of = store.open_orders(), order_lines(settings, build), build.as_of_date
    (settings.predictions / _SEEN).write_text(json.dumps({"version": found.version}))
    rows = []
    for proposal in found.proposals:
        is_too_late = proposal.state == "approved" and (proposal.expires_date or as_of) < as_of
        if proposal.proposal_id in lines or proposal.as_of_date > as_of or is_too_late:
            continue
        expected = date.fromisoformat(proposal.detail.get("expected_arrival_date", as_of.isoformat()))
        cost = None if proposal.unit_cost is None else float(proposal.unit_cost)
        rows.append(
            (
                *(proposal.proposal_id, proposal.sku, proposal.location_id, proposal.supplier_id, proposal.state),
                *(float(proposal.order_units), cost, max((expected - as_of).days, 1)),
                *(proposal.order_by_date, expected, proposal.as_of_date),
            )
        )
    kinds = dict.fromkeys(("proposal_id", "sku", "location_id", "supplier_id", "state"), "string")
    kinds |= {"open_units": "float64", "unit_cost": "float64", "periods_ahead": "int32"}
    kinds |= dict.fromkeys(("order_by_date", "expected_date", "proposed_for_date"), "datetime64[s]")
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def order_lines(settings: Settings, build: Build) -> dict[str, str]:
    """Return purchase order and line, as `PO-17:1`, of each proposal whose order was placed by the business day.

    Received and cancelled lines count too: what they brought, or did not, is in the stock.
    """
    files = f"{settings.raw}/purchase_order_lines/*/accepted.parquet"
    until = datetime.fromisoformat(build.ingested_until).astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    with duckdb.connect() as connection:
        found = connection.execute(
            f"""
            with latest as (
                select * from read_parquet('{files}', union_by_name = true, hive_partitioning = false)
                where batch_id <= ?
                qualify row_number() over (
                    partition by purchase_order_id, line order by batch_id desc, source_row desc
                ) = 1
            )

            select latest.proposal_id, min(latest.purchase_order_id || ':' || latest.line)
            from latest
            inner join read_parquet('{export_path(settings, "marts.dim_locations")}') as locations using (location_id)
            where latest.proposal_id is not null and timezone(locations.time_zone, latest.ordered_at)::date <= ?
            group by latest.proposal_id
            """,
            [until, build.as_of_date],
        ).fetchall()
    return dict(found)


def announced_proposals(settings: Settings, build: Build, store: "Store") -> "pd.DataFrame":
    """Return the id under which each order of this run will be proposed; nothing for a past day that is made again.

    Returns:
        proposal_id, sku, location_id.
    """
    import pandas as pd

    lines = _lines(
        f"""
        select lines.sku, lines.location_id, lines.supplier_id, lines.order_units::decimal(18, 3) as order_units,
            terms.unit_cost
        from read_parquet('{settings.predictions}/restock_lines.parquet') as lines
        inner join read_parquet('{export_path(settings, "marts.fct_replenishment_terms")}') as terms
            using (sku, location_id)
        where lines.status = 'order'
        """
    )
    announced = store.announce_proposals(build.as_of_date, lines) or {}
    rows = [(proposal_id, *item) for item, proposal_id in sorted(announced.items())]
    return pd.DataFrame(rows, columns=["proposal_id", "sku", "location_id"]).astype("string")


def outbox_of(settings: Settings, build: Build, store: "Store") -> Any:
    """Return what the publication of this run settles, a `serving.store.Outbox`."""
    from serving.store import Outbox

    lines = _lines(
        f"""
        select proposal_id, sku, location_id, supplier_id, order_units, unit_cost, order_by_date,
            order_by_date as expires_date, expected_arrival_date, recommendation_id
        from read_parquet('{export_path(settings, "reporting.purchase_order_proposals")}')
        where state = 'proposed'
        order by sku, location_id
        """
    )
    proposed = [
        {name: value for name, value in line.items() if name not in ("expected_arrival_date", "recommendation_id")}
        | {
            "detail": {
                "expected_arrival_date": line["expected_arrival_date"].isoformat(),
                "recommendation_id": line["recommendation_id"],
            }
        }
        for line in lines
    ]
    is_past = store.announce_proposals(build.as_of_date, []) is None
    seen = json.loads((settings.predictions / _SEEN).read_text())["version"]
    return Outbox(build.as_of_date, None if is_past else proposed, seen, order_lines(settings, build))


def _lines(query: str) -> list[Mapping[str, Any]]:
    with duckdb.connect() as connection:
        answer = connection.execute(query)
        names = [column[0] for column in answer.description or ()]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
