"""Work that a request asks for and another process does, as a what-if: who takes it, and what came of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from serving.store.errors import Fenced, UnknownRow
from serving.store.schema import jobs
from serving.store.units import instant


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        job_id: its id.
        kind: as in `what_if`.
        request: what is asked for.
        state: queued, running, done or failed.
        author: who asks.
        fence: hand it back with the answer; a worker that was given up has a lower one.
        created_at: when it was asked for.
        answer: what came of it, or what went wrong; None before.
    """

    job_id: str
    kind: str
    request: Mapping[str, Any]
    state: str
    author: str
    fence: int
    created_at: datetime
    answer: Mapping[str, Any] | None


def add(connection: Connection, job_id: str, kind: str, request: Mapping[str, Any], author: str, now: int) -> None:
    """Ask for work."""
    row = {"job_id": job_id, "kind": kind, "request": json.dumps(dict(request), sort_keys=True), "author": author}
    connection.execute(insert(jobs).values(row | {"state": "queued", "created_at": now, "fence": 0}))


def take(connection: Connection, worker: str, now: int, given_up_before: int) -> Job | None:
    """Take the oldest work that waits, or that a worker took before an instant and never finished.

    Returns:
        None where there is none.
    """
    is_free = or_(jobs.c.state == "queued", (jobs.c.state == "running") & (jobs.c.taken_at < given_up_before))
    found = connection.execute(select(jobs).where(is_free).order_by(jobs.c.created_at, jobs.c.job_id).limit(1)).first()
    if found is None:
        return None
    change = {"state": "running", "worker": worker, "taken_at": now, "fence": found.fence + 1}
    connection.execute(update(jobs).where(jobs.c.job_id == found.job_id).values(change))
    return job(connection, found.job_id)


def finish(connection: Connection, done: Job, state: str, answer: Mapping[str, Any], now: int) -> None:
    """Keep what came of work that was taken.

    Raises:
        Fenced: another worker has taken it since.
    """
    change = {"state": state, "answer": json.dumps(dict(answer), sort_keys=True), "finished_at": now}
    is_held = (jobs.c.job_id == done.job_id) & (jobs.c.fence == done.fence) & (jobs.c.state == "running")
    if connection.execute(update(jobs).where(is_held).values(change)).rowcount != 1:
        raise Fenced(f"Job {done.job_id} was given to another worker, or is finished; this answer is dropped.")


def job(connection: Connection, job_id: str) -> Job:
    """Return one piece of work.

    Raises:
        UnknownRow: there is none of that id.
    """
    row = connection.execute(select(jobs).where(jobs.c.job_id == job_id)).one_or_none()
    if row is None:
        raise UnknownRow(f"There is no job {job_id!r}.")
    answer = None if row.answer is None else json.loads(row.answer)
    named = (row.job_id, row.kind, json.loads(row.request), row.state, row.author, row.fence)
    return Job(*named, instant(row.created_at), answer)
