"""How forecasts are backtested: which windows, what is drawn for them and what is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd

from ml.panel import Frequency


@dataclasses.dataclass(frozen=True)
class BacktestSetup:
    """The windows of a backtest, and what is scored in them.

    Attributes:
        freq: period length, as pandas names it ("D", "W-MON", "MS").
        horizon: periods that a window forecasts.
        windows: how many, >= 1.
        step: periods between the starts of two windows, >= 1.
        season_length: periods of a season; None = as the frequency has it.
        last_origin: last observed period of the last window; None = the last window ends with the data.
        spans: lengths of sums, from the first period on, scored from sample paths.
        paths: paths drawn for the sums.
        keep_forecasts: keep every forecast (memory: 150 bytes a row).
        seed: given to the model specs and the paths.

    Raises:
        ValueError: when there is no window or no step.
    """

    freq: str
    horizon: int
    windows: int
    step: int
    season_length: int | None = None
    last_origin: pd.Timestamp | None = None
    spans: Sequence[int] = ()
    paths: int = 200
    keep_forecasts: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse windows that cannot be."""
        if self.windows < 1 or self.step < 1:
            raise ValueError(f"windows is {self.windows}, step is {self.step}: both must be 1 or more")

    @property
    def frequency(self) -> Frequency:
        """Periods and season."""
        return Frequency.of(self.freq, self.season_length)
