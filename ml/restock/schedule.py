"""When things happen, in whole periods: order days, arrivals of what is on order, promises, expiry of lots.

Here belongs what arrives and expires when. What is sold meanwhile is in `ml.restock.cycle`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, TypedDict

import numpy as np
import pandas as pd

from ml.restock.exceptions import Cause
from ml.restock.inputs import Inputs, Thousandths, column, flags, require, thousandths
from ml.restock.simulation import Integers, Places
from ml.schema import KEYS, Doubles, Flags

_LONGEST_PERIODS = 10_000


class OpenOrders(NamedTuple):
    """Open orders that are counted, sorted by their item.

    Attributes:
        item: the row of its item [orders].
        units: thousandths [orders].
        due: the period it was to be sold from; 0 and below = overdue [orders].
        expected: the period it is expected to be sold from now, at least 1 [orders].
        as_planned: whether it keeps to its date [orders].
    """

    item: Places
    units: Thousandths
    due: Integers
    expected: Integers
    as_planned: Flags

    def only(self, chosen: slice | Flags) -> OpenOrders:
        """Return some of the orders."""
        return OpenOrders(
            self.item[chosen], self.units[chosen], self.due[chosen], self.expected[chosen], self.as_planned[chosen]
        )

    def of(self, rows: slice) -> OpenOrders:
        """Return the orders of some items, whose rows are counted from the first of them on."""
        part = self.only(slice(*np.searchsorted(self.item, (rows.start, rows.stop))))
        return part._replace(item=part.item - rows.start)


class Promises(NamedTuple):
    """What customers are promised for a later day, sorted by item.

    Attributes:
        item: the row of its item [promises].
        due: the period in which it is due, at least 1 [promises].
        units: thousandths [promises].
    """

    item: Places
    due: Integers
    units: Thousandths

    def of(self, rows: slice) -> Promises:
        """Return the promises of some items, whose rows are counted from the first of them on."""
        start, stop = np.searchsorted(self.item, (rows.start, rows.stop))
        return Promises(self.item[start:stop] - rows.start, self.due[start:stop], self.units[start:stop])

    def owed_by(self, last_arrival: Integers, horizon: int) -> Thousandths:
        """Return what is owed by the start of each period, thousandths [items, horizon].

        What is due before an order placed now has come is kept from today on: nothing else can serve it.

        Args:
            last_arrival: periods until such an order has come for sure [items].
            horizon: periods.
        """
        owed = np.zeros((len(last_arrival), horizon), np.int64)
        first = np.where(self.due <= last_arrival[self.item], 1, self.due)
        inside = first <= horizon
        np.add.at(owed, (self.item[inside], first[inside] - 1), self.units[inside])
        return np.cumsum(owed, axis=1)


@dataclass(frozen=True)
class Schedule:
    """When orders arrive, in whole periods, and what is on order and promised of every item, in thousandths.

    Attributes:
        wait: until the next order day.
        lead: planned lead time.
        single_review: between two order days.
        review: until the order after this one; several reviews where an order is to last longer.
        orders: what is on order and counted on.
        on_order: arrives within the protection interval; without what is merely proposed.
        transferred: part of it that other locations send.
        proposed: would arrive within it if the proposed transfers were approved.
        not_counted: arrives after it.
        doubtful: is later than its supplier ever was.
        promises: for a later day.
        reserved, backordered: promised for now and within the protection interval.
        promised_later: promised for after it.
    """

    wait: Integers
    lead: Integers
    single_review: Integers
    review: Integers
    orders: OpenOrders
    on_order: Thousandths
    transferred: Thousandths
    proposed: Thousandths
    not_counted: Thousandths
    doubtful: Thousandths
    promises: Promises
    reserved: Thousandths
    backordered: Thousandths
    promised_later: Thousandths

    @property
    def owed(self) -> Thousandths:
        """What is promised for now and within the protection interval, thousandths."""
        return self.reserved + self.backordered

    @property
    def protection(self) -> Integers:
        """Periods that an order must cover."""
        return self.wait + self.lead + self.review

    @property
    def until_arrival(self) -> Integers:
        """Periods from now until an order of the next order day arrives."""
        return self.wait + self.lead

    @property
    def until_next_review(self) -> Schedule:
        """The same orders, with a cycle that ends when an order of the next review arrives."""
        return replace(self, review=self.single_review)

    def part(self, rows: slice) -> Schedule:
        """Return the schedule of some items."""
        return Schedule(
            wait=self.wait[rows],
            lead=self.lead[rows],
            single_review=self.single_review[rows],
            review=self.review[rows],
            orders=self.orders.of(rows),
            on_order=self.on_order[rows],
            transferred=self.transferred[rows],
            proposed=self.proposed[rows],
            not_counted=self.not_counted[rows],
            doubtful=self.doubtful[rows],
            promises=self.promises.of(rows),
            reserved=self.reserved[rows],
            backordered=self.backordered[rows],
            promised_later=self.promised_later[rows],
        )


def schedule(inputs: Inputs, open_orders: pd.DataFrame, horizon: int, promises: pd.DataFrame | None = None) -> Schedule:
    """Return when orders arrive and promises are due; items whose forecast is too short are noted.

    Args:
        inputs: the items.
        open_orders: as of `ml.restock.recommend`.
        horizon: periods that the demand paths reach.
        promises: as of `ml.restock.recommend`.

    Raises:
        ValueError: open_orders or promises lack a required column.
    """
    require(open_orders, [*KEYS, "periods_ahead", "units"], "open_orders")
    usable = inputs.exceptions.is_free
    wait, lead, review = (
        np.where(usable, np.nan_to_num(column(inputs.terms, name, default)), fallback).astype(np.int32)
        for name, default, fallback in (
            ("next_order_in_periods", 0.0, 0),
            ("lead_time_periods", 1.0, 1),
            ("review_periods", 1.0, 1),
        )
    )
    review = np.maximum(review, 1)  # no time between two chances to order = every period
    protection = wait + lead + review
    short = protection > horizon
    inputs.exceptions.note(short, Cause.FORECAST_TOO_SHORT, horizon=horizon, protection=protection)
    wait, lead, review = (np.where(short, fallback, values) for values, fallback in ((wait, 0), (lead, 1), (review, 1)))
    single = review.astype(np.int32)
    # An order lasts no longer than the forecast sees.
    lasting = np.minimum(column(inputs.terms, "reviews_per_order", 1.0), (horizon - wait - lead) // single)
    review = single * np.maximum(lasting, 1).astype(np.int32)
    rows = inputs.keys.assign(row=np.arange(len(inputs.keys)))
    coming = open_orders.merge(rows, on=KEYS, how="inner").sort_values("row", kind="stable", ignore_index=True)
    item, units = coming["row"].to_numpy(dtype=np.int64), thousandths(coming["units"])
    expected = np.clip(column(coming, "periods_ahead", 1.0), 1, _LONGEST_PERIODS).astype(np.int32)
    overdue = np.clip(column(coming, "overdue_periods", 0.0), 0, _LONGEST_PERIODS).astype(np.int32)
    trusted = ~flags(coming, "is_doubtful")
    inside = trusted & (expected <= (wait + lead + review)[item])
    proposed, as_planned = flags(coming, "is_proposed"), flags(coming, "arrives_as_planned")

    def total(counted: Flags) -> Thousandths:
        sums = np.zeros(len(rows), np.int64)
        np.add.at(sums, item[counted], units[counted])
        return sums

    orders = OpenOrders(item, units, np.where(overdue > 0, 1 - overdue, expected), expected, as_planned)
    return Schedule(
        wait,
        lead,
        single,
        review,
        orders.only(trusted),
        on_order=total(inside & ~proposed),
        transferred=total(inside & as_planned & ~proposed & ~flags(coming, "is_predecessor_stock")),
        proposed=total(inside & proposed),
        not_counted=total(trusted & ~inside & ~proposed),
        doubtful=total(~trusted),
        **_promised(inputs, promises, wait + lead + review),
    )


class _Promised(TypedDict):
    promises: Promises
    reserved: Thousandths
    backordered: Thousandths
    promised_later: Thousandths


def _promised(inputs: Inputs, promises: pd.DataFrame | None, protection: Integers) -> _Promised:
    columns = ["due_in_periods", "reserved_units", "backordered_units"]
    if promises is None:
        promises = pd.DataFrame(columns=[*KEYS, *columns])
    require(promises, [*KEYS, *columns], "promises")
    rows = inputs.keys.assign(row=np.arange(len(inputs.keys)))
    coming = promises.merge(rows, on=KEYS, how="inner").sort_values("row", kind="stable", ignore_index=True)
    item = coming["row"].to_numpy(dtype=np.int64)
    due = np.clip(column(coming, "due_in_periods", 1.0), 1, _LONGEST_PERIODS).astype(np.int32)
    reserved, backordered = (thousandths(column(coming, name, 0.0)) for name in columns[1:])
    inside = due <= protection[item]

    def total(units: Thousandths, counted: Flags) -> Thousandths:
        sums = np.zeros(len(rows), np.int64)
        np.add.at(sums, item[counted], units[counted])
        return sums

    return _Promised(
        promises=Promises(item, due, reserved + backordered),
        reserved=inputs.reserved + total(reserved, inside),
        backordered=inputs.backordered + total(backordered, inside),
        promised_later=total(reserved + backordered, ~inside),
    )


def lots_by_item(keys: pd.DataFrame, lots: pd.DataFrame | None) -> pd.DataFrame:
    """Return lots of these keys: item (row of the key), expires (period), units; sorted by item and expiry.

    Raises:
        ValueError: lots lack a required column.
    """
    if lots is None or lots.empty:
        return pd.DataFrame({"item": np.array([], np.int64), "expires": np.array([], np.int64), "units": np.array([])})
    require(lots, [*KEYS, "units", "expires_in_periods"], "lots")
    found = lots.merge(keys.assign(item=np.arange(len(keys))), on=KEYS, how="inner")
    return pd.DataFrame(
        {
            "item": found["item"].to_numpy(dtype=np.int64),
            "expires": np.maximum(found["expires_in_periods"].to_numpy(dtype=np.float64), 0).astype(np.int64),
            "units": found["units"].to_numpy(dtype=np.float64),
        }
    ).sort_values(["item", "expires"], ignore_index=True)


def lots_of(lots: pd.DataFrame, rows: slice) -> pd.DataFrame:
    """Return the lots of some items, whose rows are counted from the first of them on."""
    own = lots[lots["item"].between(rows.start, rows.stop, inclusive="left")]
    return own.assign(item=own["item"] - rows.start)


def expired_by(lots: pd.DataFrame, mean_demand: Doubles) -> Thousandths:
    """Return what is expected to have expired by the start of each period, thousandths [items, horizon].

    Lots (item, units, expires: sorted by item and expiry) are sold by expiry date; what all lots up to a date hold
    beyond the demand expected until it, mean_demand [items, horizon], is lost by then.
    """
    items, horizon = mean_demand.shape
    item = lots["item"].to_numpy()
    until = np.concatenate([np.zeros((items, 1)), np.cumsum(mean_demand, axis=1)], axis=1)
    expires = np.minimum(lots["expires"].to_numpy(), horizon)
    held = lots.groupby("item")["units"].cumsum().to_numpy()
    wasted = np.where(lots["expires"].to_numpy() >= horizon, 0.0, np.maximum(held - until[item, expires], 0))
    total = pd.Series(wasted).groupby(item).cummax().to_numpy()
    first = np.diff(item, prepend=-1) > 0
    fresh = np.where(first, total, np.diff(total, prepend=0.0))
    inside = expires < horizon
    by_period = np.zeros((items, horizon), np.int64)
    np.add.at(by_period, (item[inside], expires[inside]), thousandths(fresh[inside]))
    return np.cumsum(by_period, axis=1)
