"""Transfers between locations and a run: what is approved, on its way and has come, and what the run proposes.

Belongs here: what a run reads and settles of them. Does not: what is decided (ml/restock), orders of suppliers
(proposals.py), states and transactions (serving/store).

A transfer counts once. Approved, it is on order where it goes and reserved where it leaves; from the first movement
that names it, what was shipped and has not come is on order, and nothing is reserved; what has come is stock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from orchestration.home.settings import Settings
from orchestration.home.sql_text import path_literal
from orchestration.warehouse.build import Build
from orchestration.warehouse.exports import export_path, read_rows, read_sql

if TYPE_CHECKING:
    import pandas as pd

    from serving.store import Proposal, Store

_ALL = 1_000_000
_TEXTS = ("proposal_id", "state", "sku", "location_id", "from_location_id")
# What stands in a transfer for people and the ERP to read, as it was when it was proposed.
_TOLD = (
    *("product_name", "location_name", "from_location_name", "unit_of_measure", "pack_units", "lead_time_days"),
    *("stockout_date", "lost_margin_avoided", "reason"),
)


@dataclass(frozen=True)
class Transfer:
    """A proposed transfer that was decided upon, and what movements say of it by the business day.

    Attributes:
        proposal: as the store has it.
        shipped, received: units, 0 = no movement names it.
        shipped_date: local day of the first shipment; None = none is booked.
        received_date: local day of the last receipt; None = none is booked.
    """

    proposal: "Proposal"
    shipped: Decimal = Decimal(0)
    received: Decimal = Decimal(0)
    shipped_date: date | None = None
    received_date: date | None = None

    @property
    def is_moving(self) -> bool:
        """Whether a movement names it: what was shipped stands for what was approved."""
        return self.shipped > 0 or self.received > 0

    @property
    def coming_units(self) -> Decimal:
        """What is still to come where it goes."""
        sent = self.shipped if self.shipped > 0 else self.proposal.coming_units
        return max(sent - self.received, Decimal(0))

    @property
    def leaving_units(self) -> Decimal:
        """What is still on the shelf that it leaves, and promised."""
        return Decimal(0) if self.shipped > 0 else self.proposal.coming_units

    @property
    def lead_days(self) -> int:
        """Days on the way, as the lane had it when it was proposed."""
        return int(Decimal(str(self.proposal.detail.get("lead_time_days") or 0)))

    def expected_date(self, day: date) -> date:
        """Return the day on which it should come, as is known on a business day."""
        if self.shipped_date is not None and self.lead_days:
            return self.shipped_date + timedelta(days=self.lead_days)
        planned = self.proposal.expected_date or day
        # What has not left yet cannot come sooner than a shipment of tomorrow.
        return planned if self.is_moving else max(planned, day + timedelta(days=self.lead_days + 1))

    def ended(self, day: date, overdue_days: int) -> tuple[str, str] | None:
        """Return the state in which a run of a business day ends it, and why; None = it stands."""
        from serving.store import units_text, why_ended

        if not self.is_moving:
            why = why_ended(self.proposal, day, overdue_days)
            return None if why is None else ("expired", why)
        if self.shipped > 0 and self.received >= self.shipped:
            return "received", f"{units_text(self.received)} units came by {self.received_date}"
        last = self.expected_date(day) + timedelta(days=overdue_days)
        if last >= day:
            return None
        missing = f"{units_text(self.coming_units)} of {units_text(self.shipped or self.proposal.coming_units)} units"
        return "expired", f"{missing} have not come by {last}: count both shelves"


def transfers_of(settings: Settings, build: Build, store: "Store") -> list[Transfer]:
    """Return the transfers that people have committed to, or that movements name, by id.

    One that movements name counts whatever was decided of it: what was shipped is on its way. On a day looked back at,
    one whose movements came later has not left yet.
    """
    reported = _movements(settings)
    known = store.proposals_named(reported)
    known |= {made.proposal_id: made for made in store.open_orders().proposals}
    states = ("acknowledged", "received") if build.looks_back else ("acknowledged",)
    known |= {made.proposal_id: made for state in states for made in store.proposals(state=state, limit=_ALL)}
    found = []
    for proposal_id, proposal in sorted(known.items()):
        if proposal.is_transfer and proposal.as_of_date <= build.as_of_date:
            found.append(_progress(proposal, reported.get(proposal_id, ())))
    return found


def counted_transfers(settings: Settings, build: Build, store: "Store") -> list[Transfer]:
    """Return the transfers that count in this run: on order where they go, reserved where they leave."""
    as_of, overdue_days = build.as_of_date, settings.proposal_overdue_days
    return [each for each in transfers_of(settings, build, store) if each.ended(as_of, overdue_days) is None]


def open_transfers(settings: Settings, build: Build, store: "Store") -> "pd.DataFrame":
    """Return the transfers that count in this run.

    Returns:
        proposal_id, state, sku, from_location_id, location_id, order_units (as approved, or as the ERP has it),
        shipped_units, received_units, on_order_units (still to come), leaving_units (still where it leaves), unit_cost,
        periods_ahead (≥ 1), order_by_date, expected_date, shipped_date, proposed_for_date.
    """
    import pandas as pd

    as_of, rows = build.as_of_date, []
    for each in counted_transfers(settings, build, store):
        made, expected = each.proposal, each.expected_date(as_of)
        rows.append(
            {
                "proposal_id": made.proposal_id,
                "state": made.state,
                "sku": made.sku,
                "location_id": made.location_id,
                "from_location_id": made.from_location_id,
                "order_units": float(made.coming_units),
                "shipped_units": float(each.shipped),
                "received_units": float(each.received),
                "on_order_units": float(each.coming_units),
                "leaving_units": float(each.leaving_units),
                "unit_cost": None if made.unit_cost is None else float(made.unit_cost),
                "periods_ahead": max((expected - as_of).days, 1),
                "order_by_date": made.order_by_date,
                "expected_date": expected,
                "shipped_date": each.shipped_date,
                "proposed_for_date": made.as_of_date,
            }
        )
    kinds = dict.fromkeys(_TEXTS, "string")
    units = ("order_units", "shipped_units", "received_units", "on_order_units", "leaving_units", "unit_cost")
    kinds |= dict.fromkeys(units, "float64") | {"periods_ahead": "int32"}
    kinds |= dict.fromkeys(("order_by_date", "expected_date", "shipped_date", "proposed_for_date"), "datetime64[s]")
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def rejected_transfers(build: Build, store: "Store") -> "pd.DataFrame":
    """Return the rejected transfers that hold on the business day.

    Returns:
        proposal_id, sku, location_id, from_location_id, order_units, unit_cost, proposed_for_date, order_by_date,
        expected_date, rejected_until_date, rejected_until_units (empty = whatever is to be moved), rejection (who,
        until when and why, in words).
    """
    rejected = [made for made in store.rejections(build.as_of_date) if made.is_transfer]
    listed = _as_frame([_listed(Transfer(made), made.state, made.rejection) for made in rejected])
    names = ["state", "acknowledged_units", "shipped_units", "received_units"]
    return listed.drop(columns=names).rename(columns={"cause": "rejection"})


def listed_transfers(settings: Settings, build: Build, store: "Store", seen: Mapping[str, Any]) -> "pd.DataFrame":
    """Return the transfers of this run as the outbox stands now, so that what was decided while it worked is in it.

    Those of this run under the ids they will be proposed under; what is committed or on its way; what a rejection holds
    back; and what this run finds ended. A past day that is made again proposes nothing.

    Args:
        settings: of the home.
        build: of this run.
        store: of the home.
        seen: as of `orchestration.planning.proposals.seen_outbox`.

    Returns:
        proposal_id, state, sku, location_id, from_location_id, order_units, unit_cost, proposed_for_date,
        order_by_date, expected_date, rejected_until_date, rejected_until_units, cause, acknowledged_units,
        shipped_units, received_units, decided_until. What this run decides of a transfer is empty here.
    """
    import pandas as pd

    from serving.store import units_text

    as_of, rows = build.as_of_date, []
    lines = _wanted(settings)
    wanted = [line for line in lines if not line["rejection"]]
    announced = store.announce_proposals(as_of, wanted, **seen)
    if announced is not None:
        rows += [
            {
                "proposal_id": proposal_id,
                "state": "proposed",
                "sku": sku,
                "location_id": place,
                "from_location_id": origin,
            }
            for (sku, place, origin), proposal_id in announced.ids.items()
        ]
        units = {(line["sku"], line["location_id"], line["from_location_id"]): line["order_units"] for line in lines}
        held_back = store.proposals_named(line["rejection"] for line in lines if line["rejection"])
        for made in (*announced.rejected.values(), *held_back.values()):
            if made.state == "rejected":
                why = f"{made.rejection}; this run would move {units_text(units[made.item])}"
                rows.append(_listed(Transfer(made), made.state, why))
    ended = {made.proposal_id for made in store.proposals_ended_on(as_of) if made.is_transfer}
    for each in transfers_of(settings, build, store):
        end = each.ended(as_of, settings.proposal_overdue_days)
        if end is None:
            rows.append(_listed(each, each.proposal.state, None) | {"expected_date": each.expected_date(as_of)})
        elif each.proposal.state in ("approved", "exported", "acknowledged") or each.proposal.proposal_id in ended:
            rows.append(_listed(each, *end))
            ended.discard(each.proposal.proposal_id)
    rows += [
        _listed(Transfer(made), made.state, made.change_reason)
        for made in store.proposals_ended_on(as_of)
        if made.proposal_id in ended
    ]
    listed = _as_frame(rows).sort_values("proposal_id", ignore_index=True)
    decided_until = store.decided_until()
    return listed.assign(decided_until=pd.Series(decided_until, index=listed.index, dtype="datetime64[us, UTC]"))


def proposed_lines(settings: Settings) -> list[dict[str, Any]]:
    """Return the transfers that this run proposes, as the outbox takes them."""
    lines = read_rows(
        f"""
        select proposal_id, sku, to_location_id as location_id, from_location_id, transfer_units as order_units,
            unit_cost, order_by_date, order_by_date as expires_date, expected_arrival_date as expected_date,
            to_location_name as location_name, {", ".join(name for name in _TOLD if name != "location_name")}
        from {read_sql(export_path(settings, "reporting.stock_transfers"))}
        where state = 'proposed' and proposal_id is not null
        order by sku, from_location_id, location_id
        """
    )
    return [
        {name: value for name, value in line.items() if name not in _TOLD}
        | {
            "detail": {
                "needed_units": str(line["order_units"]),
                **{name: None if line[name] is None else str(line[name]) for name in _TOLD},
            }
        }
        for line in lines
    ]


def shipments(settings: Settings, build: Build, store: "Store") -> dict[str, Any]:
    """Return what movements say of transfers, as a `serving.store.Outbox` takes it."""
    from serving.store import units_text

    as_of, every = build.as_of_date, transfers_of(settings, build, store)
    moving = [each for each in every if each.is_moving]
    ended = {each.proposal.proposal_id: each.ended(as_of, settings.proposal_overdue_days) for each in moving}
    return {
        "shipments": {
            each.proposal.proposal_id: f"{units_text(each.shipped)} units on {each.shipped_date}"
            if each.shipped
            else f"{units_text(each.received)} units came on {each.received_date}, the shipment is not booked"
            for each in moving
        },
        "unshipped": [
            each.proposal.proposal_id for each in every if each.proposal.has_order_line and not each.is_moving
        ],
        "ended_transfers": {named: end for named, end in ended.items() if end is not None},
    }


def misnamed_movements(settings: Settings, store: "Store") -> list[str]:
    """Return a sentence for each movement of a transfer that names a proposal it cannot belong to."""
    reported = _movements(settings)
    found = []
    for proposal_id, made in sorted(store.proposals_named(reported).items()):
        for row in reported[proposal_id]:
            if not _belongs(made, row):
                what = f"the transfer of {made.sku} from {made.from_location_id} to {made.location_id}"
                found.append(
                    f"a {row['movement_type']} of {row['units']} {row['sku']} at {row['location_id']} names proposal "
                    f"{proposal_id}, which is {what if made.is_transfer else 'an order'}: it is not counted as part of "
                    "it; send the movement again, with a higher revision and the right reference"
                )
    return found


def _movements(settings: Settings) -> dict[str, list[Mapping[str, Any]]]:
    """Return what was shipped and received by this run's knowledge, by what the movements refer to."""
    rows = read_rows(
        f"""
        select reference, sku, location_id, movement_type, units, first_date, last_date
        from {read_sql(export_path(settings, "marts.fct_transfer_movements"))}
        order by reference, sku, location_id, movement_type
        """
    )
    reported: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        reported.setdefault(row["reference"], []).append(row)
    return reported


def _belongs(made: "Proposal", row: Mapping[str, Any]) -> bool:
    place = made.from_location_id if row["movement_type"] == "transfer_out" else made.location_id
    return made.is_transfer and (row["sku"], row["location_id"]) == (made.sku, place)


def _progress(made: "Proposal", rows: Sequence[Mapping[str, Any]]) -> Transfer:
    own = {row["movement_type"]: row for row in rows if _belongs(made, row)}
    out, into = own.get("transfer_out"), own.get("transfer_in")
    return Transfer(
        made,
        shipped=out["units"] if out else Decimal(0),
        received=into["units"] if into else Decimal(0),
        shipped_date=out["first_date"] if out else None,
        received_date=into["last_date"] if into else None,
    )


def _wanted(settings: Settings) -> list[Mapping[str, Any]]:
    """Return what this run would move, as the outbox takes it; `rejection` names what holds it back, else None."""
    return read_rows(
        f"""
        select moves.sku, moves.to_location_id as location_id, moves.from_location_id,
            moves.units::decimal(18, 3) as order_units, lanes.unit_cost,
            case when moves.is_rejected then rejected.proposal_id end as rejection
        from read_parquet({path_literal(settings.predictions / "stock_transfers.parquet")}) as moves
        inner join {read_sql(export_path(settings, "marts.dim_transfer_lanes"))} as lanes
            using (from_location_id, to_location_id)
        left join read_parquet({path_literal(settings.predictions / "rejected_transfers.parquet")}) as rejected
            on rejected.sku = moves.sku and rejected.location_id = moves.to_location_id
            and rejected.from_location_id = moves.from_location_id
        """
    )


def _listed(transfer: Transfer, state: str, cause: str | None) -> dict[str, Any]:
    made = transfer.proposal
    limit = made.rejected_until_units
    return {
        "proposal_id": made.proposal_id,
        "state": state,
        "sku": made.sku,
        "location_id": made.location_id,
        "from_location_id": made.from_location_id,
        "order_units": float(made.order_units),
        "unit_cost": None if made.unit_cost is None else float(made.unit_cost),
        "proposed_for_date": made.as_of_date,
        "order_by_date": made.order_by_date,
        "expected_date": made.expected_date,
        "rejected_until_date": made.rejected_until_date,
        "rejected_until_units": None if limit is None else float(limit),
        "cause": cause or None,
        "acknowledged_units": None if made.acknowledged_units is None else float(made.acknowledged_units),
        "shipped_units": float(transfer.shipped),
        "received_units": float(transfer.received),
    }


def _as_frame(listed: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    kinds = dict.fromkeys((*_TEXTS, "cause"), "string")
    units = (
        "order_units",
        "unit_cost",
        "rejected_until_units",
        "acknowledged_units",
        "shipped_units",
        "received_units",
    )
    kinds |= dict.fromkeys(units, "float64")
    days = ("proposed_for_date", "order_by_date", "expected_date", "rejected_until_date")
    kinds |= dict.fromkeys(days, "datetime64[s]")
    return pd.DataFrame(listed, columns=list(kinds)).astype(kinds)
