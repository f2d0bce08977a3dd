"""Which channel speaks for a source, so that the same sale cannot enter by two.

The online store is one channel whatever way an event took to it, because it recognises its own duplicates; landing
files and SQL sources are others.
"""

from sqlalchemy import Connection, insert, select, update

from serving.store.errors import SourceTaken
from serving.store.schema import authorities

ONLINE_STORE = "online_store"


def take(connection: Connection, source: str, channel: str, now: int, *, transfer: bool) -> None:
    """Make a channel the authority of a source; see `Store.take_authority`."""
    holder = connection.execute(
        select(authorities.c.channel).where(authorities.c.source == source)
    ).scalar_one_or_none()
    if holder == channel:
        return
    if holder is None:
        connection.execute(insert(authorities).values(source=source, channel=channel, recorded_at=now))
    elif transfer:
        connection.execute(
            update(authorities).where(authorities.c.source == source).values(channel=channel, recorded_at=now)
        )
    else:
        raise SourceTaken(refusal(source, holder, channel))


def taken_elsewhere(connection: Connection, sources: set[str], now: int) -> dict[str, str]:
    """Take sources for the online store; returns the channel of each that another one holds."""
    known = holders(connection)
    for source in sorted(sources - known.keys()):
        take(connection, source, ONLINE_STORE, now, transfer=False)
    return {source: known[source] for source in sources & known.keys() if known[source] != ONLINE_STORE}


def holders(connection: Connection) -> dict[str, str]:
    """Return the channel of every source that has one."""
    found = connection.execute(select(authorities).order_by(authorities.c.source))
    return {row.source: row.channel for row in found}


def refusal(source: str, holder: str, channel: str) -> str:
    """Return why a channel may not bring events of a source."""
    return (
        f"source {source!r} is owned by channel {holder}; loading it from {channel} as well would count facts twice. "
        f"Stop one of them, or transfer the source to {channel}."
    )
