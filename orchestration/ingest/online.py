"""Movements of the online store as an arrival: what the ledger holds behind the last batch."""

from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.ingest.arrivals import Events
from orchestration.ingest.manifests import ledger_watermark

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
