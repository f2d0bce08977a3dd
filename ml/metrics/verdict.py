"""The verdict of a gate: one row per criterion, and the table that people read.

Here: what a row says and how it is shown, the same for every model. Not here: what is judged (`ml.backtest.gate`,
`ml.replay.gate`, and each training).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

NOT_KNOWN = "–"
PROMOTION, PUBLICATION, NOTHING = "promotion", "promotion and publication", "nothing"
TABLE_COLUMNS = (
    "result",
    "measure",
    "segment",
    "ours",
    "competitor",
    "competitor's",
    "ratio",
    "90 % interval",
    "needed",
    "blocks",
)
VERDICT_COLUMNS = (
    *("criterion", "measure", "segment", "competitor", "ours", "theirs", "ratio", "low", "high", "is_own_interval"),
    *("is_more_better", "value", "threshold", "needed", "blocks", "met", "passed"),
)


@dataclasses.dataclass(frozen=True)
class Criterion:
    """One row of a verdict.

    Attributes:
        measure: what was measured, such as "pinball of 7-day sums".
        value: what is compared; NaN = it could not be measured, which meets the criterion.
        threshold: what it is compared with; NaN = it is only reported.
        needed: what the criterion asks, in words.
        blocks: whether a criterion that is not met keeps the model from promotion.
        segment: what was measured on; "all" = everything.
        competitor: whose figure stands beside ours; empty = nobody's.
        ours: our figure.
        theirs: that of the competitor.
        low: end of a 90 % interval, of the ratio ours / theirs, or of our figure where `is_own_interval`.
        high: its other end.
        is_own_interval: see there.
        is_more_better: the value must be at least the threshold; else at most.
        name: how the criterion is called where one line has to do.
    """

    measure: str
    value: float
    threshold: float
    needed: str
    blocks: bool
    segment: str = "all"
    competitor: str = ""
    ours: float = math.nan
    theirs: float = math.nan
    low: float = math.nan
    high: float = math.nan
    is_own_interval: bool = False
    is_more_better: bool = False
    name: str = ""

    @property
    def criterion(self) -> str:
        """Name of the criterion, which is unique within a verdict."""
        beside = f"{self.measure} over {self.competitor}" if self.competitor else self.measure
        return self.name or f"{beside}, {self.segment}"

    @property
    def met(self) -> bool:
        """Whether the criterion is met."""
        worse = self.threshold - self.value if self.is_more_better else self.value - self.threshold
        return not worse > 1e-12

    @property
    def ratio(self) -> float:
        """Our figure over that of the competitor; NaN where there is none, infinite over nothing."""
        if math.isnan(self.ours) or math.isnan(self.theirs):
            return math.nan
        if self.theirs > 0:
            return self.ours / self.theirs
        return 1.0 if self.ours <= 0 else math.inf


def verdict_frame(criteria: Sequence[Criterion]) -> pd.DataFrame:
    """Return a verdict: one row per criterion.

    Returns:
        `VERDICT_COLUMNS`, as of `Criterion`; passed = met, or does not block. The gate passes when every row does.
    """
    rows = [
        [*(getattr(one, name) for name in VERDICT_COLUMNS[:-2]), one.met, one.met or not one.blocks] for one in criteria
    ]
    return pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))


def verdict_table(verdict: pd.DataFrame, *, is_publication_blocked: bool = False) -> pd.DataFrame:
    """Return a verdict as a table for people, all text: what failed first, then what is not met, then the rest.

    Args:
        verdict: from `verdict_frame`.
        is_publication_blocked: whether nothing of this model is published until a version passes.

    Returns:
        `TABLE_COLUMNS`; blocks is "promotion", "promotion and publication" or "nothing".
    """
    rank = np.select([~verdict["passed"].astype(bool), ~verdict["met"].astype(bool)], [0, 1], 2)
    ordered = verdict.assign(rank=rank).sort_values("rank", kind="stable").to_dict("records")
    blocking = PUBLICATION if is_publication_blocked else PROMOTION
    rows = [
        (
            ("FAILED", "not met", "met")[row["rank"]],
            str(row["measure"]),
            str(row["segment"]).replace("_", " "),
            number(row["ours"]),
            str(row["competitor"]).replace("_", " ") or NOT_KNOWN,
            number(row["theirs"]),
            number(row["ratio"]),
            _interval(row),
            str(row["needed"]),
            blocking if row["blocks"] else NOTHING,
        )
        for row in ordered
    ]
    return pd.DataFrame(rows, columns=list(TABLE_COLUMNS))


def _interval(row: Mapping[Hashable, Any]) -> str:
    """Return the interval of a row, and of what it is where it is not that of the ratio."""
    text = interval(row["low"], row["high"])
    return f"{text} of ours" if row["is_own_interval"] and math.isfinite(row["high"]) else text


def number(value: float | None, places: int = 3) -> str:
    """Return a number for people, with three decimals, or none where it is large; a dash where it is not known."""
    if value is None or math.isnan(value):
        return NOT_KNOWN
    if math.isinf(value):
        return "without bound"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{places}f}"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval for people; a dash where it is not known, and in words where it has no end."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return NOT_KNOWN
    if math.isinf(high):
        return "too few to say"
    return f"{number(low)} to {number(high)}"
