"""What has arrived and no batch holds yet: files of the landing folder and events of the online store.

Belongs here: looking. Does not: taking in (batches), deciding to run (defs/jobs.py).
"""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from orchestration.ingest.contract import load_contract
from orchestration.ingest.landing import LandingFolder, LandingPlace
from orchestration.ingest.manifests import ledger_watermark, read_manifests

_STILL_WRITTEN_SECONDS = 5.0


@dataclass(frozen=True)
class Waiting:
    """What waits for the next run.

    Attributes:
        seen: hash of all that lies in the landing folder and of the head of the ledger; equal = nothing came since.
        files: files that no batch was made from, as `table/name`.
        events: ledger sequences behind the last batch.
    """

    seen: str
    files: tuple[str, ...]
    events: int

    def __bool__(self) -> bool:
        return bool(self.files or self.events)


def look_around(landing: Path | LandingPlace, raw: Path, head: int) -> Waiting:
    """Say what waits, without reading any file.

    A file written to within the last five seconds is left for the next look. A file that holds what another one held
    before may be named: only an ingest reads it and finds out.

    Args:
        landing: landing folder.
        raw: folder of arrival batches.
        head: last sequence of the ledger.

    Raises:
        LandingUnavailable: the landing folder lies in S3, which does not answer.
    """
    place = LandingFolder(landing) if isinstance(landing, Path) else landing
    now = time.time_ns()
    # An object of S3 appears whole.
    window = int(_STILL_WRITTEN_SECONDS * 1e9) if isinstance(place, LandingFolder) else 0
    lying, fresh = [], []
    for table in load_contract():
        known = {file.mark for manifest in read_manifests(raw / table.name) for file in manifest.files}
        for file in place.look(table.name, settle_seconds=0).files:
            # A clock that runs ahead of ours is no reason to wait for it.
            if not 0 <= now - file.mark[1] < window:
                lying.append((table.name, file.name, file.mark))
                fresh += [] if file.mark in known else [f"{table.name}/{file.name}"]
    seen = hashlib.sha256(json.dumps([head, lying]).encode()).hexdigest()
    return Waiting(seen, tuple(fresh), max(head - ledger_watermark(raw), 0))
