"""Simulate a depot: one sku at a time, physical and recorded stock kept apart.

Here belongs what happens in the warehouse and at the buyer's desk: serving, receiving, counting, ordering, and how a
record goes wrong. It knows neither files nor tables; `make_sample.py` gives it orders and writes down what comes back.
Units are whole, instants are UTC seconds, days are numbers (0 = 2010-12-01 where the seller is).
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from math import ceil
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

SEED = 541909
FIRST_DAY = date(2010, 12, 1)
SELLER_ZONE = ZoneInfo("Europe/London")

# The buyer's rule: days it looks back, factor on the standard deviation of daily demand, days of demand a lot covers.
# Wholesale orders are uneven: a factor of 1.5 leaves 18 % of the units unserved, 3 leaves 10 %, 4.4 leaves 7 %.
RULE_WINDOW_DAYS = 56
RULE_SAFETY_FACTOR = 4.4
RULE_COVER_DAYS = 28
# What is still owed of a purchase order line, and not on its way, is given up so many days after it was expected.
GIVE_UP_DAYS = 45
PARTIAL_RECEIPT_SHARE = 0.07
OWN_LEAD_TIME_SHARE = 0.25
SUPPLIER_CANCELS_SHARE = 0.004
LATE_RECORD_SHARE = 0.01
REVISED_RECEIPT_SHARE = 0.003

# Units in error, in days of mean demand: up to 3 small, up to 12 medium, above large.
SIZE_EDGES = (3.0, 12.0)
SIZES = ("small", "medium", "large")

# What an invoice line does.
SALE, CANCELLATION, RETURN, CORRECTION = range(4)

# At one instant orders come first, then what the warehouse writes, then counts, then the buyer.
RANK_SOURCE, RANK_WAREHOUSE, RANK_COUNT, RANK_REVIEW = range(4)


def fraction(*parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts alone, on every machine."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def generator(*parts: object) -> random.Random:
    """Return a generator that depends on the seed and the parts alone: one more item changes no other's draws."""
    return random.Random("|".join(map(str, (SEED, *parts))))


def as_date(day: int) -> date:
    """Return the calendar date of a day number."""
    return FIRST_DAY + timedelta(days=int(day))


def weekday_of(day: int) -> int:
    """Return the weekday of a day number, Monday = 0."""
    return (FIRST_DAY.weekday() + day) % 7


class Clock:
    """Day numbers of the seller, its open days, and UTC seconds."""

    def __init__(self, closed: Iterable[int] = ()) -> None:
        self.closed = frozenset(closed)
        self.noon: dict[int, int] = {}

    def at(self, day: int, minute: int) -> int:
        """Return the UTC second of a minute of the seller's day, from 02:00 on, where no clock change can fall."""
        if day not in self.noon:
            when = as_date(day)
            noon = datetime(when.year, when.month, when.day, 12, tzinfo=SELLER_ZONE)
            self.noon[day] = int(noon.timestamp())
        return self.noon[day] + (minute - 720) * 60

    def day_of(self, second: int) -> int:
        """Return the seller's day of a UTC second."""
        return (datetime.fromtimestamp(second, SELLER_ZONE).date() - FIRST_DAY).days

    def is_open(self, day: int) -> bool:
        """Return whether the seller ships on that day: never on Saturdays."""
        return weekday_of(day) != 5 and day not in self.closed

    def next_working_day(self, day: int) -> int:
        """Return the first open day from `day` on, Monday to Friday: then lorries call and shelves are counted."""
        while weekday_of(day) > 4 or not self.is_open(day):
            day += 1
        return day


class PurchaseKey(NamedTuple):
    """Supplier, depot and day name a purchase order; the sku names its line."""

    supplier_id: str
    location_id: str
    ordered_day: int
    sku: str


@dataclass(frozen=True)
class Supplier:
    """Who delivers a series and on what terms; no `weekdays` = it takes orders from Monday to Friday."""

    supplier_id: str
    lead_time_days: int
    review_period_days: int
    weekdays: frozenset[int]
    moq_units: int
    multiple_units: int

    def takes_orders(self, day: int) -> bool:
        """Return whether the day is one of its order weekdays."""
        return weekday_of(day) in self.weekdays if self.weekdays else weekday_of(day) < 5


class World:
    """What all series share: the clock, the end of the data, and what the lines of one order have in common."""

    def __init__(self, clock: Clock, ratios: Sequence[float], end_second: int) -> None:
        self.clock = clock
        self.ratios = ratios
        self.end_second = end_second
        self.end_day = clock.day_of(end_second)
        self._ratio: dict[tuple[str, str, int], float] = {}
        self._minute: dict[tuple[str, str, int], int] = {}

    def order_ratio(self, supplier_id: str, location_id: str, day: int) -> float:
        """Return the lead-time ratio that the lines of one purchase order share."""
        key = (supplier_id, location_id, day)
        if key not in self._ratio:
            self._ratio[key] = generator("ratio", *key).choice(self.ratios)
        return self._ratio[key]

    def arrival_second(self, supplier_id: str, location_id: str, day: int) -> int:
        """Return when the lorry of a supplier calls at a depot on a day, 07:00 to 14:59."""
        key = (supplier_id, location_id, day)
        if key not in self._minute:
            self._minute[key] = generator("lorry", *key).randrange(420, 900)
        return self.clock.at(day, self._minute[key])


@dataclass
class Planting:
    """One record error: as planned (kind, on what, wanted size, not before), then as planted."""

    kind: str
    on: str
    wanted_size: str
    not_before: int
    partner: str = ""
    occurred_second: int = -1
    corrected_second: int = -1
    true_units: int = 0
    recorded_units: int = 0
    row: int = -1
    purchase_key: PurchaseKey | None = None
    mirror_of: Planting | None = None

    @property
    def error_units(self) -> int:
        """Units that the record says too many."""
        return self.recorded_units - self.true_units


@dataclass
class Series:
    """One sku at one depot, as the simulator is given it.

    Attributes:
        sku: stock keeping unit.
        location_id: depot.
        supplier: who delivers it.
        opening_second: when the opening stock is counted, if `list_day` is 0.
        list_day: day from which the depot holds the sku; where it is not 0, the first lot arrives on it.
        plan_rate: units a day that the buyer expected before there were sales.
        opening_units: opening stock, or the first lot.
        mean_daily_units: true demand a day over the year; it only grades record errors.
        count_every_days: days between two cycle counts.
        events: invoice lines as (second, kind, row, units, row of the cancelled sale), in order.
        cancelled_rows: orders that a credit note refers to; no error is planted on them.
        planned: record errors to plant.
        foreign: movements of another sku recorded under this one, as (second, sale or receipt, units, its planting).
    """

    sku: str
    location_id: str
    supplier: Supplier
    opening_second: int
    list_day: int
    plan_rate: float
    opening_units: int
    mean_daily_units: float
    count_every_days: int
    events: list[tuple[int, int, int, int, int]]
    cancelled_rows: frozenset[int] = frozenset()
    planned: list[Planting] = field(default_factory=list)
    foreign: list[tuple[int, str, int, Planting]] = field(default_factory=list)


@dataclass(eq=False)
class PurchaseLine:
    """One purchase order line; `pending` counts the deliveries on their way."""

    key: PurchaseKey
    ordered_units: int
    expected_day: int
    received_units: int = 0
    received_second: int = -1
    pending: int = 0
    is_given_up: bool = False

    @property
    def owed_units(self) -> int:
        """Units still on order as the record knows it."""
        return 0 if self.is_given_up else max(0, self.ordered_units - self.received_units)

    @property
    def status(self) -> str:
        """Status in the words of the contract."""
        if self.is_given_up:
            return "cancelled"
        if self.owed_units == 0:
            return "received"
        return "partly_received" if self.received_units > 0 else "open"


@dataclass(frozen=True)
class Receipt:
    """One receipt as the warehouse wrote it down; `copy` 1 is a second posting of the same delivery."""

    key: PurchaseKey
    sku: str
    second: int
    recorded_second: int
    units: int
    revision: int = 0
    copy: int = 0


@dataclass
class Outcome:
    """What the simulation of one series gives back.

    Attributes:
        served: units served, by row of the order.
        cancelled: units taken back, by row of the cancellation and by row of the sale.
        unrecorded: rows of sales that were lost from the record.
        swapped: sku under which a sale was recorded instead, by row.
        doubled: rows of sales posted twice.
        counts: (second, counted units).
        receipts: receipts as written down.
        purchases: purchase order lines.
        days: (day, physical, recorded) at the end of each day on which either changed.
        plantings: record errors as planted.
        handed_over: (sku, second, sale or receipt, units, planting) for another series of the depot.
        refused: swapped sales that this series could not have made: they are lost records of the other.
        physical_units: physical stock at the end.
        recorded_units: recorded stock at the end.
    """

    served: dict[int, int] = field(default_factory=dict)
    cancelled: dict[int, int] = field(default_factory=dict)
    unrecorded: set[int] = field(default_factory=set)
    swapped: dict[int, str] = field(default_factory=dict)
    doubled: list[int] = field(default_factory=list)
    counts: list[tuple[int, int]] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    purchases: list[PurchaseLine] = field(default_factory=list)
    days: list[tuple[int, int, int]] = field(default_factory=list)
    plantings: list[Planting] = field(default_factory=list)
    handed_over: list[tuple[str, int, str, int, Planting]] = field(default_factory=list)
    refused: list[Planting] = field(default_factory=list)
    physical_units: int = 0
    recorded_units: int = 0


def size_of(error_units: float, mean_daily_units: float) -> str:
    """Return the size class of an error in days of mean demand."""
    days = abs(error_units) / max(mean_daily_units, 1e-9)
    return SIZES[int(days > SIZE_EDGES[0]) + int(days > SIZE_EDGES[1])]


def swap_digits(units: int) -> int | None:
    """Return the units with the first two different neighbouring digits exchanged, None where there are none."""
    text = str(units)
    for place in range(len(text) - 1):
        if text[place] != text[place + 1]:
            return int(text[:place] + text[place + 1] + text[place] + text[place + 2 :])
    return None


class Simulation:
    """Run one series through the year.

    Physical stock follows what happened, recorded stock what was written down. Customers are served from physical stock
    in the order in which they came, partly where it is short. The buyer sees recorded stock and past recorded sales.
    """

    def __init__(self, series: Series, world: World) -> None:
        self.series = series
        self.world = world
        self.clock = world.clock
        self.random = generator("series", series.sku, series.location_id)
        self.outcome = Outcome()
        self.physical = 0
        self.recorded = 0
        self.last_count = -1
        self.is_count_due = False
        self.sales = [0] * (world.end_day + 1)
        self.squares = [0] * (world.end_day + 1)
        self.day_of_row: dict[int, int] = {}
        self.open_lines: list[PurchaseLine] = []
        self.planned = sorted(series.planned, key=lambda planting: planting.not_before)
        self.uncorrected: list[Planting] = []
        self.heap: list[tuple[int, int, int, str, Any]] = []
        self.pushed = 0

    def run(self) -> Outcome:
        """Simulate the year and return what was served, recorded, ordered and counted."""
        for event in self.series.events:
            self.push(event[0], RANK_SOURCE, "source", event)
        for foreign in self.series.foreign:
            self.push(foreign[0], RANK_WAREHOUSE, "foreign", foreign[1:])
        self.open_stock()
        self.schedule_counts()
        for day in range(self.series.list_day, self.world.end_day + 1):
            if self.clock.is_open(day) and self.series.supplier.takes_orders(day):
                self.push(self.clock.at(day, 1260), RANK_REVIEW, "review", None)
        today, midnight = -1, -1
        while self.heap:
            second, _, _, action, payload = heapq.heappop(self.heap)
            if second >= midnight:
                self.close_day(today)
                today = self.clock.day_of(second)
                midnight = self.clock.at(today, 1440)
            getattr(self, f"on_{action}")(second, today, payload)
        self.close_day(today)
        self.outcome.physical_units, self.outcome.recorded_units = self.physical, self.recorded
        return self.outcome

    def push(self, second: int, rank: int, action: str, payload: Any) -> None:
        """Schedule an action; nothing happens after the last invoice."""
        if second <= self.world.end_second:
            self.pushed += 1
            heapq.heappush(self.heap, (second, rank, self.pushed, action, payload))

    def close_day(self, day: int) -> None:
        """Note both stocks at the end of a day on which either changed."""
        days = self.outcome.days
        if day >= 0 and (not days or days[-1][1:] != (self.physical, self.recorded)):
            days.append((day, self.physical, self.recorded))

    def open_stock(self) -> None:
        """Count the opening stock, or order the first lot of a product that is launched later."""
        series, supplier = self.series, self.series.supplier
        if series.list_day == 0:
            self.physical = self.recorded = series.opening_units
            self.last_count = series.opening_second
            self.outcome.counts.append((series.opening_second, series.opening_units))
        elif series.opening_units > 0:
            ratio = self.world.order_ratio(supplier.supplier_id, series.location_id, series.list_day)
            ordered = series.list_day - max(2, round(supplier.lead_time_days * ratio))
            while not self.clock.is_open(ordered):
                ordered -= 1
            self.place_order(ordered, series.opening_units, series.list_day)

    def schedule_counts(self) -> None:
        """Spread the cycle counts over the year."""
        every = self.series.count_every_days
        day = self.series.list_day + 1 + self.random.randrange(every)
        while day <= self.world.end_day:
            self.count_on(day)
            day += every + self.random.randrange(-every // 8, every // 8 + 1)

    def count_on(self, day: int) -> None:
        """Have the shelf counted on a day or the next working one, between 08:00 and 17:59."""
        second = self.clock.at(self.clock.next_working_day(day), self.random.randrange(480, 1080))
        self.push(second, RANK_COUNT, "count", None)

    def ask_for_count(self, day: int, soonest: int, latest: int) -> None:
        """Have the shelf counted within some days, unless somebody already asked."""
        if not self.is_count_due:
            self.is_count_due = True
            self.count_on(day + self.random.randint(soonest, latest))

    def on_source(self, second: int, day: int, event: tuple[int, int, int, int, int]) -> None:
        """Serve, cancel, take back or correct, as the invoice line says."""
        _, kind, row, units, target = event
        if kind == SALE:
            self.serve(second, day, row, units)
        elif kind == CANCELLATION:
            already = self.outcome.cancelled.get(target, 0)
            taken = min(units, self.outcome.served.get(target, 0) - already)
            self.outcome.cancelled[target] = already + taken
            self.outcome.cancelled[row] = taken
            self.physical += taken
            self.recorded += taken
            self.note_sale(self.day_of_row[target], -taken)
        elif kind == RETURN:
            self.physical += units
            self.recorded += units
        else:
            taken = min(units, self.physical)
            self.physical -= taken
            self.recorded -= units
            if taken < units:
                self.keep(Planting("excess_correction", "correction", "", 0, "", second, -1, -taken, -units, row))
        self.look_into_negative_stock(day)

    def serve(self, second: int, day: int, row: int, units: int) -> None:
        """Serve an order line from physical stock and write the sale down, unless a planted error spoils the record."""
        self.day_of_row[row] = day
        served = min(units, self.physical)
        if served < units <= self.recorded and self.random.random() < 0.3:
            self.ask_for_count(day, 5, 20)
        if served == 0:
            return
        self.physical -= served
        self.outcome.served[row] = served
        planting = None if row in self.series.cancelled_rows else self.planting_for("sale", second, served)
        if planting is None:
            self.recorded -= served
            self.note_sale(day, served)
            return
        planting.row, planting.true_units = row, -served
        if planting.kind == "double_posted":
            planting.recorded_units = -2 * served
            self.recorded -= 2 * served
            self.note_sale(day, 2 * served)
            self.outcome.doubled.append(row)
        elif planting.kind == "swapped_code":
            self.outcome.swapped[row] = planting.partner
            self.outcome.handed_over.append((planting.partner, second, "sale", served, planting))
        else:
            self.outcome.unrecorded.add(row)
        self.keep(planting)

    def note_sale(self, day: int, units: int) -> None:
        """Add recorded units to the sales of a day, which is all the buyer sees of demand."""
        self.sales[day] += units
        self.squares[day] = self.sales[day] ** 2

    def look_into_negative_stock(self, day: int) -> None:
        """Ask for a count where the record says less than nothing."""
        if self.recorded < 0:
            self.ask_for_count(day, 2, 10)

    def on_foreign(self, second: int, day: int, payload: tuple[str, int, Planting]) -> None:
        """Take a movement of another sku that was recorded under this one."""
        kind, units, planting = payload
        if kind == "sale" and self.physical < units:
            # Selling more than lies here would be noticed at the shelf: the sale stays off the record altogether.
            self.outcome.refused.append(planting)
            return
        change = units if kind == "receipt" else -units
        self.recorded += change
        if kind == "sale":
            self.note_sale(day, units)
        self.keep(
            replace(planting, partner="", corrected_second=-1, true_units=0, recorded_units=change, mirror_of=planting)
        )
        self.look_into_negative_stock(day)

    def on_arrival(self, second: int, day: int, payload: tuple[PurchaseLine, int]) -> None:
        """Put a delivery on the shelf and write the receipt: at once, a day or two late, or wrongly and mended."""
        line, units = payload
        line.pending -= 1
        self.physical += units
        receipt = Receipt(line.key, line.key.sku, second, second, units)
        planting = self.planting_for("receipt", second, units)
        if planting is not None:
            self.spoil(receipt, planting, line)
            return
        luck = self.random.random()
        late = self.clock.at(self.clock.next_working_day(day + 1 + self.random.randrange(2)), 600)
        wrong = swap_digits(units)
        if late > self.world.end_second or luck >= LATE_RECORD_SHARE + REVISED_RECEIPT_SHARE:
            self.write(receipt, line)
        elif luck < LATE_RECORD_SHARE:
            self.outcome.receipts.append(replace(receipt, recorded_second=late))
            self.push(late, RANK_WAREHOUSE, "late_record", (line, units, second))
        elif wrong is not None:
            self.write(replace(receipt, units=wrong), line)
            self.outcome.receipts.append(replace(receipt, recorded_second=late, revision=1))
            self.push(late, RANK_WAREHOUSE, "late_record", (line, units - wrong, second))
        else:
            self.write(receipt, line)

    def write(self, receipt: Receipt, line: PurchaseLine) -> None:
        """Record a receipt within the hour."""
        self.recorded += receipt.units
        self.book(line, receipt.units, receipt.second)
        recorded = receipt.second + 60 * self.random.randint(5, 55)
        self.outcome.receipts.append(replace(receipt, recorded_second=min(recorded, self.world.end_second)))

    def book(self, line: PurchaseLine, units: int, second: int) -> None:
        """Count recorded units against the purchase order line."""
        line.received_units += units
        line.received_second = max(line.received_second, second)

    def on_late_record(self, second: int, day: int, payload: tuple[PurchaseLine, int, int]) -> None:
        """Learn of a receipt, or of its correction, on another day; a count in between already saw it."""
        line, units, occurred = payload
        if self.last_count < occurred:
            self.recorded += units
        self.book(line, units, occurred)

    def spoil(self, receipt: Receipt, planting: Planting, line: PurchaseLine) -> None:
        """Write a receipt down wrongly, or not at all."""
        units = receipt.units
        planting.purchase_key, planting.true_units = receipt.key, units
        if planting.kind == "double_posted":
            planting.recorded_units = 2 * units
            self.write(receipt, line)
            self.write(replace(receipt, copy=1), line)
        elif planting.kind == "swapped_code":
            self.outcome.handed_over.append((planting.partner, receipt.second, "receipt", units, planting))
            self.outcome.receipts.append(replace(receipt, sku=planting.partner))
            self.book(line, units, receipt.second)
        elif planting.kind == "mis_keyed":
            planting.recorded_units = self.mis_key(planting, units)
            self.write(replace(receipt, units=planting.recorded_units), line)
        self.keep(planting)

    def mis_key(self, planting: Planting, units: int) -> int:
        """Return the units as mis-keyed: ten times for a large error, else two digits exchanged where they differ."""
        swapped = swap_digits(units)
        return units * 10 if swapped is None or planting.wanted_size == "large" else swapped

    def on_count(self, second: int, day: int, _: None) -> None:
        """Count the shelf: the count becomes the recorded stock and mends what was wrong before."""
        self.is_count_due = False
        for planting in self.uncorrected:
            planting.corrected_second = second
        self.uncorrected = []
        self.recorded = self.physical
        mistake = self.planting_for("count", second, self.physical)
        if mistake is not None:
            self.recorded = self.mis_key(mistake, self.physical)
            mistake.true_units, mistake.recorded_units = self.physical, self.recorded
            self.keep(mistake)
        self.last_count = second
        self.outcome.counts.append((second, self.recorded))

    def planting_for(self, on: str, second: int, units: int) -> Planting | None:
        """Return the planned error that this event can carry at the wanted size, and take it off the plan."""
        for place, planting in enumerate(self.planned):
            if planting.not_before > second:
                return None
            if planting.on != on or units == 0:
                continue
            if planting.kind == "double_posted" and on == "sale" and self.physical < units:
                continue
            error = self.mis_key(planting, units) - units if planting.kind == "mis_keyed" else units
            if size_of(error, self.series.mean_daily_units) == planting.wanted_size:
                del self.planned[place]
                planting.occurred_second = second
                return planting
        return None

    def keep(self, planting: Planting) -> None:
        """Enter an error in the truth; the next count corrects it."""
        self.outcome.plantings.append(planting)
        self.uncorrected.append(planting)

    def on_review(self, second: int, day: int, _: None) -> None:
        """Order up to the maximum when the recorded position has fallen below the minimum."""
        supplier = self.series.supplier
        for line in self.open_lines:
            line.is_given_up = line.owed_units > 0 and line.pending == 0 and day > line.expected_day + GIVE_UP_DAYS
        self.open_lines = [line for line in self.open_lines if line.owed_units > 0 or line.pending > 0]
        mean, deviation = self.estimate(day)
        protection = supplier.lead_time_days + supplier.review_period_days
        minimum = max(1.0, mean * protection + RULE_SAFETY_FACTOR * deviation * protection**0.5)
        position = self.recorded + sum(line.owed_units for line in self.open_lines)
        if position < minimum:
            wanted = max(minimum + mean * RULE_COVER_DAYS - position, supplier.moq_units)
            self.place_order(day, ceil(wanted / supplier.multiple_units) * supplier.multiple_units)

    def estimate(self, day: int) -> tuple[float, float]:
        """Return mean and standard deviation of daily demand, from recorded sales so far.

        The opening plan fills the days of the window that lie before the sku was listed.
        """
        known = min(day - self.series.list_day + 1, RULE_WINDOW_DAYS)
        unknown = RULE_WINDOW_DAYS - known
        window = slice(day - known + 1, day + 1)
        plan = self.series.plan_rate
        mean = max(0.0, (sum(self.sales[window]) + unknown * plan) / RULE_WINDOW_DAYS)
        square = (sum(self.squares[window]) + unknown * (4 * plan**2 + plan)) / RULE_WINDOW_DAYS
        return mean, max(square - mean * mean, mean) ** 0.5

    def place_order(self, day: int, units: int, arrival: int | None = None) -> None:
        """Order from the supplier; when it will come is drawn now and known to nobody."""
        supplier, location_id = self.series.supplier, self.series.location_id
        line = PurchaseLine(
            PurchaseKey(supplier.supplier_id, location_id, day, self.series.sku), units, day + supplier.lead_time_days
        )
        self.outcome.purchases.append(line)
        self.open_lines.append(line)
        if arrival is None:
            if self.random.random() < SUPPLIER_CANCELS_SHARE:
                return
            ratio = self.world.order_ratio(supplier.supplier_id, location_id, day)
            if self.random.random() < OWN_LEAD_TIME_SHARE:
                ratio = self.random.choice(self.world.ratios)
            arrival = self.clock.next_working_day(day + max(2, round(supplier.lead_time_days * ratio)))
        parts = [(arrival, units)]
        packs = units // supplier.multiple_units
        if packs >= 2 and self.random.random() < PARTIAL_RECEIPT_SHARE:
            first = max(1, int(packs * self.random.uniform(0.3, 0.8))) * supplier.multiple_units
            rest = self.clock.next_working_day(arrival + self.random.randint(3, 14))
            parts = [(arrival, first), (rest, units - first)]
        for when, part in parts:
            line.pending += 1
            second = self.world.arrival_second(supplier.supplier_id, location_id, when)
            self.push(second, RANK_WAREHOUSE, "arrival", (line, part))
