"""One writer for many callers of a process: what waits is appended together, in one transaction.

Belongs here: gathering calls and giving each its own report. Does not: what an append does (ledger.py). Other processes
write beside it as they do without it.
"""

import queue
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

from serving.store.errors import StoreError
from serving.store.ledger import Delivery, joined
from serving.store.outcomes import AppendReport, parts
from serving.store.store import Store

_MOST_EVENTS = 2_000


@dataclass(frozen=True)
class _Call:
    delivered: Delivery
    answer: Future[AppendReport] = field(default_factory=Future)


class GroupWriter:
    """Appends for many threads; a commit then serves all that waited for it."""

    def __init__(self, store: Store) -> None:
        """Start the thread that writes.

        Args:
            store: where events go; stays open as long as this.
        """
        self._store = store
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_closed = False
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="group-append")
        self._thread = threading.Thread(target=self._work, name="group-writer", daemon=True)
        self._thread.start()

    def append(self, events: Iterable[Mapping[str, Any]], *, source: str) -> AppendReport:
        """Add events to the log; returns once they are committed.

        Args:
            events: as of `Store.append`.
            source: as of `Store.append`.

        Returns:
            What became of these events; sequence and chain hash are those after all that were appended together.

        Raises:
            StoreUnavailable: the database does not answer; nothing of this call is in the log.
            StoreError: the writer is closed.
        """
        call = _Call(self._store.delivery(events, source=source))
        with self._lock:
            if self._is_closed:
                raise StoreError("The writer of the online store is closed: the process ends. Send the events again.")
            self._calls.put(call)
        return call.answer.result()

    def close(self) -> None:
        """Write what was handed in, and end."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._calls.put(None)
        self._thread.join()
        self._executor.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        is_open = True
        while is_open:
            calls, is_open = self._waiting()
            by_channel: dict[str, list[_Call]] = {}
            for call in calls:
                by_channel.setdefault(call.delivered.channel, []).append(call)
            for group in by_channel.values():
                self._write(group)

    def _waiting(self) -> tuple[list[_Call], bool]:
        """Return the calls that wait, at least one, and whether more may come."""
        calls: list[_Call] = []
        events = 0
        call = self._calls.get()
        while call is not None:
            calls.append(call)
            events += len(call.delivered.given)
            if events >= _MOST_EVENTS:
                return calls, True
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return calls, True
        return calls, False

    def _write(self, group: Sequence[_Call]) -> None:
        # A future holds whatever error there is: whoever waits must hear of it, and the next group is written.
        written = self._executor.submit(self._store.append_delivered, joined([call.delivered for call in group]))
        error = written.exception()
        if error is not None:
            for call in group:
                call.answer.set_exception(error)
            return
        sizes = [len(call.delivered.given) for call in group]
        for call, part in zip(group, parts(written.result(), sizes), strict=True):
            call.answer.set_result(part)
