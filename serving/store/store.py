"""The online store as its callers see it: one object, every method one transaction.

What the rows mean and how they are kept is in the modules beside it; here is only which transaction they run in. The
methods on proposals are in proposal_store.py.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection

from serving.store import (
    authorities,
    backup,
    chain,
    epochs,
    ledger,
    log,
    policies,
    publications,
    quarantine,
    recovery,
    staging,
    stock,
)
from serving.store.chain import VerifyReport
from serving.store.database import Database
from serving.store.epochs import Epoch
from serving.store.errors import StoreError
from serving.store.ledger import Place, Refusal
from serving.store.log import MovementBatch
from serving.store.migrate import exists, migrate, require_current
from serving.store.outcomes import AppendReport
from serving.store.policies import EffectivePolicy, PolicyOverride
from serving.store.proposal_store import ProposalStore
from serving.store.proposing import Outbox, ProposeReport
from serving.store.quarantine import QuarantinedRow
from serving.store.recovery import Published, Recovered
from serving.store.stock import LiveStock, PublishedUnitsAfter
from serving.store.units import instant, microseconds

_BATCH_ROWS = 10_000


def _now() -> datetime:
    return datetime.now(UTC)


class Store(ProposalStore):
    """The online store at a URL.

    Safe to share between threads. After a fork the child opens its own.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], datetime] = _now,
        clock_tolerance: timedelta = timedelta(hours=24),
        published_units_after: PublishedUnitsAfter | None = None,
    ) -> None:
        super().__init__(database, clock)
        self._clock_tolerance = clock_tolerance
        self._published_units_after = published_units_after

    @staticmethod
    def migrate(url: str) -> int:
        """Create the store or bring it to the current schema; safe to repeat and to call twice at once.

        Args:
            url: `sqlite:////folder/online_store.sqlite` or `postgresql://user@host/database`.

        Returns:
            The schema version reached.

        Raises:
            StoreError: the URL is not usable.
            StoreUnavailable: the database cannot be opened.
            StoreOutdated: a later version of this software made the database.
        """
        return migrate(url)

    @staticmethod
    def exists(url: str) -> bool:
        """Tell whether there is an online store, of whichever schema version; a look does not make one.

        Raises:
            StoreError: the URL is not usable.
            StoreUnavailable: the database cannot be opened.
        """
        return exists(url)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Callable[[], datetime] = _now,
        clock_tolerance: timedelta = timedelta(hours=24),
        published_units_after: PublishedUnitsAfter | None = None,
    ) -> Self:
        """Open a store that `migrate` made.

        Args:
            url: as for `migrate`.
            clock: gives the time for `ingested_at` and `recorded_at`; aware.
            clock_tolerance: an event that claims to have occurred later than this after `clock` is quarantined.
            published_units_after: reads the published generation when a count arrives that lies before published
                movements which never passed through this store; without it such an item is marked unsettled.

        Raises:
            StoreOutdated: the schema version differs; the message names the remedy.
            StoreUnavailable: the database cannot be opened.
        """
        database = Database(url)
        try:
            require_current(database)
        except StoreError:
            database.close()
            raise
        return cls(database, clock=clock, clock_tolerance=clock_tolerance, published_units_after=published_units_after)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(
        self,
        events: Iterable[Mapping[str, Any]],
        *,
        source: str,
        offsets: Mapping[tuple[str, int], int] | None = None,
        places: Sequence[Place] | None = None,
        refusals: Sequence[Refusal] = (),
    ) -> AppendReport:
        """Add events to the log, bring live stock, policies and proposals up to them, in one transaction.

        Idempotent: what is known with the same content is counted as duplicate, what is known with other content
        and what breaks a rule goes to the quarantine, and the rest is accepted. "Same content" is event type,
        occurred_at, sku, location_id, movement_type, quantity, price, lot, reference, reason and, for decisions,
        their own fields; not recorded_at, author or device.

        Args:
            events: movements with the contract columns of raw/stock_movements, or decisions with their
                `event_type`: restock_request, policy_override, approval, forecast_override, alert_action, snooze,
                manual_order. Quantities and money are int, Decimal or
                text, never float; instants are datetime or ISO 8601 text, UTC where no offset is given.
            source: the channel they came in by, as in `api` or `stream`; kept with batch, quarantine and offsets.
            offsets: next offset to read by (topic, partition); never moves backwards.
            places: where each event stood at its source, as long as `events`; kept with what is quarantined.
            refusals: what could not be read as an event at all, to be quarantined in the same transaction.

        Returns:
            Counts that add up, what became of each event in the order given, and the head of the chain.
        """
        return self.append_delivered(
            self.delivery(events, source=source, offsets=offsets, places=places, refusals=refusals)
        )

    def delivery(
        self,
        events: Iterable[Mapping[str, Any]],
        *,
        source: str,
        offsets: Mapping[tuple[str, int], int] | None = None,
        places: Sequence[Place] | None = None,
        refusals: Sequence[Refusal] = (),
    ) -> ledger.Delivery:
        """Return what `append` is handed, read and checked; arguments as of `append`. Nothing is written."""
        now = self._clock()
        return ledger.delivery(
            events,
            channel=source,
            now=microseconds(now),
            latest_instant=microseconds(now + self._clock_tolerance),
            places=places,
            refusals=refusals,
            offsets=offsets,
        )

    def append_delivered(self, delivered: ledger.Delivery) -> AppendReport:
        """Add what `delivery` has checked; see `append`."""
        return ledger.append_at_once(self._database, delivered, self._published_units_after)

    def reading(self) -> AbstractContextManager[Connection]:
        """Return a snapshot for the functions of accounts, alerts, audit, idempotency and jobs."""
        return self._database.read()

    def writing(self) -> AbstractContextManager[Connection]:
        """Return a write transaction for the functions of accounts, alerts, audit, idempotency and jobs."""
        return self._database.write()

    def offsets(self, source: str) -> dict[tuple[str, int], int]:
        """Return the next offset to read by (topic, partition) of a channel."""
        with self._database.read() as connection:
            return ledger.offsets(connection, source)

    def reset_offset(self, source: str, topic: str, partition: int, next_offset: int) -> None:
        """Set an offset, also backwards: for a topic that was made again."""
        with self._database.write() as connection:
            ledger.reset_offset(connection, source, topic, partition, next_offset, microseconds(self._clock()))

    def take_authority(self, source: str, channel: str, *, transfer: bool = False) -> None:
        """Make a channel the one that speaks for a source; movements of it by another channel are refused.

        The online store takes a source by itself with its first movement, under the name `online_store`.

        Args:
            source: as in the movements, as `pos`.
            channel: as in `landing` or the name of a SQL source.
            transfer: take it from the channel that holds it.

        Raises:
            SourceTaken: another channel holds it, and `transfer` is not given.
        """
        with self._database.write() as connection:
            authorities.take(connection, source, channel, microseconds(self._clock()), transfer=transfer)

    def authorities(self) -> dict[str, str]:
        """Return the channel that speaks for each source."""
        with self._database.read() as connection:
            return authorities.holders(connection)

    def events_since(self, sequence: int, limit: int | None = None) -> Iterator[MovementBatch]:
        """Yield movements and counts after `sequence` in commit order, in batches of at most 10,000.

        Args:
            sequence: 0 for everything, else the `last_sequence` of the last batch read.
            limit: at most so many movements in all; None = until the head.
        """
        remaining = limit
        while remaining is None or remaining > 0:
            size = _BATCH_ROWS if remaining is None else min(_BATCH_ROWS, remaining)
            with self._database.read() as connection:
                batch = log.movements_since(connection, sequence, size)
            if batch is None:
                return
            if len(batch):
                yield batch
            sequence = batch.last_sequence
            if remaining is not None:
                remaining -= len(batch)

    def decisions_since(self, sequence: int, limit: int = 1_000) -> list[dict[str, Any]]:
        """Return the events that are no movements after `sequence`, in commit order."""
        with self._database.read() as connection:
            return log.decisions_since(connection, sequence, limit)

    def head(self) -> tuple[int, str]:
        """Return sequence and chain hash of the last event; (0, zeros) of an empty log."""
        with self._database.read() as connection:
            return log.head(connection)

    def waiting_movements(self, sequence: int) -> tuple[int, datetime | None]:
        """Return how many movements and counts came after `sequence`, and when the first of them did.

        Decisions wait for no publication: they take effect when they are made.
        """
        with self._database.read() as connection:
            count, first = log.waiting_movements(connection, sequence)
        return count, None if first is None else instant(first)

    def verify(self, anchors: Iterable[tuple[int, str]] = ()) -> VerifyReport:
        """Walk the whole chain and report every event changed, added, removed or cut off.

        Args:
            anchors: (sequence, chain hash) noted outside the store, as in the manifests of generations.
        """
        with self._database.read() as connection:
            return chain.verify(connection, anchors)

    def backup(self, path: str | Path) -> VerifyReport:
        """Write a checked snapshot to a SQLite file while others go on writing.

        Raises:
            StoreError: the file exists, its folder does not, or the copy does not verify.
        """
        return backup.backup(self._database, Path(path))

    @staticmethod
    def restore(path: str | Path, url: str) -> VerifyReport:
        """Fill an empty or absent store from a backup, into either kind of database.

        The epoch of proposal ids advances, and nothing is exported until somebody confirms what the ERP holds
        (`confirm_restored`); `reconcile` puts back what is published outside the store.

        Raises:
            StoreError: there is no such backup, or it is damaged.
            StoreNotEmpty: the store at `url` holds something.
        """
        return backup.restore(Path(path), url, microseconds(_now()))

    def claim(self, name: str, run_id: str, detail: Mapping[str, Any] | None = None) -> int:
        """Return a fence number for a name; every earlier holder of the name is fenced from here on.

        Args:
            name: as in `generation` or `champion/demand_forecast`.
            run_id: who claims.
            detail: JSON values worth remembering.
        """
        with self._database.write() as connection:
            return epochs.claim(connection, name, run_id, detail or {}, microseconds(self._clock()))

    def advance(self, name: str, fence: int, value: str, detail: Mapping[str, Any] | None = None) -> Epoch:
        """Give the name a new value; repeating the call with the same value changes nothing.

        Raises:
            Fenced: a later claim of the name exists.
            StoreError: nobody was given this fence.
        """
        with self._database.write() as connection:
            return epochs.advance(connection, name, fence, value, detail or {}, microseconds(self._clock()))

    def publish(
        self, name: str, fence: int, value: str | None, detail: Mapping[str, Any], outbox: Outbox
    ) -> ProposeReport:
        """Give the name a new value and settle the outbox with it, at once: both or neither.

        What changes is prepared in short transactions whose rows nobody sees; a kill before the last of them leaves
        what was in force. Repeating the call changes nothing.

        Args:
            name: as of `claim`.
            fence: as of `advance`.
            value: new value; None where the current one stays, as its content has not changed.
            detail: as of `advance`.
            outbox: lines to propose and order lines that have appeared.

        Raises:
            Fenced: a later claim of the name exists.
            StoreError: nobody was given this fence, or a line is malformed.
        """
        return publications.publish(
            self._database, name, fence, value, detail, outbox, lambda: microseconds(self._clock())
        )

    def epoch(self, name: str) -> Epoch | None:
        """Return the value the name has, None before the first."""
        with self._database.read() as connection:
            return epochs.current(connection, name)

    def epochs(self, name: str) -> list[Epoch]:
        """Return every value the name has had, oldest first."""
        with self._database.read() as connection:
            return epochs.history(connection, name)

    def quarantine_add(
        self, *, source: str, position: str, original: bytes | str, rule: str, reason: str
    ) -> int | None:
        """Put a row into quarantine; returns its number, None where it lies there already."""
        content = original.encode() if isinstance(original, str) else original
        held = quarantine.Held(source, position, content, rule, reason)
        with self._database.write() as connection:
            (kept,) = quarantine.add(connection, [held], microseconds(self._clock()))
        return kept.quarantine_id if kept.is_new else None

    def quarantine(
        self, *, state: str | None = "open", source: str | None = None, after: int = 0, limit: int = 1_000
    ) -> list[QuarantinedRow]:
        """Return quarantined rows in the order they came; `after` is the last number seen, for paging."""
        with self._database.read() as connection:
            return quarantine.rows(connection, state=state, channel=source, after=after, limit=limit)

    def quarantine_show(self, quarantine_id: int) -> tuple[QuarantinedRow, list[dict[str, Any]]]:
        """Return a row and what was done to it.

        Raises:
            UnknownRow: there is none of that number.
        """
        with self._database.read() as connection:
            return quarantine.row(connection, quarantine_id), quarantine.steps(connection, quarantine_id)

    def quarantine_counts(self) -> dict[str, int]:
        """Return added, open, released, discarded; the first is always the sum of the others."""
        with self._database.read() as connection:
            return quarantine.counts(connection)

    def quarantine_fix(self, quarantine_id: int, text: bytes | str, *, author: str, reason: str) -> None:
        """Keep a corrected text beside the original; `quarantine_release` will use it.

        Raises:
            UnknownRow: there is none of that number.
            WrongState: it was settled before.
        """
        content = text.encode() if isinstance(text, str) else text
        with self._database.write() as connection:
            now = microseconds(self._clock())
            quarantine.correct(connection, quarantine_id, content, author, reason, now)

    def quarantine_release(
        self,
        quarantine_id: int,
        *,
        author: str,
        reason: str,
        check: Callable[[Mapping[str, Any]], str | None] | None = None,
    ) -> AppendReport:
        """Append an open row, corrected or as it came, through the same checks as any event, in one transaction.

        Args:
            quarantine_id: number of the row.
            author: who releases it.
            reason: why.
            check: a further check of the channel it came in by, as of a JSON Schema; returns the reason of a refusal.

        Raises:
            UnknownRow: there is none of that number.
            WrongState: it was settled before.
            StillRefused: it fails its checks again; it stays open.
        """
        now = self._clock()
        with staging.write(self._database) as connection:
            row = quarantine.open_row(connection, quarantine_id)
            report = ledger.release(
                self._database,
                connection,
                row,
                check=check,
                now=microseconds(now),
                latest_instant=microseconds(now + self._clock_tolerance),
                units_after=self._published_units_after,
            )
            quarantine.settle(connection, quarantine_id, "released", author, reason, microseconds(now))
        return report

    def quarantine_discard(self, quarantine_id: int, *, author: str, reason: str) -> None:
        """Settle an open row as not wanted; it stays readable.

        Raises:
            UnknownRow: there is none of that number.
            WrongState: it was settled before.
        """
        with self._database.write() as connection:
            now = microseconds(self._clock())
            quarantine.settle(connection, quarantine_id, "discarded", author, reason, now)

    def live_stock(self, sku: str, location_id: str) -> LiveStock | None:
        """Return what an item's stock is this instant, None where nothing is known of it."""
        with self._database.read() as connection:
            return stock.of_item(connection, sku, location_id)

    def live_stocks(
        self,
        location_id: str | None = None,
        *,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
        since_version: int | None = None,
    ) -> list[LiveStock]:
        """Return the stock of items by sku and location; one snapshot.

        Args:
            location_id: of this location alone.
            after: sku and location of the last item seen, for paging.
            limit: so many items at most; None = all.
            since_version: only items that have changed after this version of live stock; read `stock_version` before
                the first page, and ask for what has changed since then.
        """
        with self._database.read() as connection:
            return stock.of_all(connection, location_id, after, limit, since_version)

    def movements_of(self, sku: str, location_id: str, limit: int = 50) -> list[dict[str, Any]]:
        """Return the last movements and counts of an item, the latest first, with author and device where known."""
        with self._database.read() as connection:
            return log.movements_of(connection, sku, location_id, limit)

    def stock_version(self) -> int:
        """Return the version of live stock, which advances with each append and publication."""
        with self._database.read() as connection:
            return stock.version(connection)

    def rebase_stock(
        self, published: Iterable[Mapping[str, Any]], *, units_after: PublishedUnitsAfter | None = None
    ) -> int:
        """Let live stock stand on what a newly published generation knows beyond this ledger.

        Items follow in short transactions, so that no movement waits for all of them; each item is right by itself.

        Args:
            published: per item the fold of the published movements that did **not** come from this store: `sku`,
                `location_id`, `on_hand_units`, `counted_at` (instant of their last count, or None) and
                `last_occurred_at` (instant of their last movement or count). Items left out contribute nothing.
            units_after: reads the published movements behind a count of the ledger; that of `open` where not given.

        Returns:
            Items whose published contribution changed.

        Raises:
            StoreError: a row is malformed, or an item occurs twice.
        """
        states = stock.published_states(published)
        with self._database.read() as connection:
            items = stock.to_rebase(connection, states)
        changed, begun, pace = 0, 0, staging.Pace()
        while begun < len(items):
            part = items[begun : begun + pace.rows]
            begun += len(part)
            with pace.turn(self._database) as connection:
                changed += stock.rebase(connection, part, states, units_after or self._published_units_after)
        return changed

    def policy_overrides(self, day: date | None = None) -> list[PolicyOverride]:
        """Return the overrides that hold on a day; all that were ever made where no day is given."""
        with self._database.read() as connection:
            return policies.overrides(connection, day)

    def effective_policy(
        self, *, sku: str, location_id: str, segments: Sequence[str] = (), day: date
    ) -> dict[str, EffectivePolicy]:
        """Return what holds for one item on a day, by setting, with the override it comes from.

        Args:
            sku: stock keeping unit.
            location_id: location.
            segments: names of the segments it belongs to.
            day: local day.
        """
        held = self.policy_overrides(day)
        return policies.effective(held, sku=sku, location_id=location_id, segments=segments)

    def reconcile(self, published: Published) -> Recovered:
        """Take back what is published and the store does not know, after a restore or where an older store was put in.

        The generation that readers see becomes the current one of the store; proposals that generations and the
        archive name are put back under their ids; sequences of the ledger and ids of proposals that the lost part
        gave out are given out no more; and exports wait until somebody confirms what the ERP holds
        (`confirm_restored`).
        """
        with staging.write(self._database) as connection:
            return recovery.reconcile(self._database, connection, published, microseconds(self._clock()))
