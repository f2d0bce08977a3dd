"""The outbox and a run: what is committed already, what the run lists as proposals, what publication settles.

Belongs here: what a run reads for the outbox. Does not: transfers between locations (transfers.py), states and
transactions (serving/store/proposals.py).
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.home.settings import Settings
from orchestration.home.sql_text import path_literal
from orchestration.planning.transfers import counted_transfers, proposed_lines, shipments
from orchestration.warehouse.build import EPOCH, Build
from orchestration.warehouse.exports import export_path, read_rows, read_sql

if TYPE_CHECKING:
    import pandas as pd

    from serving.store import Proposal, Store

_SEEN = "outbox.json"
_ALL = 1_000_000
# What stands in an order for people and the ERP to read, as it was when the order was proposed.
_TOLD = (
    *("recommendation_id", "supplier_name", "product_name", "location_name", "supplier_sku", "unit_of_measure"),
    *("pack_units", "minimum_order_value", "stockout_date", "lost_margin_avoided", "reason"),
)


def open_proposals(settings: Settings, build: Build, store: "Store") -> "pd.DataFrame":
    """Return the orders that count as on order in this run, and note how far the outbox was seen.

    A proposal counts from its approval until this run knows its purchase order line, and then the line alone counts.
    One that was approved and not exported in time, or exported and never delivered, counts no longer: publication ends
    it. Proposals of later days did not exist on the business day.

    Returns:
        proposal_id, sku, location_id, supplier_id, state, open_units, unit_cost, periods_ahead (≥ 1), order_by_date,
        expected_date, proposed_for_date.
    """
    import pandas as pd

    from serving.store import why_ended

    version, as_of = store.open_orders().version, build.as_of_date
    waiting, overdue_days = _without_line(settings, build, store), settings.proposal_overdue_days
    counted = [made for made in waiting if why_ended(made, as_of, overdue_days) is None]
    moving = [each.proposal.proposal_id for each in counted_transfers(settings, build, store)]
    seen = {"version": version, "counted": [*(made.proposal_id for made in counted), *moving]}
    (settings.predictions / _SEEN).write_text(json.dumps(seen))
    rows = []
    for proposal in counted:
        expected = proposal.expected_date or as_of
        cost = None if proposal.unit_cost is None else float(proposal.unit_cost)
        rows.append(
            (
                *(proposal.proposal_id, proposal.sku, proposal.location_id, proposal.supplier_id, proposal.state),
                *(float(proposal.coming_units), cost, max((expected - as_of).days, 1)),
                *(proposal.order_by_date, expected, proposal.as_of_date),
            )
        )
    kinds = dict.fromkeys(("proposal_id", "sku", "location_id", "supplier_id", "state"), "string")
    kinds |= {"open_units": "float64", "unit_cost": "float64", "periods_ahead": "int32"}
    kinds |= dict.fromkeys(("order_by_date", "expected_date", "proposed_for_date"), "datetime64[s]")
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def rejected_needs(build: Build, store: "Store") -> "pd.DataFrame":
    """Return the rejections that hold on the business day: what is needed of an item is not ordered up to a limit.

    Returns:
        proposal_id, sku, location_id, supplier_id, order_units, unit_cost, proposed_for_date, order_by_date,
        expected_date, rejected_until_date, rejected_until_units (empty = whatever is needed), rejection (who, until
        when and why, in words).
    """
    rejected = [made for made in store.rejections(build.as_of_date) if not made.is_transfer]
    listed = _as_frame([_listed(proposal, proposal.state, proposal.rejection) for proposal in rejected])
    names = ["state", "acknowledged_units", "adjusted_units", "adjusted_by"]
    return listed.drop(columns=names).rename(columns={"cause": "rejection"})


def turn_back(settings: Settings, build: Build, store: "Store") -> list[str]:
    """Undo in the outbox what runs of later days did, where the movements no longer tell of such a day.

    A movement with a wrong date moves the business day ahead, until it is corrected. A day that is looked back at
    undoes nothing.

    Returns:
        Ids of the proposals that had ended for a later day alone and stand again.
    """
    published = store.epoch(EPOCH)
    if published is None or build.as_of != build.data_as_of:
        return []
    before = published.detail.get("data_as_of") or published.detail.get("as_of") or build.as_of
    if before <= build.as_of:
        return []
    return store.turn_back(build.as_of_date, author=build.run_id, overdue_days=settings.proposal_overdue_days)


def order_lines(settings: Settings, store: "Store") -> dict[str, str]:
    """Return purchase order and line, as `PO-17:1`, of each proposal whose order this run knows.

    Received and cancelled lines count too: what they brought, or did not, is in the stock. A line of another item
    stands for no proposal.
    """
    lines = _lines_of_proposals(settings, store)
    return _stood_for(lines, store.proposals_named({line.proposal_id for line in lines}))


def misnamed_proposals(settings: Settings, store: "Store") -> list[str]:
    """Return a sentence for each purchase order line whose proposal does not exist, is another item's or unclear."""
    lines = _lines_naming_proposals(settings)
    named = store.proposals_named({line.proposal_id for line in lines})
    found = []
    for line in lines:
        meant = named.get(line.proposal_id)
        if meant is None and line.is_open:
            found.append(
                f"purchase order line {line.document} names proposal {line.proposal_id!r}, which does not exist: the "
                "line and the proposal it was placed for both count as on order; send the line again with the right "
                "proposal_id, or without one if nothing proposed it"
            )
        elif meant is not None and not line.is_of(meant) and (line.is_open or not meant.has_order_line):
            found.append(
                f"purchase order line {line.document} orders {line.sku} for {line.location_id} and names proposal "
                f"{line.proposal_id}, which is {meant.sku} for {meant.location_id}: each counts for its own item; send "
                "the line again with the right proposal_id, or without one if nothing proposed it"
            )
    by_line: dict[str, list[str]] = {}
    for line, made in _fitting(settings, store):
        by_line.setdefault(line.document, []).append(made.proposal_id)
    matched = {line.document for line in _matched(settings, store)}
    found += [
        f"purchase order line {document} names no proposal and may belong to {' or '.join(ids)}, with the same "
        "supplier, item and units: the line and each of these proposals count as on order; send the line again with "
        "its proposal_id"
        for document, ids in by_line.items()
        if document not in matched
    ]
    return found


@dataclass(frozen=True)
class _Line:
    """A purchase order line and its proposal."""

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
        return (self.sku, self.location_id, "") == proposal.item


def _lines_naming_proposals(settings: Settings) -> list[_Line]:
    found = read_rows(
        f"""
        select purchase_order_id || ':' || line as document, proposal_id, sku, location_id, progress
        from {read_sql(export_path(settings, "marts.fct_purchase_order_lines"))}
        where proposal_id is not null
        order by purchase_order_id, line
        """
    )
    return [_Line(**line) for line in found]


def _lines_of_proposals(settings: Settings, store: "Store") -> list[_Line]:
    """Return the lines that name a proposal, and those that name none and can be for one alone."""
    return _lines_naming_proposals(settings) + _matched(settings, store)


def _matched(settings: Settings, store: "Store") -> list[_Line]:
    """Return the lines that name no proposal with the one they are for, where nothing else is possible.

    The ERP gave its order number for the proposal, or a run has matched them before; or the line fits one exported
    proposal alone and no other line fits that.
    """
    acknowledged: dict[tuple[str | None, str, str], list[str]] = {}
    for made in _orders(store, "acknowledged"):
        acknowledged.setdefault((made.erp_order, *_item(made)), []).append(made.proposal_id)
    matched = []
    for line in _lines_without_proposal(settings) if acknowledged else []:
        item = (line["sku"], line["location_id"])
        ids = acknowledged.get((line["document"], *item)) or acknowledged.get((line["purchase_order_id"], *item)) or []
        if len(ids) == 1:
            matched.append(_Line(line["document"], ids[0], *item, line["progress"]))
    fitting = _fitting(settings, store)
    lines, proposals = Counter(line.document for line, _ in fitting), Counter(made.proposal_id for _, made in fitting)
    alone = [line for line, made in fitting if lines[line.document] == proposals[made.proposal_id] == 1]
    return matched + alone


def _fitting(settings: Settings, store: "Store") -> "list[tuple[_Line, Proposal]]":
    """Return each line that names no proposal with each exported proposal it may be for.

    Supplier, item and units are the same, and it was ordered after the day the proposal was made for. A line that a run
    has matched, or whose number the ERP gave for a proposal of the item, is taken.
    """
    exported: dict[tuple[Any, ...], list[Proposal]] = {}
    for made in _orders(store, "exported"):
        exported.setdefault((*_item(made), made.supplier_id, made.final_units), []).append(made)
    fitting = []
    for line in _lines_without_proposal(settings) if exported else []:
        key = tuple(line[name] for name in ("sku", "location_id", "supplier_id", "ordered_units"))
        for made in exported.get(key, []):
            if line["progress"] in ("open", "received") and line["ordered_date"] > made.as_of_date:
                fitting.append((_Line(line["document"], made.proposal_id, *_item(made), line["progress"]), line, made))
    numbers = {number for _, line, _ in fitting for number in (line["document"], line["purchase_order_id"])}
    taken = {(made.erp_order, *_item(made)) for made in store.proposals_of_orders(numbers)}
    return [
        (found, made)
        for found, line, made in fitting
        if not taken & {(number, *_item(made)) for number in (line["document"], line["purchase_order_id"])}
    ]


def _orders(store: "Store", state: str) -> "list[Proposal]":
    return [made for made in store.proposals(state=state, limit=_ALL) if not made.is_transfer]


def _lines_without_proposal(settings: Settings) -> list[Mapping[str, Any]]:
    return read_rows(
        f"""
        select purchase_order_id || ':' || line as document, purchase_order_id, sku, location_id, supplier_id,
            ordered_units, ordered_date, progress
        from {read_sql(export_path(settings, "marts.fct_purchase_order_lines"))}
        where proposal_id is null
        order by purchase_order_id, line
        """
    )


def _stood_for(lines: Iterable[_Line], named: "Mapping[str, Proposal]") -> dict[str, str]:
    known: dict[str, str] = {}
    for line in lines:
        if not line.is_later and line.proposal_id in named and line.is_of(named[line.proposal_id]):
            known.setdefault(line.proposal_id, line.document)
    return known


def listed_proposals(settings: Settings, build: Build, store: "Store") -> "pd.DataFrame":
    """Return the proposals of this run as the outbox stands now, so that what was decided while it worked is in it.

    The orders of this run under the ids they will be proposed under; what is committed and has no purchase order line;
    needs that a rejection holds back; and what this run finds ended. A past day that is made again proposes nothing.

    Returns:
        proposal_id, state, sku, location_id, supplier_id, order_units, unit_cost, proposed_for_date, order_by_date,
        expected_date, rejected_until_date, rejected_until_units, cause, acknowledged_units, adjusted_units, adjusted_by
        (what its approval orders in place of order_units, and who said so), decided_until (the last decision of a
        person or the ERP that is in it). Units, cost and dates are empty where the recommendation has them.
    """
    import pandas as pd

    from serving.store import units_text, why_ended

    as_of = build.as_of_date
    lines = _wanted_lines(settings)
    needed = {(line["sku"], line["location_id"]): line["needed_units"] for line in lines}
    decided_until = store.decided_until()
    announced = store.announce_proposals(
        as_of, [line for line in lines if not line["rejection"]], **seen_outbox(settings)
    )
    rows: list[dict[str, Any]] = []
    if announced is not None:
        rows += [
            {"proposal_id": proposal_id, "state": "proposed", "sku": sku, "location_id": location_id}
            for (sku, location_id, _), proposal_id in announced.ids.items()
        ]
        held_back = store.proposals_named(line["rejection"] for line in lines if line["rejection"])
        rows += [
            _listed(made, made.state, f"{made.rejection}; this run would order {units_text(needed[_item(made)])}")
            for made in (*announced.rejected.values(), *held_back.values())
            if made.state == "rejected"
        ]
        rows += [
            _listed(proposal, proposal.state, proposal.change_reason)
            for proposal in store.proposals_ended_on(as_of)
            if not proposal.is_transfer
        ]
    held = _discontinued(settings)
    for proposal in _without_line(settings, build, store):
        ended = why_ended(proposal, as_of, settings.proposal_overdue_days)
        cause = ended or (held.get(proposal.sku) and f"{held[proposal.sku]}: not exported")
        rows.append(_listed(proposal, "expired" if ended else proposal.state, cause))
    listed = _as_frame(rows).sort_values("proposal_id", ignore_index=True)
    return listed.assign(decided_until=pd.Series(decided_until, index=listed.index, dtype="datetime64[us, UTC]"))


def outbox_of(settings: Settings, build: Build, store: "Store") -> Any:
    """Return what the publication of this run settles, a `serving.store.Outbox`."""
    from serving.store import Outbox

    lines = read_rows(
        f"""
        select proposal_id, sku, location_id, supplier_id, order_units, unit_cost, order_by_date,
            order_by_date as expires_date, expected_arrival_date as expected_date, {", ".join(_TOLD)}
        from {read_sql(export_path(settings, "reporting.purchase_order_proposals"))}
        where state = 'proposed'
        order by sku, location_id
        """
    )
    needed = {(line["sku"], line["location_id"]): line["needed_units"] for line in _wanted_lines(settings)}
    proposed = [
        {name: value for name, value in line.items() if name not in _TOLD}
        | {
            "needed_units": needed[line["sku"], line["location_id"]],
            "detail": {
                "needed_units": str(needed[line["sku"], line["location_id"]]),
                **{name: None if line[name] is None else str(line[name]) for name in _TOLD},
            },
        }
        for line in lines
    ]
    seen = seen_outbox(settings)
    is_past = store.announce_proposals(build.as_of_date, [], **seen) is None
    discontinued = _discontinued(settings)
    held = {
        proposal.proposal_id: discontinued[proposal.sku]
        for proposal in store.open_orders().proposals
        if proposal.sku in discontinued and not proposal.is_transfer
    }
    return Outbox(
        build.as_of_date,
        None if is_past else _beside_each_other(settings, [*proposed, *proposed_lines(settings)]),
        order_lines=order_lines(settings, store),
        ended_lines=_ended_lines(settings, store),
        held=held,
        matched={line.proposal_id for line in _matched(settings, store)},
        overdue_days=settings.proposal_overdue_days,
        **shipments(settings, build, store),
        **seen,
    )


def _beside_each_other(settings: Settings, lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return lines that know what else this run decides for the item at its location, and what it lacks in all."""
    from ml.restock import STEPS

    before_packs = [step.name for step in STEPS if step.stage in ("level", "position", "need")]
    before_packs.remove("proposed_transfers")
    needed = {
        (row["sku"], row["location_id"]): row["units"]
        for row in read_rows(
            f"""
            select sku, location_id, sum(units)::decimal(18, 3) as units
            from read_parquet({path_literal(settings.predictions / "restock_terms.parquet")})
            where term in ({", ".join(f"'{name}'" for name in before_packs)})
            group by sku, location_id
            """
        )
    }
    places: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        places.setdefault((line["sku"], line["location_id"]), []).append(line["proposal_id"])
    shown: list[Mapping[str, Any]] = []
    for line in lines:
        place = (line["sku"], line["location_id"])
        beside = [other for other in places[place] if other != line["proposal_id"]]
        known = {"beside": beside, "place_needed_units": str(needed[place])} if beside else {}
        shown.append({**line, "detail": {**line["detail"], **known}})
    return shown


def _without_line(settings: Settings, build: Build, store: "Store") -> "list[Proposal]":
    """Return what is committed on the business day and has no purchase order line that this run knows, by id."""
    lines = _lines_of_proposals(settings, store)
    named = store.proposals_named({line.proposal_id for line in lines})
    stood_for = _stood_for(lines, named)
    found = {made.proposal_id: made for made in store.open_orders().proposals if not made.is_transfer}
    # On a day looked back at, a line that came later is not there yet, although the outbox has seen it.
    found |= {
        line.proposal_id: named[line.proposal_id]
        for line in lines
        if line.is_later and line.proposal_id in named and named[line.proposal_id].has_order_line
    }
    return [
        found[proposal_id]
        for proposal_id in sorted(found.keys() - stood_for.keys())
        if found[proposal_id].as_of_date <= build.as_of_date
    ]


def _ended_lines(settings: Settings, store: "Store") -> dict[str, str]:
    """Return `received` or `cancelled` of each proposal all of whose purchase order lines have ended."""
    lines = _lines_of_proposals(settings, store)
    stood_for = _stood_for(lines, store.proposals_named({line.proposal_id for line in lines}))
    progress: dict[str, set[str]] = {}
    for line in lines:
        progress.setdefault(line.proposal_id, set()).add(line.progress)
    return {
        proposal_id: "received" if "received" in progress[proposal_id] else "cancelled"
        for proposal_id in stood_for
        if progress[proposal_id] <= {"received", "cancelled"}
    }


def seen_outbox(settings: Settings) -> dict[str, Any]:
    """Return how far this run had seen the outbox when it counted what is on order."""
    seen = json.loads((settings.predictions / _SEEN).read_text())
    return {"seen_version": seen["version"], "counted": seen["counted"]}


def _wanted_lines(settings: Settings) -> list[Mapping[str, Any]]:
    """Return what this run orders, as the outbox takes it, and what it would order if it were not rejected.

    `needed_units` is what an item orders by itself: before a rejection, its supplier's minimum and the budget.
    `rejection` names the rejected proposal that takes the order off; None of what is ordered.
    """
    return read_rows(
        f"""
        with steps as (
            select sku, location_id, sum(units) as units, bool_or(term = 'rejected') as is_rejected
            from read_parquet({path_literal(settings.predictions / "restock_terms.parquet")})
            where term in ('rejected', 'supplier_minimum', 'held_back')
            group by sku, location_id
        )

        select lines.sku, lines.location_id, lines.supplier_id, lines.order_units::decimal(18, 3) as order_units,
            (lines.order_units - coalesce(steps.units, 0))::decimal(18, 3) as needed_units, terms.unit_cost,
            case when steps.is_rejected then rejections.proposal_id end as rejection
        from read_parquet({path_literal(settings.predictions / "restock_lines.parquet")}) as lines
        inner join {read_sql(export_path(settings, "marts.fct_replenishment_terms"))} as terms
            using (sku, location_id)
        left join steps using (sku, location_id)
        left join read_parquet({path_literal(settings.predictions / "rejected_needs.parquet")}) as rejections
            using (sku, location_id)
        where lines.status = 'order' or steps.is_rejected
        """
    )


def _discontinued(settings: Settings) -> dict[str, str]:
    """Return the skus that are not sold any more, with a word of it."""
    found = read_rows(f"select sku from {read_sql(export_path(settings, 'marts.dim_products'))} where not is_active")
    return {line["sku"]: f"product {line['sku']} is discontinued" for line in found}


def _item(proposal: "Proposal") -> tuple[str, str]:
    return proposal.sku, proposal.location_id


def _listed(proposal: "Proposal", state: str, cause: str | None) -> dict[str, Any]:
    limit = proposal.rejected_until_units
    return {
        "proposal_id": proposal.proposal_id,
        "state": state,
        "sku": proposal.sku,
        "location_id": proposal.location_id,
        "supplier_id": proposal.supplier_id,
        "order_units": float(proposal.order_units),
        "unit_cost": None if proposal.unit_cost is None else float(proposal.unit_cost),
        "proposed_for_date": proposal.as_of_date,
        "order_by_date": proposal.order_by_date,
        "expected_date": proposal.expected_date,
        "rejected_until_date": proposal.rejected_until_date,
        "rejected_until_units": None if limit is None else float(limit),
        "cause": cause or None,
        "acknowledged_units": None if proposal.acknowledged_units is None else float(proposal.acknowledged_units),
        "adjusted_units": None if proposal.adjusted_units is None else float(proposal.adjusted_units),
        "adjusted_by": proposal.adjusted_by,
    }


def _as_frame(listed: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    texts = ("proposal_id", "state", "sku", "location_id", "supplier_id", "cause", "adjusted_by")
    kinds = dict.fromkeys(texts, "string")
    units = ("order_units", "rejected_until_units", "acknowledged_units", "adjusted_units")
    kinds |= dict.fromkeys((*units, "unit_cost"), "float64")
    days = ("proposed_for_date", "order_by_date", "expected_date", "rejected_until_date")
    kinds |= dict.fromkeys(days, "datetime64[s]")
    return pd.DataFrame(listed, columns=list(kinds)).astype(kinds)
