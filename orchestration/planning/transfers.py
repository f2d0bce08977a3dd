"""Transfers between locations and a run: what is approved, on its way and has come, and what the run proposes.

Belongs here: what a run reads and settles of them. Does not: which movements are whose (transfer_movements.py), what is
decided (ml/restock), orders of suppliers (proposals.py), states and transactions (serving/store).

A transfer counts once. Approved, it is on order where it goes and reserved where it leaves, until its units are
shipped, on one truck or on several. What was shipped and has not come is on order; what has come is stock.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from orchestration.home.settings import Settings
from orchestration.home.sql_text import path_literal
from orchestration.planning.transfer_movements import Matches, Movement, matches, near_misses
from orchestration.warehouse.build import Build
from orchestration.warehouse.exports import export_path, read_rows, read_sql

if TYPE_CHECKING:
    import pandas as pd

    from serving.store import Proposal, Store

_ALL = 1_000_000
_NONE = Decimal(0)
_TEXTS = ("proposal_id", "state", "sku", "location_id", "from_location_id")
# What stands in a transfer for people and the ERP to read, as it was when it was proposed.
_TOLD = (
    *("product_name", "location_name", "from_location_name", "unit_of_measure", "pack_units", "lead_time_days"),
    *("stockout_date", "lost_margin_avoided", "reason"),
)


@dataclass(frozen=True)
class Part:
    """Units of a transfer that come together.

    Attributes:
        units: what is to come where it goes.
        leaving_units: what of it is still on the shelf that it leaves, and promised.
        expected_date: day from which it can be sold.
        shipped_date: local day on which it was shipped; None = it has not left.
    """

    units: Decimal
    leaving_units: Decimal
    expected_date: date
    shipped_date: date | None = None


@dataclass(frozen=True)
class Transfer:
    """A proposed transfer that was decided upon, and what movements say of it by the business day.

    Attributes:
        proposal: as the store has it.
        is_open: whether what has not left is still to be sent: it is committed, as seen from the business day.
        shipments, receipts: units above 0 by local day, in the order of time.
    """

    proposal: "Proposal"
    is_open: bool = False
    shipments: Mapping[date, Decimal] = field(default_factory=dict)
    receipts: Mapping[date, Decimal] = field(default_factory=dict)

    @property
    def shipped(self) -> Decimal:
        """What was shipped so far."""
        return sum(self.shipments.values(), _NONE)

    @property
    def received(self) -> Decimal:
        """What has come so far."""
        return sum(self.receipts.values(), _NONE)

    @property
    def is_moving(self) -> bool:
        """Whether a movement is of it."""
        return bool(self.shipments or self.receipts)

    @property
    def leaving_units(self) -> Decimal:
        """What is still on the shelf that it leaves, and promised: not sent yet, or come and not booked as sent."""
        agreed = self.proposal.coming_units if self.is_open else _NONE
        return max(agreed, self.received) - self.shipped if max(agreed, self.received) > self.shipped else _NONE

    @property
    def coming_units(self) -> Decimal:
        """What is still to come where it goes."""
        return max(self.shipped + self.leaving_units - self.received, _NONE)

    @property
    def lead_days(self) -> int:
        """Days on the way, as the lane had it when it was proposed."""
        return int(Decimal(str(self.proposal.detail.get("lead_time_days") or 0)))

    def parts(self, day: date) -> list[Part]:
        """Return what is still to come or to leave, as a business day knows; what was shipped first comes first."""
        found, come = [], self.received
        for shipped_date, units in self.shipments.items():
            on_its_way = max(units - come, _NONE)
            come = max(come - units, _NONE)
            if on_its_way:
                found.append(Part(on_its_way, _NONE, self._expected(shipped_date), shipped_date))
        if self.leaving_units:
            # What has not left yet cannot come sooner than a shipment of tomorrow.
            tomorrow = day + timedelta(days=self.lead_days + 1)
            expected = max(self.proposal.expected_date or day, tomorrow)
            found.append(Part(max(self.leaving_units - come, _NONE), self.leaving_units, expected))
        return found

    def expected_date(self, day: date) -> date | None:
        """Return the day on which the next of it should come, as is known on a business day; None = nothing is to."""
        return min((part.expected_date for part in self.parts(day)), default=self.proposal.expected_date)

    def ended(self, day: date, overdue_days: int) -> tuple[str, str] | None:
        """Return the state in which a run of a business day ends it, and why; None = it stands."""
        from serving.store import units_text, why_ended

        if not self.is_moving:
            why = why_ended(self.proposal, day, overdue_days)
            return None if why is None else ("expired", why)
        came = f"{units_text(self.received)} units came by {max(self.receipts)}" if self.receipts else ""
        if not self.coming_units and not self.leaving_units:
            return "received", came
        last = max(self._expected(sent) for sent in (*self.shipments, None)) + timedelta(days=overdue_days)
        if last >= day:
            return None
        missing = self.shipped - self.received
        rest = f"the rest of {units_text(self.leaving_units)} was not sent by {last}" if self.leaving_units else ""
        if missing > 0:
            lost = (
                f"{units_text(missing)} of {units_text(self.shipped)} units have not come by {last}: count both shelves"
            )
            return "expired", f"{lost}; {rest}" if rest else lost
        if missing < 0:
            return "expired", f"{came}, and {units_text(self.shipped)} were booked as sent: count both shelves"
        return "received", f"{came}; {rest}, and is expected no more"

    def _expected(self, shipped_date: date | None) -> date:
        planned = self.proposal.expected_date or self.proposal.as_of_date
        if shipped_date is None:
            return planned
        return shipped_date + timedelta(days=self.lead_days) if self.lead_days else max(planned, shipped_date)


def transfers_of(settings: Settings, build: Build, store: "Store") -> list[Transfer]:
    """Return the transfers that people have committed to, or that movements are of, by id.

    One that movements are of counts whatever was decided of it: what was shipped is on its way. On a day looked back
    at, one whose movements came later has not left yet.
    """
    return _moving(build, store, matches(settings, store))


def counted_transfers(settings: Settings, build: Build, store: "Store") -> list[Transfer]:
    """Return the transfers that count in this run: on order where they go, reserved where they leave."""
    as_of, overdue_days = build.as_of_date, settings.proposal_overdue_days
    return [each for each in transfers_of(settings, build, store) if each.ended(as_of, overdue_days) is None]


def open_transfers(settings: Settings, build: Build, store: "Store") -> "pd.DataFrame":
    """Return the transfers that count in this run, those on several trucks in as many parts.

    Returns:
        proposal_id, state, sku, from_location_id, location_id, order_units (of the transfer, as approved, or as the ERP
        has it), on_order_units (still to come), leaving_units (still where it leaves), unit_cost, periods_ahead (≥ 1),
        order_by_date, expected_date, shipped_date (empty = has not left), proposed_for_date.
    """
    import pandas as pd

    as_of, rows = build.as_of_date, []
    for each in counted_transfers(settings, build, store):
        made = each.proposal
        rows += [
            {
                "proposal_id": made.proposal_id,
                "state": made.state,
                "sku": made.sku,
                "location_id": made.location_id,
                "from_location_id": made.from_location_id,
                "order_units": float(made.coming_units),
                "on_order_units": float(part.units),
                "leaving_units": float(part.leaving_units),
                "unit_cost": None if made.unit_cost is None else float(made.unit_cost),
                "periods_ahead": max((part.expected_date - as_of).days, 1),
                "order_by_date": made.order_by_date,
                "expected_date": part.expected_date,
                "shipped_date": part.shipped_date,
                "proposed_for_date": made.as_of_date,
            }
            for part in each.parts(as_of)
        ]
    kinds = dict.fromkeys(_TEXTS, "string")
    kinds |= dict.fromkeys(("order_units", "on_order_units", "leaving_units", "unit_cost"), "float64")
    kinds |= {"periods_ahead": "int32"}
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
    names = ["state", "acknowledged_units", "shipped_units", "received_units", "nearly_matched"]
    names += ["adjusted_units", "adjusted_by"]
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
        adjusted_units, adjusted_by, shipped_units, received_units, nearly_matched (movements that nearly are of it, and
        what to do), decided_until. What this run decides of a transfer is empty here.
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
    matched = matches(settings, store)
    every = _moving(build, store, matched)
    ends = {each.proposal.proposal_id: each.ended(as_of, settings.proposal_overdue_days) for each in every}
    near = _near_misses([each for each in every if ends[each.proposal.proposal_id] is None], matched)
    for each in every:
        end = ends[each.proposal.proposal_id]
        if end is None and (each.is_open or each.is_moving):
            about_it = {
                "expected_date": each.expected_date(as_of),
                "nearly_matched": near.get(each.proposal.proposal_id),
            }
            rows.append(_listed(each, each.proposal.state, None) | about_it)
        elif end is None:
            continue
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
    from serving.store import Shipment, units_text

    as_of, every = build.as_of_date, transfers_of(settings, build, store)
    moving = [each for each in every if each.is_moving]
    ended = {each.proposal.proposal_id: each.ended(as_of, settings.proposal_overdue_days) for each in moving}
    return {
        "shipments": {
            each.proposal.proposal_id: Shipment(
                max(each.shipped, each.received),
                f"{units_text(each.shipped)} units on {min(each.shipments)}"
                if each.shipments
                else f"{units_text(each.received)} units came on {max(each.receipts)}, the shipment is not booked",
            )
            for each in moving
        },
        "unshipped": [
            each.proposal.proposal_id for each in every if each.proposal.has_order_line and not each.is_moving
        ],
        "ended_transfers": {named: end for named, end in ended.items() if end is not None},
    }


def misnamed_movements(settings: Settings, store: "Store") -> list[str]:
    """Return a sentence for each movement of a transfer that names a proposal it cannot belong to."""
    found = []
    for movement, made in matches(settings, store).misnamed:
        what = f"the transfer of {made.sku} from {made.from_location_id} to {made.location_id}"
        found.append(
            f"{movement} names proposal {made.proposal_id}, which is {what if made.is_transfer else 'an order'}: it "
            f"does not count as part of it; send line {movement.line} of document {movement.document} again with the "
            "right reference and the next revision"
        )
    return sorted(found)


def _moving(build: Build, store: "Store", matched: Matches) -> list[Transfer]:
    """Return the transfers that people have committed to, or that movements are of, by id."""
    known = {named: made for named, made in matched.proposals.items() if matched.movements.get(named)}
    known |= {made.proposal_id: made for made in store.open_orders().proposals}
    states = ("acknowledged", "received") if build.looks_back else ("acknowledged",)
    known |= {made.proposal_id: made for state in states for made in store.proposals(state=state, limit=_ALL)}
    return [
        _progress(build, made, matched.movements.get(proposal_id, ()))
        for proposal_id, made in sorted(known.items())
        if made.is_transfer and made.as_of_date <= build.as_of_date
    ]


def _progress(build: Build, made: "Proposal", movements: Sequence[Movement]) -> Transfer:
    units: dict[str, defaultdict[date, Decimal]] = {
        kind: defaultdict(Decimal) for kind in ("transfer_out", "transfer_in")
    }
    for movement in movements:
        units[movement.movement_type][movement.day] += movement.units
    # One that a run has ended on this day, or a later one, stood when this day ended.
    stood = made.ended_date is not None and made.ended_date >= build.as_of_date
    is_open = made.is_committed or (stood and made.state in ("received", "expired"))
    return Transfer(made, is_open, units["transfer_out"], units["transfer_in"])


def _near_misses(standing: Iterable[Transfer], matched: Matches) -> dict[str, str]:
    waiting = []
    for each in standing:
        if each.is_open or each.is_moving:
            waiting += [
                (each.proposal, "transfer_out", each.leaving_units),
                (each.proposal, "transfer_in", each.coming_units),
            ]
    return near_misses(waiting, matched.unnamed)


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
        "adjusted_units": None if made.adjusted_units is None else float(made.adjusted_units),
        "adjusted_by": made.adjusted_by,
        "shipped_units": float(transfer.shipped),
        "received_units": float(transfer.received),
    }


def _as_frame(listed: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    kinds = dict.fromkeys((*_TEXTS, "cause", "nearly_matched", "adjusted_by"), "string")
    units = (
        "order_units",
        "unit_cost",
        "rejected_until_units",
        "acknowledged_units",
        "adjusted_units",
        "shipped_units",
        "received_units",
    )
    kinds |= dict.fromkeys(units, "float64")
    days = ("proposed_for_date", "order_by_date", "expected_date", "rejected_until_date")
    kinds |= dict.fromkeys(days, "datetime64[s]")
    return pd.DataFrame(listed, columns=list(kinds)).astype(kinds)
