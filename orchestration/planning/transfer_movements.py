"""Which movements belong to which transfer: by the id they name, else by the number under which the ERP knows it.

Belongs here: matching, and what nearly matches. Does not: what of a transfer counts where (transfers.py).

A movement belongs to one transfer at most. Where the ERP moves several of one product under one number, each takes what
was agreed of it, in the order of their ids, and the last one takes the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from orchestration.home.settings import Settings
from orchestration.warehouse.exports import export_path, read_rows, read_sql

if TYPE_CHECKING:
    from serving.store import Proposal, Store

_ALIKE = Decimal("0.25")


@dataclass(frozen=True)
class Movement:
    """A movement between locations, or the part of one that is of a transfer; units are above 0."""

    source: str
    document: str
    line: int
    reference: str | None
    sku: str
    location_id: str
    movement_type: str
    units: Decimal
    day: date

    @property
    def names(self) -> list[str]:
        """Under which numbers the ERP may know the transfer that it is part of."""
        return [name for name in (self.reference, f"{self.document}:{self.line}", self.document) if name]

    def fits(self, made: "Proposal") -> bool:
        """Tell whether it moves the product of a transfer where the transfer leaves or goes to."""
        place = made.from_location_id if self.movement_type == "transfer_out" else made.location_id
        return made.is_transfer and (self.sku, self.location_id) == (made.sku, place)

    def __str__(self) -> str:
        from serving.store import units_text

        return f"a {self.movement_type} of {units_text(self.units)} {self.sku} at {self.location_id} on {self.day}"


@dataclass(frozen=True)
class Matches:
    """What the movements of a home say of its transfers.

    Attributes:
        proposals: that movements name by their id, or by the ERP's number of them; by id.
        movements: of each transfer, by the day; none of one that they name and cannot belong to.
        misnamed: movements that name a proposal by its id and cannot belong to it, with the proposal.
        unnamed: movements that belong to no proposal.
    """

    proposals: Mapping[str, "Proposal"]
    movements: Mapping[str, Sequence[Movement]]
    misnamed: Sequence[tuple[Movement, "Proposal"]]
    unnamed: Sequence[Movement]


def matches(settings: Settings, store: "Store") -> Matches:
    """Return which movements, by this run's knowledge, belong to which transfer."""
    moved = _movements(settings)
    named = store.proposals_named(movement.reference for movement in moved if movement.reference)
    numbered: dict[str, list[Proposal]] = {}
    for made in store.proposals_of_orders(name for movement in moved for name in movement.names):
        if made.is_transfer and made.erp_order:
            numbered.setdefault(made.erp_order, []).append(made)
    own: dict[str, list[Movement]] = {}
    misnamed, others, unnamed = [], [], []
    for movement in moved:
        made_by_id = named.get(movement.reference or "")
        if made_by_id is None:
            others.append(movement)
        elif movement.fits(made_by_id):
            own.setdefault(made_by_id.proposal_id, []).append(movement)
        else:
            misnamed.append((movement, made_by_id))
    for movement in others:
        found = [made for name in movement.names for made in numbered.get(name, ()) if _is_of(movement, made)]
        parts = _parts(movement, list({made.proposal_id: made for made in found}.values()), own)
        for proposal_id, part in parts:
            own.setdefault(proposal_id, []).append(part)
        if not parts:
            unnamed.append(movement)
    known = named | {made.proposal_id: made for every in numbered.values() for made in every}
    return Matches(
        known, {each: sorted(rows, key=lambda row: row.day) for each, rows in own.items()}, misnamed, unnamed
    )


def near_misses(waiting: Iterable[tuple["Proposal", str, Decimal]], unnamed: Sequence[Movement]) -> dict[str, str]:
    """Return what nearly is part of a transfer without naming it, and what to do; in words, by proposal_id.

    A movement is near to one transfer at most: same product and place, since the transfer was proposed, and units that
    differ by a quarter, or by one unit, at most.

    Args:
        waiting: of each transfer that stands, transfer_out or transfer_in, and the units that it still waits for.
        unnamed: movements that belong to no proposal.
    """
    texts_of: dict[str, list[str]] = {}
    left = list(unnamed)
    for made, kind, units in sorted(waiting, key=lambda each: (each[0].proposal_id, each[1] == "transfer_in")):
        near = [
            movement
            for movement in left
            if movement.movement_type == kind and _is_of(movement, made)
            and abs(movement.units - units) <= max(units * _ALIKE, Decimal(1))
        ]  # fmt: skip
        if units <= 0 or not near:
            continue
        nearest = min(near, key=lambda movement: (abs(movement.units - units), movement.day))
        left.remove(nearest)
        counts = "to be sent" if kind == "transfer_out" else "to come"
        texts_of.setdefault(made.proposal_id, []).append(
            f"{nearest} names no transfer and is nearly this one, which still counts as {counts}: if it is part of it, "
            f"send line {nearest.line} of document {nearest.document} again with reference {made.proposal_id} and the "
            "next revision"
        )
    return {proposal_id: "; ".join(texts) for proposal_id, texts in texts_of.items()}


def _movements(settings: Settings) -> list[Movement]:
    rows = read_rows(
        f"""
        select source, document, line, reference, sku, location_id, movement_type, units, day
        from {read_sql(export_path(settings, "marts.fct_transfer_movements"))}
        order by day, source, document, line
        """
    )
    return [Movement(**row) for row in rows]


def _is_of(movement: Movement, made: "Proposal") -> bool:
    """Tell whether a movement may be part of a transfer that it does not name: none is part of a later one."""
    return movement.fits(made) and movement.day >= made.as_of_date


def _parts(
    movement: Movement, candidates: Sequence["Proposal"], own: Mapping[str, Sequence[Movement]]
) -> list[tuple[str, Movement]]:
    """Return which part of a movement each of the transfers takes that the ERP knows under its number."""
    parts, left = [], movement.units
    for made in sorted(candidates, key=lambda each: each.proposal_id):
        before = own.get(made.proposal_id, ())
        taken = sum((each.units for each in before if each.movement_type == movement.movement_type), Decimal(0))
        units = min(left, max(made.coming_units - taken, Decimal(0)))
        if units > 0:
            parts.append((made.proposal_id, replace(movement, units=units)))
            left -= units
    if left > 0 and candidates:
        last = max(made.proposal_id for made in candidates)
        parts.append((last, replace(movement, units=left)))
    return parts
