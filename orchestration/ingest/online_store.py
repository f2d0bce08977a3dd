"""What ingest asks of the online store: the movements behind the last batch, and which channel speaks for a source."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.ingest.batches import Claim
from orchestration.ingest.manifests import ledger_watermark
from orchestration.ingest.staging import Events

if TYPE_CHECKING:
    from serving.store import Store

_MOVEMENTS_AT_ONCE = 1_000_000


def events_behind(store: "Store", raw: Path) -> Events | None:
    """Return the movements that no arrival batch holds yet, at most a million; None when there are none."""
    watermark = ledger_watermark(raw)
    batches = list(store.events_since(watermark, _MOVEMENTS_AT_ONCE))
    if not batches:
        return None
    rows = [
        dict(zip(batch.columns, values, strict=True))
        for batch in batches
        for values in zip(*batch.columns.values(), strict=True)
    ]
    return Events(rows, watermark + 1, batches[-1].last_sequence)


def claims_of(store: "Store") -> Claim:
    """Return a claim that takes sources of movements for a channel, in the online store.

    A source that has no channel yet gets the one it came by; a source that another channel speaks for is refused, so
    that the same sale does not enter by two.
    """
    from serving.store import SourceTaken

    def claim(sources: frozenset[str], channel: str) -> Mapping[str, str]:
        known, refused = store.authorities(), {}
        for source in sorted(source for source in sources if known.get(source) != channel):
            try:
                store.take_authority(source, channel)
            except SourceTaken as error:
                refused[source] = str(error)
        return refused

    return claim
