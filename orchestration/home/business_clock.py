"""The business clock as a value. Reading it off the movements is ingest's (ingest/business_day.py)."""

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True)
class BusinessClock:
    """What the movements say about time.

    Attributes:
        as_of: last day that is complete at every location that is in use.
        counts_from: movements before this instant have a date that cannot be right; None = there are none.
        counts_until: movements from this instant on have a date that cannot be right; None = there are none.
    """

    as_of: date
    counts_from: datetime | None = None
    counts_until: datetime | None = None
