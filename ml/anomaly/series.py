"""A frame of daily series of stock: its columns, sorted by series and day, read without a copy.

What the days of a series mean does not belong here (`ml.anomaly.features`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

KEYS = ["sku", "location_id", "day"]
REQUIRED = ["opening_units", "receipt_units", "sales_units", "other_units", "closing_units"]
OPTIONAL = [
    "demand_units",
    "is_in_stock",
    "is_open",
    "unit_price",
    "counted_change_units",
    "max_line_units",
    "repeated_line_units",
    "repeated_gap_minutes",
    "expected_receipt_units",
    "sale_unit_price",
]


@dataclass(frozen=True)
class SeriesTable:
    """A frame of daily series, sorted by series and day without being copied.

    Attributes:
        frame: as given.
        order: row of the frame for each sorted row; position: sorted row for each row of the frame.
        code: series of each sorted row, 0, 1, ...; starts: first sorted row of each series.
        place: location of each series, 0, 1, ...; day: days since 1970-01-01 of each sorted row.
    """

    frame: pd.DataFrame
    order: np.ndarray
    position: np.ndarray
    code: np.ndarray
    starts: np.ndarray
    place: np.ndarray
    day: np.ndarray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.order)

    @property
    def lengths(self) -> np.ndarray:
        """Number of rows of each series."""
        return np.diff(np.append(self.starts, self.rows))

    @classmethod
    def read(cls, frame: pd.DataFrame) -> SeriesTable:
        """Check the columns and keys of a frame and sort it.

        Args:
            frame: columns `KEYS`, `REQUIRED` and any of `OPTIONAL`.

        Raises:
            ValueError: when a column or key is missing, a key occurs twice, or there is no row.
        """
        missing = [name for name in [*KEYS, *REQUIRED] if name not in frame.columns]
        if missing:
            raise ValueError(f"series has no column {', '.join(missing)}: it needs {', '.join([*KEYS, *REQUIRED])}")
        if frame.empty:
            raise ValueError("series has no rows: pass at least one sku, location and day")
        for name in KEYS:
            empty = frame[name].isna().to_numpy()
            if empty.any():
                row = int(np.flatnonzero(empty)[0])
                raise ValueError(f"row {row} has no {name} ({frame[KEYS].iloc[row].tolist()}): fill the key")
        sku, _ = pd.factorize(frame["sku"], sort=True)
        location, locations = pd.factorize(frame["location_id"], sort=True)
        day = day_numbers(frame["day"])
        pair = sku.astype(np.int64) * len(locations) + location
        order = np.lexsort((day, pair)) if not _is_sorted(pair, day) else np.arange(len(frame))
        pair, day = pair[order], day[order]
        first = np.append(True, pair[1:] != pair[:-1])
        double = np.flatnonzero(~first[1:] & (day[1:] == day[:-1]))
        if len(double):
            key = frame[KEYS].iloc[int(order[double[0] + 1])].tolist()
            raise ValueError(f"two rows for {key}: one row per sku, location and day is needed, add them up first")
        position = np.empty(len(order), dtype=np.int64)
        position[order] = np.arange(len(order))
        starts = np.flatnonzero(first)
        return cls(
            frame=frame,
            order=order,
            position=position,
            code=np.cumsum(first) - 1,
            starts=starts,
            place=location[order[starts]],
            day=day,
        )

    def column(self, name: str, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return a column as float64 for some sorted rows; what is absent is worked out or NaN.

        Args:
            name: one of `REQUIRED` or `OPTIONAL`.
            rows: sorted rows.

        Raises:
            ValueError: when a number is infinite, or missing in a required column.
        """
        order = self.order[rows]
        if name in self.frame.columns:
            values = self.frame[name].iloc[order].to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            values = np.full(len(order), np.nan)
        broken = np.isinf(values) | np.isnan(values) if name in REQUIRED else np.isinf(values)
        if broken.any():
            row = int(order[np.flatnonzero(broken)[0]])
            key = self.frame[KEYS].iloc[row].tolist()
            raise ValueError(f"{name} is {self.frame[name].iloc[row]} for {key} (row {row}): give a finite number")
        unknown = np.isnan(values)
        if name == "is_open":
            values[unknown] = 1.0
        elif name == "demand_units" and unknown.any():
            values = np.where(unknown, np.maximum(self.column("sales_units", rows), 0.0), values)
        elif name == "is_in_stock" and unknown.any():
            had = self.column("opening_units", rows) + self.column("receipt_units", rows)
            values = np.where(unknown, had > 0, values)
        elif name == "counted_change_units":
            # The count that opens a series enters its first stock; it corrects nothing.
            opens = np.zeros(self.rows, dtype=bool)
            opens[self.starts] = True
            opens = opens[rows]
            values[opens & (self.column("opening_units", rows) == 0)] = np.nan
        return values

    def frame_of(self, codes: np.ndarray) -> pd.DataFrame:
        """Return the rows of some series, sorted, under a fresh index."""
        return self.frame.iloc[self.order[np.isin(self.code, codes)]].reset_index(drop=True)


def day_numbers(days: pd.Series) -> np.ndarray:
    """Return days since 1970-01-01; dates, timestamps and ISO text are understood."""
    return pd.to_datetime(days).to_numpy().astype("datetime64[D]").astype(np.int64)


def day_number(day: pd.Timestamp) -> int:
    """Return days since 1970-01-01."""
    return int(np.datetime64(pd.Timestamp(day), "D").astype(np.int64))


def key_index(frame: pd.DataFrame) -> pd.MultiIndex:
    """Return sku, location_id and day as one index; days compare whatever their type."""
    return pd.MultiIndex.from_arrays([frame["sku"], frame["location_id"], day_numbers(frame["day"])])


def _is_sorted(pair: np.ndarray, day: np.ndarray) -> bool:
    """Say whether rows are in order of series and day already."""
    later = pair[1:] > pair[:-1]
    return bool((later | ((pair[1:] == pair[:-1]) & (day[1:] >= day[:-1]))).all())
