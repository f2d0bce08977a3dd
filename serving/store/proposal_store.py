"""The online store as those see it who propose, decide on and order: every method one transaction.

What proposals mean and how they are kept is in proposing.py, decisions.py, handing_out.py, turning_back.py and
proposals.py; here is only which transaction they run in.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from serving.store import decisions, handing_out, ledger, proposals, proposing, staging, turning_back
from serving.store.database import Database
from serving.store.decisions import Decision, Outcome
from serving.store.errors import UnknownRow, WrongState
from serving.store.handing_out import Acknowledgement
from serving.store.proposals import Proposal
from serving.store.proposing import Announcement, OpenOrders, ProposeReport
from serving.store.units import instant, microseconds


class ProposalStore:
    """The proposals of a store."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def open_orders(self) -> OpenOrders:
        """Return committed proposals without a purchase order line: what counts as on order besides the lines."""
        with self._database.read() as connection:
            return proposing.open_orders(connection)

    def rejections(self, day: date) -> list[Proposal]:
        """Return the rejected proposals that hold a need back on a business day, by item: one for each at most."""
        with self._database.read() as connection:
            return proposing.rejections(connection, day)

    def propose(
        self,
        as_of_date: date,
        lines: Iterable[Mapping[str, Any]],
        *,
        seen_version: int,
        counted: Collection[str] = (),
        author: str,
    ) -> ProposeReport:
        """Make the lines of a run the undecided proposals.

        A line that already stands proposed with the same supplier, units and cost keeps its id; what this run no
        longer wants, or wants otherwise, is superseded; an item that was approved or exported after the run had
        read `open_orders` is skipped, so two runs at once never order twice; so is a need that a person has
        rejected, for as long as the rejection holds.

        Args:
            as_of_date: the day whose state was decided on.
            lines: all lines of the run, one per item: `sku`, `location_id`, `supplier_id` or, of a transfer,
                `from_location_id`, `order_units`, and optionally `unit_cost`, `order_by_date`, `expires_date`,
                `expected_date`, `needed_units` (what the item alone would order, without its supplier's minimum and
                the budget: held against rejections; the order where it is left out), `proposal_id` (as announced) and
                `detail` (JSON values; `needed_units` is what a rejection starts from, `pack_units` what a need grows by
                at least; `beside`, ids of the others that the run decided for the item at its location, and
                `place_needed_units`, what it lacks there in all, tell what an approval makes needless).
            seen_version: `open_orders().version`, read before the run computed its lines.
            counted: ids of the committed proposals that the run counted as on order; they may have moved on since.
            author: run id.

        Raises:
            StoreError: a line is malformed, an item occurs twice, or a later day has proposed before.
        """
        with staging.write(self._database) as connection:
            now = microseconds(self._clock())
            return proposing.propose(
                connection, as_of_date, lines, seen_version=seen_version, counted=counted, author=author, now=now
            )

    def announce_proposals(
        self,
        as_of_date: date,
        lines: Iterable[Mapping[str, Any]],
        *,
        seen_version: int,
        counted: Collection[str] = (),
    ) -> Announcement | None:
        """Return what `propose` will make of each line: the id it will give, or the rejection that holds it back.

        A line that hands the announced id to `propose` as `proposal_id` is proposed under that id or, where somebody
        proposed or decided in between, skipped.

        Args:
            as_of_date: as of `propose`.
            lines: as of `propose`.
            seen_version: as of `propose`.
            counted: as of `propose`.

        Returns:
            Ids and rejections, without the items that were decided upon since; None where a later day has proposed
            before.

        Raises:
            StoreError: a line is malformed, or an item occurs twice.
        """
        with self._database.read() as connection:
            return proposing.announce(connection, as_of_date, lines, seen_version=seen_version, counted=counted)

    def decide_proposals(
        self,
        proposal_ids: Sequence[str],
        decision: str,
        *,
        event_ids: Sequence[str],
        author: str,
        reason: str = "",
        until_date: date | None = None,
        until_grows_percent: Decimal | None = None,
    ) -> list[Outcome]:
        """Approve, reject or cancel proposals, all or none, in one transaction; approval events in the log.

        A decision that stands already changes nothing and is no refusal. Repeating the call with the same event ids
        is harmless.

        Args:
            proposal_ids: which, each once.
            decision: `approved`; `rejected`, of what is not handed out yet; `cancelled`, of what is approved or handed
                out and the ERP will not order.
            event_ids: an id that the caller made for each decision.
            author: who decides.
            reason: why.
            until_date: business day from which the rejected need may be proposed again.
            until_grows_percent: the rejected need is proposed again when it has grown by more than that, and by more
                than a unit or pack. A rejection without either holds for 28 days or until the need has grown by 50 %.

        Returns:
            An outcome for each; where any is refused, nothing was changed.

        Raises:
            StoreError: the decision breaks a rule.
        """
        made = [
            Decision(
                *(proposal_id, decision, event_id, author, reason),
                until_date=until_date,
                until_grows_percent=until_grows_percent,
            )
            for proposal_id, event_id in zip(proposal_ids, event_ids, strict=True)
        ]
        return self.decide(made, is_all_or_none=True)

    def decide(self, made: Sequence[Decision], *, is_all_or_none: bool = False) -> list[Outcome]:
        """Record decisions on proposals, each with its outcome, in one transaction; approval events in the log.

        A decision that stands already changes nothing and is no refusal. Repeating the call with the same event ids
        is harmless.

        Args:
            made: decisions, of each proposal one.
            is_all_or_none: change nothing where any is refused.

        Returns:
            An outcome for each, in the order given; one that is refused changed nothing.

        Raises:
            StoreError: a decision breaks a rule.
        """
        now = microseconds(self._clock())
        with staging.write(self._database) as connection:
            return ledger.decide(self._database, connection, made, now, is_all_or_none=is_all_or_none)

    def decide_proposal(self, proposal_id: str, decision: str, *, event_id: str, author: str, reason: str = "") -> None:
        """Decide on one proposal; see `decide_proposals`.

        Raises:
            UnknownRow: there is no such proposal.
            WrongState: its state does not allow the decision.
            StoreError: the decision breaks a rule.
        """
        (outcome,) = self.decide_proposals([proposal_id], decision, event_ids=[event_id], author=author, reason=reason)
        if outcome.is_refused:
            with self._database.read() as connection:
                known = proposals.rows_by_id(connection, [proposal_id])
            text = f"Proposal {proposal_id!r}: {outcome.message}."
            raise WrongState(text) if known else UnknownRow(text)

    def pull_proposals(self, *, author: str, limit: int = 1_000) -> list[Proposal]:
        """Hand out what is to be ordered, under stable ids, until each is acknowledged, has its line or is cancelled.

        Approved proposals become exported; exported ones are handed out again, so a crash between this call and the
        acknowledgement loses nothing. The receiver creates one order line per proposal_id, however often it comes.

        Raises:
            Unconfirmed: the store was restored, and nobody has confirmed what the ERP holds.
            StoreError: a proposal was changed outside the store.
        """
        with staging.write(self._database) as connection:
            return handing_out.pull(connection, author=author, limit=limit, now=microseconds(self._clock()))

    def withdrawn_proposals(self) -> list[Proposal]:
        """Return what was handed out, has ended since, and the ERP has not acknowledged as withdrawn; by id."""
        with self._database.read() as connection:
            return handing_out.withdrawn(connection)

    def acknowledge_proposals(self, acknowledged: Sequence[Acknowledgement], *, author: str) -> list[Outcome]:
        """Note what the ERP ordered of each proposal, in one transaction; repeating it changes nothing.

        What the ERP did stands, so a line that is refused keeps no other from being noted. Of fewer units than
        proposed the rest is not on order. The same order number with other units corrects what was said before.

        Returns:
            An outcome for each, in their order.
        """
        with staging.write(self._database) as connection:
            return handing_out.acknowledge(connection, acknowledged, author=author, now=microseconds(self._clock()))

    def acknowledge_proposal(
        self, proposal_id: str, erp_order: str, *, author: str, ordered_units: Decimal | None = None
    ) -> Proposal:
        """Note that the ERP made an order of a proposal; see `acknowledge_proposals`.

        Raises:
            UnknownRow: there is no such proposal.
            WrongState: it was not exported, or is another ERP order already.
        """
        said = Acknowledgement(proposal_id, erp_order, ordered_units)
        (outcome,) = self.acknowledge_proposals([said], author=author)
        found, _ = self.proposal(proposal_id)
        if outcome.is_refused:
            raise WrongState(f"Proposal {proposal_id}: {outcome.message}.")
        return found

    def order_lines_appeared(self, orders: Mapping[str, str], *, author: str) -> list[str]:
        """Let purchase order lines stand for their proposals, which then count as on order no longer.

        Args:
            orders: purchase order and line, as `PO-17:1`, by proposal_id; unknown ids are left alone.
            author: run id.

        Returns:
            Ids of the proposals whose line was not known before.
        """
        with staging.write(self._database) as connection:
            return proposing.line_appeared(connection, orders, author=author, now=microseconds(self._clock()))

    def expire_proposals(self, day: date, *, author: str) -> list[str]:
        """End what was not decided or exported by its expires_date, and what was never delivered; returns the ids.

        Never delivered is what was exported and has no purchase order line 14 days after its expected day.
        """
        with staging.write(self._database) as connection:
            ended = proposing.expire(connection, day, author=author, now=microseconds(self._clock()))
        return [proposal_id for proposal_id, _ in ended]

    def turn_back(self, as_of_date: date, *, author: str, overdue_days: int = proposing.OVERDUE_DAYS) -> list[str]:
        """Undo what runs of later days did, where the movements tell now that those days have not been.

        Committed proposals that ended for a later day alone stand again, unless somebody has committed to another one
        for the item since; what was proposed for a later day counts as of this one. Repeating it changes nothing.

        Args:
            as_of_date: the business day that the movements tell.
            author: run id.
            overdue_days: as of `why_ended`.

        Returns:
            Ids of the proposals that stand again.
        """
        with staging.write(self._database) as connection:
            now = microseconds(self._clock())
            return turning_back.turn_back(connection, as_of_date, overdue_days, author=author, now=now)

    def proposals_ended_on(self, day: date) -> list[Proposal]:
        """Return the proposals that a run of this business day has ended, by id."""
        with self._database.read() as connection:
            return proposing.ended_on(connection, day)

    def decided_until(self) -> datetime | None:
        """Return when a person or the ERP last decided on a proposal or pulled one; None = never."""
        with self._database.read() as connection:
            moment = decisions.decided_until(connection)
        return None if moment is None else instant(moment)

    def restored_at(self) -> datetime | None:
        """Return when the store was restored; None where nobody has to confirm anything."""
        with self._database.read() as connection:
            moment = decisions.restored_at(connection)
        return None if moment is None else instant(moment)

    def confirm_restored(self, held: Iterable[str] = (), *, author: str, reason: str = "") -> list[Proposal]:
        """Confirm after a restore what the ERP holds, and let exports go on.

        Args:
            held: ids that the ERP holds; they count as exported.
            author: who has looked.
            reason: why.

        Raises:
            UnknownRow: an id is known nowhere; nothing is changed.
        """
        with staging.write(self._database) as connection:
            now = microseconds(self._clock())
            return decisions.confirm(connection, held, author=author, reason=reason, now=now)

    def proposal(self, proposal_id: str) -> tuple[Proposal, list[dict[str, Any]]]:
        """Return a proposal and its history.

        Raises:
            UnknownRow: there is no such proposal.
        """
        with self._database.read() as connection:
            return proposals.proposal(connection, proposal_id), proposals.steps(connection, proposal_id)

    def proposals_named(self, ids: Iterable[str]) -> dict[str, Proposal]:
        """Return the proposals that exist among ids, by id."""
        with self._database.read() as connection:
            return proposals.named(connection, ids)

    def proposals_of_orders(self, numbers: Iterable[str]) -> list[Proposal]:
        """Return the proposals whose ERP order, or order and line, is one of these, by id."""
        with self._database.read() as connection:
            return proposals.of_orders(connection, numbers)

    def proposals_in_orders(self, order_ids: Iterable[str]) -> list[Proposal]:
        """Return the proposals that were handed out in these orders and stand, by id."""
        with self._database.read() as connection:
            return proposals.in_orders(connection, order_ids)

    def proposals(
        self,
        *,
        state: str | None = None,
        location_ids: Collection[str] | None = None,
        supplier_id: str | None = None,
        after: str = "",
        limit: int = 1_000,
    ) -> list[Proposal]:
        """Return proposals ordered by id.

        Args:
            state: of this state alone.
            location_ids: for these locations alone.
            supplier_id: to this supplier alone.
            after: the last id seen, for paging.
            limit: so many at most.
        """
        with self._database.read() as connection:
            return proposals.rows(
                connection, state=state, location_ids=location_ids, supplier_id=supplier_id, after=after, limit=limit
            )
