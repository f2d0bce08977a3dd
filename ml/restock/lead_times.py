"""Lead times as distributions: draws for new orders and for open ones.

Here belongs how long an order takes. What to order because of it is in `ml.restock`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

Integers = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def keyed_ranks(keys: pd.DataFrame, n: int, seed: int) -> npt.NDArray[np.int64]:
    """Return a random permutation of 0 … n−1 per key; one more key changes no other's.

    Args:
        keys: sku, location_id; one row per item-location.
        n: draws per key.
        seed: base seed; the generator is keyed by (seed, sku, location_id).

    Returns:
        Integers [keys, n]; every row is a permutation.
    """
    return np.argsort(_keyed_bits(keys, n, seed), axis=1)  # the mixing is one to one, so no two are equal


def _keyed_bits(keys: pd.DataFrame, n: int, seed: int) -> npt.NDArray[np.uint64]:
    """Return random bits [keys, n]: those of SplitMix64 (Steele, Lea and Flood, 2014)."""
    text = keys["sku"].astype(str) + "\x1f" + keys["location_id"].astype(str)
    start = pd.util.hash_array(text.to_numpy(dtype=object), hash_key="inventorybot-key", categorize=False)
    with np.errstate(over="ignore"):
        start = start ^ (np.uint64(seed % 2**63) * _MIX_1 + _GOLDEN)
        state = start[:, None] + np.arange(1, n + 1, dtype=np.uint64)[None, :] * _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
        return np.asarray(state ^ (state >> np.uint64(31)))


def draw_lead_times(
    keys: pd.DataFrame,
    planned: npt.NDArray[np.float64],
    mean: npt.NDArray[np.float64],
    sd: npt.NDArray[np.float64],
    n: int,
    *,
    samples: list[npt.NDArray[np.float64] | None] | None = None,
    seed: int = 0,
) -> npt.NDArray[np.int32]:
    """Draw n whole lead times per key, stratified, so that the draws hold the distribution itself.

    With samples the draws are their empirical quantiles; else, with a positive sd, a log-normal with that mean and sd
    (lead times are positive and skewed to the right), rounded to whole periods; else the planned lead time.

    Args:
        keys: sku, location_id.
        planned: whole planning lead time, periods [keys].
        mean: mean lead time, periods [keys]; NaN = the planned one.
        sd: standard deviation, periods [keys]; NaN or 0 = certain.
        n: draws per key.
        samples: measured lead times per key, periods, or None where there are none.
        seed: base seed, see `keyed_ranks`.

    Returns:
        Lead times in periods [keys, n], at least 1 where the planned one is; 0 = sold from the next period on.
    """
    draws = np.repeat(planned.astype(np.int32)[:, None], n, axis=1)
    has_samples = np.array(
        [s is not None and len(s) > 0 for s in samples] if samples is not None else [False] * len(keys), dtype=bool
    )
    uncertain = has_samples | (np.nan_to_num(sd) > 0)
    if not uncertain.any():
        return draws
    level, least = (np.arange(n) + 0.5) / n, np.minimum(planned, 1)
    # What is certain to come at once has no logarithm.
    rows = np.flatnonzero(uncertain & ~has_samples & ((planned > 0) | (np.nan_to_num(mean) > 0)))
    if rows.size:
        centre = np.where(np.isfinite(mean[rows]) & (mean[rows] > 0), mean[rows], planned[rows])
        variance = np.log1p((sd[rows] / centre) ** 2)
        log_value = (np.log(centre) - variance / 2)[:, None] + np.sqrt(variance)[:, None] * ndtri(level)[None, :]
        draws[rows] = np.clip(np.rint(np.exp(log_value)), least[rows, None], 10_000).astype(np.int32)
    for row in np.flatnonzero(has_samples):
        measured = np.sort(np.asarray(samples[row], dtype=np.float64))  # type: ignore[index]
        draws[row] = np.maximum(
            np.rint(measured[np.minimum((level * measured.size).astype(int), measured.size - 1)]), least[row]
        )
    rows = np.flatnonzero(uncertain)
    ranks = keyed_ranks(keys.iloc[rows], n, seed)
    draws[rows] = np.take_along_axis(draws[rows], ranks, axis=1)
    return draws


def draw_next_lead_times(keys: pd.DataFrame, leads: Integers, review: Integers, seed: int) -> Integers:
    """Draw the lead times of the orders that follow one review after those of drawn lead times.

    They are the same draws in another order, picked at random among all orders in which none arrives before the order
    it follows: each order's lead time keeps its distribution, and no order overtakes.

    Args:
        keys: sku, location_id.
        leads: drawn lead times, periods [keys, n].
        review: periods between the two orders [keys].
        seed: base seed, see `keyed_ranks`.

    Returns:
        Lead times in periods [keys, n], at least leads − review.
    """
    following = leads.copy()
    differs = np.flatnonzero((leads != leads[:, :1]).any(axis=1))
    if not differs.size:
        return following
    m, n = differs.size, leads.shape[1]
    every, latest_first = np.arange(m), np.argsort(-leads[differs], axis=1, kind="stable")
    left = np.take_along_axis(leads[differs], latest_first, axis=1)
    # Those late enough for a path are late enough for all paths after it: they are the first of what is left.
    enough = _count_at_least(left, left - review[differs, None])
    share = _keyed_bits(keys.iloc[differs], n, seed) / 2.0**64
    for path in range(n):
        open_places = enough[:, path] - path
        chosen = path + np.minimum((share[:, path] * open_places).astype(np.int64), open_places - 1)
        left[every, path], left[every, chosen] = left[every, chosen], left[every, path]
    drawn = np.empty_like(left)
    np.put_along_axis(drawn, latest_first, left, axis=1)
    following[differs] = drawn
    return following


def _count_at_least(falling: Integers, bounds: Integers) -> npt.NDArray[np.int64]:
    """Return how many values of a row, in falling order, are not below each of its bounds [m, n]."""
    m, n = falling.shape
    width = int(falling.max()) - int(falling.min()) + 2
    apart = (np.arange(m) * width)[:, None] - int(falling.min())
    rising = (falling[:, ::-1] + apart).ravel()
    below = np.searchsorted(rising, np.maximum(bounds, falling.min()) + apart) - (np.arange(m) * n)[:, None]
    return np.asarray(n - below)


def draw_arrivals(
    leads: Integers,
    planned: Integers,
    wait: Integers,
    item: Places,
    due: Integers,
    expected: Integers,
    as_planned: Flags,
) -> tuple[Integers, Integers]:
    """Return when open orders and an order of the next order day arrive, on the same draws.

    An open order comes as many periods late, or early, as an order placed now would on that draw: what is drawn for one
    is drawn for the other. One that has not come yet comes as late as its supplier brings orders that are that late:
    the distribution is conditional on the wait so far. Orders do not overtake one another: one that was due no later
    arrives no later.

    Args:
        leads: drawn lead times of a new order, periods [items, n].
        planned: planned lead times, periods [items].
        wait: periods until the next order day [items].
        item: the item of each open order [orders].
        due: the period from whose start the order was to be sold; 0 and below = overdue [orders].
        expected: that period as it is expected now, at least 1: it holds where no lead time drawn is long enough for
            the wait so far, and for orders that arrive as planned [orders].
        as_planned: whether the order keeps to its date, as a transfer does [orders].

    Returns:
        The period from whose start a new order can be sold [items, n], and the same of each open order [orders, n];
        one column stands for all n draws where no draw differs from its plan.
    """
    new_due = wait + planned + 1
    late = leads - planned[:, None]
    if not late.any():
        return new_due[:, None].astype(np.int32), expected[:, None].astype(np.int32)
    n = leads.shape[1]
    new = (new_due[:, None] + late).astype(np.int32)
    arrivals = np.repeat(expected.astype(np.int32)[:, None], n, axis=1)
    differs: Flags = (late != 0).any(axis=1)
    drawn = np.flatnonzero(~as_planned & differs[item])
    drawn = drawn[np.lexsort((due[drawn], item[drawn]))]
    arrivals[drawn] = _not_before_now(due[drawn], late[item[drawn]], expected[drawn])
    # Sorted by item and due period: each order waits for the one before it, and the new one for all due before it.
    place = np.arange(drawn.size) - np.searchsorted(item[drawn], item[drawn])
    for later in range(1, int(place.max(initial=0)) + 1):
        rows = drawn[place == later]
        arrivals[rows] = np.maximum(arrivals[rows], arrivals[drawn[np.flatnonzero(place == later) - 1]])
    before = drawn[due[drawn] <= new_due[item[drawn]]]
    np.maximum.at(new, item[before], arrivals[before])
    return new, arrivals


def _not_before_now(due: Integers, late: Integers, expected: Integers) -> Integers:
    """Return arrivals of orders that have not come yet [orders, n]; `late` holds the draws of each [orders, n]."""
    arrivals: Integers = due[:, None] + late
    overdue = np.flatnonzero((arrivals < 1).any(axis=1))
    if overdue.size:
        n = late.shape[1]
        ordered = np.sort(late[overdue], axis=1)
        rank = np.argsort(np.argsort(late[overdue], axis=1, kind="stable"), axis=1, kind="stable")
        past = (ordered + due[overdue, None] < 1).sum(axis=1)
        still = past[:, None] + (rank * (n - past)[:, None]) // n
        drawn = due[overdue, None] + np.take_along_axis(ordered, np.minimum(still, n - 1), axis=1)
        arrivals[overdue] = np.where((past == n)[:, None], expected[overdue, None], drawn)
    return arrivals
