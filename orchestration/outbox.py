"""The outbox and a run: what is committed already, under which ids the run proposes, what publication settles.

Belongs here: what a run reads for the outbox. Does not: states and transactions (serving/store/proposals.py).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.exports import export_path
from orchestration.settings import Settings
from orchestration.warehouse import Build

if TYPE_CHECKING:
    import pandas as pd

    from serving.store import Proposal, Store

_SEEN = "outbox.json"


def open_proposals(settings: Settings, build: Build, store: "Store") -> "pd.DataFrame":
    """Return the proposals that count as on order in this run, and note how far the outbox was seen.

    A proposal counts from its approval until this run knows its purchase order line, and then the line alone counts.
    One that was approved and not exported in time counts no longer: publication ends it. Proposals of later days did
    not exist on the business day.

    Returns:
        proposal_id, sku, location_id, supplier_id, state, open_units, unit_cost, periods_ahead (≥ 1), order_by_date,
        expected_date, proposed_for_date.
    """
    import pandas as pd

    found, as_of = store.open_orders(), build.as_of_date
    (settings.predictions / _SEEN).write_text(json.dumps({"version": found.version}))
    lines = _lines_naming_proposals(settings)
    named = store.proposals_named({line.proposal_id for line in lines})
    stood_for = _stood_for(lines, named)
    # On a day looked back at, a line that came later is not there yet, although the outbox has seen it.
    before_their_line = [
        named[line.proposal_id]
        for line in lines
        if line.is_later and line.proposal_id in named and named[line.proposal_id].state == "acknowledged"
    ]
    rows = []
    for proposal in {proposal.proposal_id: proposal for proposal in [*found.proposals, *before_their_line]}.values():
        is_too_late = proposal.state == "approved" and (proposal.expires_date or as_of) < as_of
        if proposal.proposal_id in stood_for or proposal.as_of_date > as_of or is_too_late:
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


def order_lines(settings: Settings, store: "Store") -> dict[str, str]:
    """Return purchase order and line, as `PO-17:1`, of each proposal whose order this run knows.

    Received and cancelled lines count too: what they brought, or did not, is in the stock. A line of another item
    stands for no proposal.
    """
    lines = _lines_naming_proposals(settings)
    return _stood_for(lines, store.proposals_named({line.proposal_id for line in lines}))


def misnamed_proposals(settings: Settings, store: "Store") -> list[str]:
    """Return a sentence for each purchase order line whose proposal does not exist or is of another item."""
    lines = _lines_naming_proposals(settings)
    named = store.proposals_named({line.proposal_id for line in lines})
    told = []
    for line in lines:
        meant = named.get(line.proposal_id)
        if meant is None and line.is_open:
            told.append(
                f"purchase order line {line.document} names proposal {line.proposal_id!r}, which there is not: it "
                "counts as on order, and so does the proposal it was placed for; send the line with the right "
                "proposal_id, or with none if nothing proposed it"
            )
        elif meant is not None and not line.is_of(meant) and (line.is_open or not meant.has_order_line):
            told.append(
                f"purchase order line {line.document} orders {line.sku} for {line.location_id} and names proposal "
                f"{line.proposal_id}, which is {meant.sku} for {meant.location_id}: each counts for its own item; send "
                "the line with the right proposal_id, or with none if nothing proposed it"
            )
    return told


@dataclass(frozen=True)
class _Line:
    """A purchase order line that names a proposal."""

    document: str
    proposal_id: str
    sku: str
    location_id: str
    progress: str

    @property
    def is_later(self) -> bool:
        return self.progress == "later"

    @property
    def is_open(self) -> bool:
        return self.progress == "open"

    def is_of(self, proposal: "Proposal") -> bool:
        return (self.sku, self.location_id) == (proposal.sku, proposal.location_id)


def _lines_naming_proposals(settings: Settings) -> list[_Line]:
    found = _lines(
        f"""
        select purchase_order_id || ':' || line as document, proposal_id, sku, location_id, progress
        from read_parquet('{export_path(settings, "marts.fct_purchase_order_lines")}')
        where proposal_id is not null
        order by purchase_order_id, line
        """
    )
    return [_Line(**line) for line in found]


def _stood_for(lines: Iterable[_Line], named: "Mapping[str, Proposal]") -> dict[str, str]:
    known: dict[str, str] = {}
    for line in lines:
        if not line.is_later and line.proposal_id in named and line.is_of(named[line.proposal_id]):
            known.setdefault(line.proposal_id, line.document)
    return known


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
    return Outbox(build.as_of_date, None if is_past else proposed, seen, order_lines(settings, store))


def _lines(query: str) -> list[Mapping[str, Any]]:
    with duckdb.connect() as connection:
        answer = connection.execute(query)
        names = [column[0] for column in answer.description or ()]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
