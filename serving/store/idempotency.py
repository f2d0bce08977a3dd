"""The answers of requests that may come again: the same request of a caller acts once and is answered the same.

Belongs here: the key, the body it stands for, and the answer. Does not: the effect, which belongs to the transaction in
which `finish` is called.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from serving.store.errors import StoreError, WrongState
from serving.store.schema import idempotency


class OtherBody(StoreError):
    """The key stands for another request of the caller."""


@dataclass(frozen=True)
class Answer:
    """What a request was answered.

    Attributes:
        status: HTTP status.
        body: bytes of the answer.
    """

    status: int
    body: bytes


def begin(connection: Connection, caller: str, key: str, body_sha256: str, now: int) -> Answer | None:
    """Return the answer that the request got before, None where it is to be done now.

    Raises:
        OtherBody: the key was used for another body.
        WrongState: the same request is at work.
    """
    is_it = (idempotency.c.caller == caller) & (idempotency.c.idempotency_key == key)
    known = connection.execute(select(idempotency).where(is_it)).one_or_none()
    if known is None:
        row = {"caller": caller, "idempotency_key": key, "body_sha256": body_sha256, "recorded_at": now}
        connection.execute(insert(idempotency).values(row))
        return None
    if known.body_sha256 != body_sha256:
        raise OtherBody(f"Idempotency key {key!r} was used for another request; make a new key for each request.")
    if known.status is None:
        raise WrongState(f"The request with idempotency key {key!r} is at work; ask again in a moment.")
    return Answer(known.status, bytes(known.answer))


def finish(connection: Connection, caller: str, key: str, answer: Answer) -> None:
    """Keep the answer of a request, in the transaction of its effect."""
    is_it = (idempotency.c.caller == caller) & (idempotency.c.idempotency_key == key)
    connection.execute(update(idempotency).where(is_it).values(status=answer.status, answer=answer.body))


def give_up(connection: Connection, caller: str, key: str) -> None:
    """Forget a request that had no effect, so that it may come again."""
    is_it = (idempotency.c.caller == caller) & (idempotency.c.idempotency_key == key)
    connection.execute(delete(idempotency).where(is_it, idempotency.c.status.is_(None)))


def forget(connection: Connection, before: int) -> int:
    """Forget what came before an instant, in microseconds; returns how many."""
    return int(connection.execute(delete(idempotency).where(idempotency.c.recorded_at < before)).rowcount)
