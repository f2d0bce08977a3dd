"""Slips of the hand in a number: a zero too many, two neighbouring digits exchanged."""

from __future__ import annotations

import numpy as np


def exchanged_digits(units: np.ndarray, place: int) -> np.ndarray:
    """Return whole units with two neighbouring digits exchanged.

    Args:
        units: whole and non-negative.
        place: 0 exchanges ones and tens, 1 tens and hundreds, and so on.
    """
    low, high = 10.0**place, 10.0 ** (place + 1)
    lower, upper = np.floor(units / low) % 10, np.floor(units / high) % 10
    return np.asarray(units + (lower - upper) * (high - low))


def is_slip(recorded: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Say where one number is the other with a zero too many, or with two neighbouring digits exchanged."""
    with np.errstate(invalid="ignore"):
        differs = (recorded != true) & (recorded > 0) & (true > 0)
        slip = (recorded == 10.0 * true) & (true >= 1)
        whole = (recorded == np.floor(recorded)) & (true == np.floor(true))
        for place in range(4):
            slip |= whole & (true >= 10 ** (place + 1)) & (exchanged_digits(true, place) == recorded)
    return np.asarray(differs & slip)
