"""One writer for many callers of a process: what waits is appended together, in one transaction.

Belongs here: gathering calls and giving each its own report. Does not: what an append does (ledger.py). Other processes
write beside it as they do without it.
"""

import os
import queue
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Self

from serving.store.errors import StoreError, StoreUnavailable
from serving.store.ledger import Delivery, joined
from serving.store.outcomes import AppendReport, parts
from serving.store.store import Store

_MOST_EVENTS = 2_000


@dataclass(frozen=True)
class _Call:
    delivered: Delivery
    answer: Future[AppendReport] = field(default_factory=Future)


@dataclass(frozen=True)
class _ErrorsOf:
    """Hands an error to whoever waits for the future: the thread that writes goes on."""

    future: Future[AppendReport]

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, Exception):
            self.future.set_exception(error)
            return True
        return False


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
        self._process = os.getpid()
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
            StoreError: the writer is closed or has failed, or another process made it: its thread is not in a fork.
        """
        if os.getpid() != self._process:
            raise StoreError("Another process made this writer of the online store. Make one in this process.")
        call = _Call(self._store.delivery(events, source=source))
        with self._lock:
            if self._is_closed:
                raise StoreError("The writer of the online store is closed: the process ends. Send the events again.")
            self._calls.put(call)
        return call.answer.result()

    def close(self) -> None:
        """Write what was handed in, and end; in a fork of the process that made it there is nothing to do."""
        if os.getpid() != self._process:
            return
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._calls.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        calls: list[_Call] = []
        is_open = True
        try:
            while is_open:
                calls, is_open = self._waiting()
                by_channel: dict[str, list[_Call]] = {}
                for call in calls:
                    by_channel.setdefault(call.delivered.channel, []).append(call)
                for group in by_channel.values():
                    self._write(group)
        finally:
            self._end(calls)

    def _end(self, calls: Sequence[_Call]) -> None:
        """Take no more, and answer whoever still waits: without this thread nobody would."""
        with self._lock:
            self._is_closed = True
        left = list(calls)
        while not self._calls.empty():
            call = self._calls.get()
            left += [] if call is None else [call]
        for call in left:
            if not call.answer.done():
                call.answer.set_exception(
                    StoreError("The writer of the online store has failed. Send the events again.")
                )

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
        together: Future[AppendReport] = Future()
        with _ErrorsOf(together):
            together.set_result(self._store.append_delivered(joined([call.delivered for call in group])))
        error = together.exception()
        if error is None:
            sizes = [len(call.delivered.given) for call in group]
            for call, part in zip(group, parts(together.result(), sizes), strict=True):
                call.answer.set_result(part)
        elif len(group) == 1 or isinstance(error, StoreUnavailable):
            for call in group:
                call.answer.set_exception(error)
        else:
            # Nothing of the group is in the log; what one call hands in is no reason to refuse the others.
            for call in group:
                self._write([call])
